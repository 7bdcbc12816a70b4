"""The agents that Hopper can set up: where each keeps its MCP servers, hooks and instructions.

Each agent is a function that returns its edits, as the documentation of the agent wants them.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hopper.cli.setup.edits import BEGIN, END, Block, Edit, Member, Own

TEXT = """## Hopper

Work is kept in Hopper, a tree of task queues. Use the tools of its MCP server `hopper`; without
them the command `hopper`.

- `hopper prime` says what you hold and what comes next. Run it when you start, and after your
  context was compacted.
- Take work with `claim_task`. Store a checkpoint with `heartbeat` after each finished step. End
  with `complete_task`, `fail_task`, `release_task` or `ask_question`.
- Keep plans and open ends in Hopper (`add_task`, `decompose_task`), not in files of your own."""

MARKDOWN = (f"<!-- {BEGIN} -->", f"<!-- {END} -->")
HASHES = (f"# {BEGIN}", f"# {END}")
BEAT, FINISH = "hook beat", "hook end"
_PASSED = ("HOPPER_URL", "HOPPER_TOKEN", "HOPPER_WORKER", "HOPPER_SESSION", "HOPPER_HOME")

_PLUGIN = """// Made by `hopper setup opencode`; `hopper setup opencode --remove` removes it.
export const Hopper = async ({{ $ }}) => ({{
  "experimental.session.compacting": async (input, output) => {{
    output.context.push(await $`{command} prime`.quiet().nothrow().text())
  }},
  "tool.execute.after": async () => {{
    await $`{command} hook beat < /dev/null`.quiet().nothrow()
  }},
}})
"""


@dataclass(frozen=True)
class Command:
    """The start of Hopper by an agent: the program, its first arguments, and the server if any."""

    words: tuple[str, ...]
    server: str | None = None

    def line(self, rest: str) -> str:
        """Return a command line for a shell."""
        return f"{shlex.join(self.words)} {rest}"

    def entry(self, *options: str, reference: str) -> dict[str, Any]:
        """Return the usual entry of an MCP server; `reference` is how a variable is named."""
        entry: dict[str, Any] = {
            "command": self.words[0],
            "args": [*self.words[1:], "mcp", *options],
        }
        if self.server:
            token = reference.format("HOPPER_TOKEN")
            entry["env"] = {"HOPPER_URL": self.server, "HOPPER_TOKEN": token}
        return entry


def claude(command: Command) -> list[Edit]:
    """Claude Code: ~/.claude.json, ~/.claude/settings.json, ~/.claude/CLAUDE.md."""
    entry = {"type": "stdio", **command.entry(reference="${{{}}}")}
    hooks = _matched(command, "claude", after="PostToolUse", end="SessionEnd")
    return [
        Member(".claude.json", ("mcpServers", "hopper"), entry),
        *(Member(".claude/settings.json", ("hooks", name), row, True) for name, row in hooks),
        Block(".claude/CLAUDE.md", TEXT, MARKDOWN),
    ]


def codex(command: Command) -> list[Edit]:
    """Codex CLI: config.toml, hooks.json and AGENTS.md in ~/.codex. It has no hook at the end."""
    entry = [
        "[mcp_servers.hopper]",
        f"command = {json.dumps(command.words[0])}",
        f"args = {json.dumps([*command.words[1:], 'mcp'])}",
        f"env_vars = {json.dumps(list(_PASSED))}",
    ]
    if command.server:
        entry.append(f"env = {{ HOPPER_URL = {json.dumps(command.server)} }}")
    hooks = _matched(command, "codex", after="PostToolUse", end=None)
    return [
        Block(".codex/config.toml", "\n".join(entry), HASHES),
        *(Member(".codex/hooks.json", ("hooks", name), row, True) for name, row in hooks),
        Block(".codex/AGENTS.md", TEXT, MARKDOWN),
    ]


def cursor(command: Command) -> list[Edit]:
    """Cursor: ~/.cursor/mcp.json and ~/.cursor/hooks.json. Its rules of a user are no file."""
    file = ".cursor/hooks.json"
    hooks = {
        "sessionStart": command.line("prime --hook cursor"),
        "postToolUse": command.line(BEAT),
        "sessionEnd": command.line(FINISH),
    }
    entry = command.entry("--text", reference="${{env:{}}}")
    return [
        Member(".cursor/mcp.json", ("mcpServers", "hopper"), entry),
        Member(file, ("version",), 1),
        *(Member(file, ("hooks", name), {"command": line}, True) for name, line in hooks.items()),
    ]


def gemini(command: Command) -> list[Edit]:
    """Gemini CLI: ~/.gemini/settings.json and ~/.gemini/GEMINI.md."""
    file = ".gemini/settings.json"
    hooks = _matched(command, "gemini", after="AfterTool", end="SessionEnd")
    entry = command.entry("--text", reference="${}")
    return [
        Member(file, ("mcpServers", "hopper"), entry),
        *(Member(file, ("hooks", name), row, True) for name, row in hooks),
        Block(".gemini/GEMINI.md", TEXT, MARKDOWN),
    ]


def copilot(command: Command) -> list[Edit]:
    """Copilot CLI: mcp-config.json, hooks/ and copilot-instructions.md in ~/.copilot."""
    hooks = {
        "sessionStart": command.line("prime --hook copilot"),
        "postToolUse": command.line(BEAT),
        "sessionEnd": command.line(FINISH),
    }
    rows = {name: [{"type": "command", "bash": line}] for name, line in hooks.items()}
    own = json.dumps({"version": 1, "hooks": rows}, indent=2) + "\n"
    entry = {"type": "local", **command.entry("--text", reference="${{{}}}"), "tools": ["*"]}
    return [
        Member(".copilot/mcp-config.json", ("mcpServers", "hopper"), entry),
        Own(".copilot/hooks/hopper.json", own),
        Block(".copilot/copilot-instructions.md", TEXT, MARKDOWN),
    ]


def opencode(command: Command) -> list[Edit]:
    """OpenCode: opencode.json, plugins/ and AGENTS.md in ~/.config/opencode."""
    folder = ".config/opencode"
    entry: dict[str, Any] = {
        "type": "local",
        "command": [*command.words, "mcp", "--text"],
        "enabled": True,
    }
    if command.server:
        entry["environment"] = {"HOPPER_URL": command.server, "HOPPER_TOKEN": "{env:HOPPER_TOKEN}"}
    return [
        Member(f"{folder}/opencode.json", ("mcp", "hopper"), entry),
        Own(f"{folder}/plugins/hopper.js", _PLUGIN.format(command=shlex.join(command.words))),
        Block(f"{folder}/AGENTS.md", TEXT, MARKDOWN),
    ]


AGENTS: dict[str, Callable[[Command], list[Edit]]] = {
    "claude": claude,
    "codex": codex,
    "cursor": cursor,
    "gemini": gemini,
    "copilot": copilot,
    "opencode": opencode,
}


def _matched(
    command: Command, agent: str, *, after: str, end: str | None
) -> list[tuple[str, dict[str, Any]]]:
    """Return the hooks of an agent that groups them by what they match."""
    lines = [("SessionStart", f"prime --hook {agent}"), (after, BEAT)]
    if end:
        lines.append((end, FINISH))
    return [
        (name, {"hooks": [{"type": "command", "command": command.line(line)}]})
        for name, line in lines
    ]
