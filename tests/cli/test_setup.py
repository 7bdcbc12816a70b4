"""`hopper setup` writes the files of an agent as its documentation asks, and takes them back."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hopper.cli.setup.agents import AGENTS
from hopper.cli.setup.json_text import with_added

WRITTEN = {
    "claude": (".claude.json", ".claude/settings.json", ".claude/CLAUDE.md"),
    "codex": (".codex/config.toml", ".codex/hooks.json", ".codex/AGENTS.md"),
    "cursor": (".cursor/mcp.json", ".cursor/hooks.json"),
    "gemini": (".gemini/settings.json", ".gemini/GEMINI.md"),
    "copilot": (
        ".copilot/mcp-config.json", ".copilot/hooks/hopper.json",
        ".copilot/copilot-instructions.md",
    ),
    "opencode": (
        ".config/opencode/opencode.json", ".config/opencode/plugins/hopper.js",
        ".config/opencode/AGENTS.md",
    ),
}  # fmt: skip
STANDING = {
    ".claude.json": '{"numStartups": 3, "mcpServers": {"other": {"command": "x"}}}',
    ".claude/settings.json": '{\n    "hooks": {\n        "SessionStart": [\n            '
    '{"hooks": []}\n        ]\n    },\n    "model": "x"\n}\n',
    ".claude/CLAUDE.md": "Be brief.",
    ".codex/config.toml": 'model = "x"\n[mcp_servers.other]\ncommand = "y"\n',
    ".cursor/hooks.json": '{"version": 1, "hooks": {}}',
    ".gemini/settings.json": "",
    ".gemini/GEMINI.md": "# Mine\n\n",
    ".copilot/mcp-config.json": '{\r\n\t"mcpServers": {\r\n\t}\r\n}\r\n',
    ".config/opencode/opencode.json": '{\n  "$schema": "https://opencode.ai/config.json"\n}\n',
}


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own."""
    home = tmp_path / "person"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    return home


def _standing(home: Path) -> None:
    for name, text in STANDING.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(text.encode())


def _all(home: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(home)): path.read_bytes() if path.is_file() else None
        for path in sorted(home.rglob("*"))
    }


@pytest.mark.parametrize("agent", sorted(AGENTS))
def test_the_files_of_an_agent_are_written_and_taken_back(
    hopper: Callable[..., Any], person: Path, agent: str
) -> None:
    assert hopper("setup", agent, "--check").code == 1
    assert hopper("setup", agent, "--yes").code == 0
    assert {name for name in WRITTEN[agent] if (person / name).is_file()} == set(WRITTEN[agent])
    assert hopper("setup", agent, "--check").code == 0
    assert hopper("setup", agent, "--remove", "--yes").code == 0
    assert _all(person) == {}


@pytest.mark.parametrize("agent", sorted(AGENTS))
def test_files_that_stood_come_back_byte_for_byte(
    hopper: Callable[..., Any], person: Path, agent: str
) -> None:
    _standing(person)
    before = _all(person)
    assert hopper("setup", agent, "--yes").code == 0
    once = _all(person)
    assert once != before
    assert hopper("setup", agent, "--yes").code == 0
    assert _all(person) == once
    changed = {name for name in before if once[name] != before[name]}
    assert changed <= set(WRITTEN[agent])
    assert hopper("setup", agent, "--remove", "--yes").code == 0
    assert _all(person) == before


@pytest.mark.parametrize("agent", sorted(AGENTS))
def test_setup_keeps_the_other_content_of_a_file(
    hopper: Callable[..., Any], person: Path, agent: str
) -> None:
    _standing(person)
    hopper("setup", agent, "--yes")
    for name in WRITTEN[agent]:
        text = (person / name).read_text()
        if name.endswith(".json"):
            added, stood = json.loads(text), json.loads(STANDING.get(name) or "{}")
            assert _holds(added, stood), name
        elif name.endswith(".toml"):
            servers = tomllib.loads(text)["mcp_servers"]
            assert (servers["other"]["command"], servers["hopper"]["command"]) == ("y", "hopper")
        else:
            assert text.startswith(STANDING.get(name, "").strip())


def _holds(data: Any, part: Any) -> bool:
    """Return whether all of `part` is in `data`."""
    if isinstance(part, dict):
        return all(name in data and _holds(data[name], value) for name, value in part.items())
    if isinstance(part, list):
        return all(one in data for one in part)
    return bool(data == part)


