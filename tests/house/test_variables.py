"""A mistyped name of a setting is said: the setting has not been made."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

import pytest
from django.conf import settings

from hopper import checks, variables
from hopper.cli.main import run
from hopper.cli.parser import build_parser
from hopper.serving import safety
from tests.cli.fakes import FakeTransport, page

TYPO = "HOPPER_ALOWED_HOSTS"
MEANT = f"{TYPO} is no setting of Hopper; did you mean HOPPER_ALLOWED_HOSTS?"


@pytest.fixture
def typo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TYPO, "hopper.example")


def test_the_settings_are_those_that_are_read() -> None:
    source = (Path(settings.BASE_DIR) / "hopper" / "settings.py").read_text(encoding="utf-8")
    read = {
        str(ast.literal_eval(call.args[0]))
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[0] == "env"
    }
    assert read == variables.SETTINGS


def test_the_page_names_every_setting() -> None:
    page = Path(settings.BASE_DIR) / "docs" / "reference" / "configuration.md"
    named = set(re.findall(r"HOPPER_[A-Z_]+", page.read_text(encoding="utf-8")))
    assert named >= variables.SETTINGS


def test_a_near_name_is_reported_with_the_right_one() -> None:
    assert list(variables.mistyped([TYPO, "HOPPER_SECRET_KY_FILE", "PATH"])) == [
        MEANT,
        "HOPPER_SECRET_KY_FILE is no setting of Hopper; did you mean HOPPER_SECRET_KEY_FILE?",
    ]


@pytest.mark.parametrize(
    "name", ["HOPPER_SECRET_KEY_FILE", "HOPPER_TASK_ID", "HOPPER_TEST_DATABASE", "HOPPER_COLOUR"]
)
def test_a_known_or_foreign_name_is_no_slip(name: str) -> None:
    assert list(variables.mistyped([name])) == []


@pytest.mark.usefixtures("typo")
def test_a_command_warns_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    server = FakeTransport()
    server.answers["GET /tasks"] = page()
    out = io.StringIO()
    assert run(build_parser().parse_args(["--json", "task", "list"]), server, out) == 0
    assert out.getvalue() == "[]\n"
    assert capsys.readouterr().err == f"Warning: {MEANT}\n"


@pytest.mark.usefixtures("typo")
def test_a_server_for_a_team_does_not_start() -> None:
    assert MEANT in list(safety.refusals("127.0.0.1"))


@pytest.mark.usefixtures("typo")
def test_the_system_check_names_what_nothing_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPPER_COLOUR", "green")
    found = [(one.id, one.msg, one.hint) for one in checks.check_names()]
    assert ("hopper.W003", f"{TYPO} is no setting of Hopper.", MEANT) in found
    assert "HOPPER_COLOUR is no setting of Hopper." in [msg for _, msg, _ in found]
