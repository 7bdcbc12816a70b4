"""The files for servers are sound: what they run exists, and the documented commands do it."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from hopper import packages
from hopper.cli.parser import build_parser
from tests.cli.shell import Shell

TOP = Path(settings.BASE_DIR)
DEPLOY = TOP / "deploy"
KEEPING = TOP / "docs" / "how-to" / "keep-your-data.md"


def _unit(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(DEPLOY / name)
    return unit


@pytest.mark.parametrize("name", ["hopper.service", "hopper-check.service"])
def test_a_unit_runs_a_command_that_hopper_knows(name: str) -> None:
    words = shlex.split(_unit(name)["Service"]["ExecStart"])
    assert words[0] == "/opt/hopper/bin/hopper"
    build_parser().parse_args(words[1:])


def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd")
    units = []
    for file in sorted(DEPLOY.glob("hopper*.*")):
        # The program does not exist on this machine.
        text = file.read_text().replace("/opt/hopper/bin/hopper", "/bin/true")
        units.append(tmp_path / file.name)
        units[-1].write_text(text)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True
    )
    assert [line for line in found.stderr.splitlines() if str(tmp_path) in line] == []


def test_the_compose_file_has_a_database_two_servers_and_a_sweeper() -> None:
    file: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = file["services"]
    assert set(services) == {"database", "server-1", "server-2", "sweeper"}
    for name, service in services.items():
        if name == "database":
            continue
        build_parser().parse_args(service["command"])
        assert (TOP / service["build"]["dockerfile"]).is_file()
        assert service["depends_on"]["database"]["condition"] == "service_healthy"
        assert set(service["secrets"]) <= set(file["secrets"])
        reference = (TOP / "docs" / "reference" / "configuration.md").read_text()
        for variable in service["environment"]:
            assert variable.removesuffix("_FILE") in reference, variable


def test_the_container_runs_a_command_that_hopper_knows() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    entry, command = (
        yaml.safe_load(re.search(rf"^{word} (.*)$", text, re.MULTILINE)[1])
        for word in ("ENTRYPOINT", "CMD")
    )
    assert entry == ["hopper"]
    build_parser().parse_args(command)


def test_a_store_is_backed_up_and_restored_as_documented(tmp_path: Path, empty_store: Path) -> None:
    shutil.copytree(empty_store, tmp_path / ".hopper")
    shell = Shell(tmp_path)
    task_id = shell.hopper("add", "Keep me", "--quiet").strip()
    for block in re.findall(r"```sh\n(.*?)```", KEEPING.read_text(), re.DOTALL):
        shell.bash(block)
    for key in ("monday.backup.key", "restored/secret_key"):
        assert (tmp_path / key).read_text() == (tmp_path / ".hopper/secret_key").read_text()
    with sqlite3.connect(tmp_path / "restored/hopper.db") as store:
        assert store.execute("SELECT id FROM instances_task").fetchall() == [(task_id,)]


def test_a_package_of_another_distribution_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.hidden_by() == ""

    def find(name: str) -> Any:
        return type("Spec", (), {"origin": f"/elsewhere/{name}/__init__.py"})

    monkeypatch.setattr(packages, "find_spec", find)
    assert "Python finds another one in /elsewhere" in packages.hidden_by()