@pytest.mark.parametrize("agent", ["claude", "gemini", "cursor"])
def test_an_edit_of_the_person_meanwhile_is_kept(
    hopper: Callable[..., Any], person: Path, agent: str
) -> None:
    _standing(person)
    hopper("setup", agent, "--yes")
    name = next(name for name in WRITTEN[agent] if name.endswith("settings.json") or "mcp" in name)
    file = person / name
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "theirs": True}))
    hopper("setup", agent, "--remove", "--yes")
    left = json.loads(file.read_text())
    assert left["theirs"] is True
    assert "hopper" not in json.dumps(left)


def test_a_value_that_stood_before_stays_in_a_file_edited_meanwhile(
    hopper: Callable[..., Any], person: Path
) -> None:
    _standing(person)
    hopper("setup", "cursor", "--yes")
    file = person / ".cursor/hooks.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "theirs": True}))
    hopper("setup", "cursor", "--remove", "--yes")
    assert json.loads(file.read_text()) == {"version": 1, "theirs": True}


def test_a_file_broken_meanwhile_is_left_and_named(
    hopper: Callable[..., Any], person: Path
) -> None:
    hopper("setup", "gemini", "--yes")
    (person / ".gemini/settings.json").write_text("{nonsense")
    outcome = hopper("setup", "gemini", "--remove", "--yes")
    assert outcome.code == 1
    assert "settings.json is left as it is" in outcome.err


def test_a_damaged_record_does_not_stop_the_removal(
    hopper: Callable[..., Any], person: Path
) -> None:
    hopper("setup", "gemini", "--yes")
    (record,) = person.rglob("setup-gemini.json")
    record.write_text("[")
    assert hopper("setup", "gemini", "--remove", "--yes").code == 0
    assert not (person / ".gemini/settings.json").exists()


def test_another_server_replaces_the_entry(hopper: Callable[..., Any], person: Path) -> None:
    _standing(person)
    before = _all(person)
    hopper("setup", "claude", "--yes")
    hopper("--server", "http://127.0.0.1:1", "setup", "claude", "--yes")
    entry = json.loads((person / ".claude.json").read_text())["mcpServers"]["hopper"]
    assert entry["env"] == {"HOPPER_URL": "http://127.0.0.1:1", "HOPPER_TOKEN": "${HOPPER_TOKEN}"}
    hopper("setup", "claude", "--remove", "--yes")
    assert _all(person) == before


def test_the_diff_is_shown_first_and_a_broken_file_is_left(
    hopper: Callable[..., Any], person: Path
) -> None:
    shown = hopper("setup", "gemini", "--yes").err
    assert "+++" in shown
    assert '"mcpServers"' in shown
    (person / ".claude.json").write_text("{nonsense")
    before = _all(person)
    outcome = hopper("setup", "claude", "--yes")
    assert (outcome.code, _all(person)) == (1, before)
    assert ".claude.json is left as it is" in outcome.err


def test_an_entry_of_the_person_is_not_overwritten(
    hopper: Callable[..., Any], person: Path
) -> None:
    (person / ".claude.json").write_text('{"mcpServers": {"hopper": {"command": "mine"}}}')
    assert hopper("setup", "claude", "--yes").code == 1


def test_the_hooks_of_claude_run(
    hopper: Callable[..., Any], person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hopper("setup", "claude", "--yes")
    hooks = json.loads((person / ".claude/settings.json").read_text())["hooks"]
    assert sorted(hooks) == ["PostToolUse", "SessionEnd", "SessionStart"]
    (row,) = hooks["PostToolUse"][0]["hooks"]
    words = row["command"].split()
    assert words[-2:] == ["hook", "beat"]
    assert hopper(*words[-2:]).code == 0


def test_the_plugin_of_opencode_is_javascript(hopper: Callable[..., Any], person: Path) -> None:
    hopper("setup", "opencode", "--yes")
    file = person / ".config/opencode/plugins/hopper.js"
    try:
        checked = subprocess.run(
            ["node", "--input-type=module", "--check"], input=file.read_text(), text=True
        )
    except FileNotFoundError:
        pytest.skip("no node")
    assert checked.returncode == 0


@pytest.mark.parametrize(
    "text",
    ["", "{}", "{ }", '{"a": {}}', '{"a": {"b": [1]}}', '{\n\t"x": "}",\n\t"a": {"b": []}\n}\n'],
)
def test_a_value_is_added_to_any_form_of_json(text: str) -> None:
    added = with_added(text, ("a", "b"), {"c": 1}, in_list=True)
    assert json.loads(added)["a"]["b"][-1] == {"c": 1}
    assert with_added(added, ("a", "b"), {"c": 1}, in_list=True) == added
