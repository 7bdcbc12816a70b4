"""A fault that nobody foresaw is one clear line on stderr, exit 1, and shows no secret."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from hopper.cli.arguments import settle
from hopper.cli.main import main, run
from hopper.cli.parser import build_parser
from hopper.cli.target import chosen
from hopper.cli.transport import CliError, Reply
from hopper.logs import JsonFormatter, TextFormatter
from hopper.masks import masked
from tests.cli.shell import HOPPER

TOKEN = "hop_0123456789abcdef"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw+/="
LEASE = "12.abcdefghijklmnopqrstuvwx"


@pytest.mark.parametrize("answer", [{}, [], [1], "text", {"results": 3}])
@pytest.mark.parametrize("words", [["task", "list"], ["task", "get", "t"], ["instance", "tree"]])
def test_a_server_that_is_not_hopper_is_reported_as_such(
    answer: Any, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    class Wrong:
        def request(self, *args: Any, **options: Any) -> Reply:
            return Reply(200, answer)

    args = build_parser().parse_args(["--server", "http://other.example", *words])
    code = run(args, Wrong())
    told = capsys.readouterr()
    # An empty list is an empty list for every server.
    is_fine = answer == [] and words[-1] in ("list", "tree")
    assert code == (0 if is_fine else 1)
    complaint = "Error: The answer of http://other.example does not have the form"
    assert told.err == "" if is_fine else told.err.startswith(complaint)
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HOPPER_SECRET_KEY_FILE", "/none/key", "HOPPER_SECRET_KEY_FILE: cannot read /none/key"),
        ("HOPPER_DATABASE_URL", "secretword", "HOPPER_DATABASE_URL: not the URL of a database"),
        ("HOPPER_AUTO_ROUTE", "banana", "HOPPER_AUTO_ROUTE is 'banana'; allowed"),
        ("HOPPER_MAX_BODY_BYTES", "banana", "HOPPER_MAX_BODY_BYTES is 'banana'; allowed"),
    ],
)
def test_a_mistyped_variable_is_named(tmp_path: Path, name: str, value: str, words: str) -> None:
    own = ("HOPPER_", "DJANGO_")
    kept = {key: text for key, text in os.environ.items() if not key.startswith(own)}
    environ = {**kept, "HOME": str(tmp_path), name: value}
    done = subprocess.run(
        [str(HOPPER), "task", "list"], env=environ, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {words}")
    assert "Traceback" not in done.stderr
    assert "secretword" not in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        f"no token {TOKEN}",
        f"the webhook's secret {SECRET}",
        f"lease {LEASE} is over",
        f"Authorization: Bearer {TOKEN}",
        "Authorization: Basic dXNlcjpwYXNzd29yZA==",
        "postgres://hopper:geheim@db/hopper refused",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    shown = masked(text)
    assert "***" in shown
    for secret in (TOKEN, LEASE, SECRET, "geheim", "dXNlcjpwYXNzd29yZA=="):
        assert secret not in shown


def test_plain_words_are_left_alone() -> None:
    for text in ("The token is not one word.", "task-01a22c04a3d94cc7914de457", "http://a/b@c"):
        assert masked(text) == text


@pytest.mark.parametrize("formatter", [TextFormatter("%(message)s"), JsonFormatter()])
def test_a_log_line_shows_no_secret(formatter: logging.Formatter) -> None:
    record = logging.LogRecord("hopper", 30, "", 0, "failed with %s", (TOKEN,), None)
    record.event, record.lease = "x", LEASE
    line = formatter.format(record)
    assert TOKEN not in line
    assert LEASE not in line
    assert line.count("***") == 2


def test_an_error_shows_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def request(self, *args: Any, **options: Any) -> Reply:
            raise CliError(f"cannot send {TOKEN}", hint=f"postgres://a:{LEASE}@b")

    args = build_parser().parse_args(["--verbose", "task", "list"])
    assert run(args, Failing()) == 1
    assert capsys.readouterr().err.count("***") == 2


@pytest.mark.parametrize("words", [[], ["help"], ["help", "task", "list"], ["--help"]])
def test_help_is_shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: hopper")


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["taks"], "did you mean task?"), (["task", "lst"], "did you mean list"), (["zzz"], "Known:")],
)
def test_a_mistyped_command_is_guessed(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert meant in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [TOKEN],
        ["task", TOKEN],
        ["task", "list", f"--{TOKEN}"],
        ["task", "get", "task-1", LEASE],
        ["task", "list", "--status", TOKEN],
        ["task", "add", "x", "--complexity", LEASE],
        ["setup", TOKEN],
    ],
)
def test_a_word_at_a_wrong_place_is_not_repeated_if_it_is_a_secret(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    told = capsys.readouterr().err
    assert "***" in told
    assert TOKEN not in told
    assert LEASE not in told


@pytest.mark.parametrize(
    "words", [["task", "get", "\udcff"], ["task", "list", "--project", "\udcff"]]
)
def test_a_word_that_is_not_utf_8_is_one_clear_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--server", "http://other.example", *words]) == 1
    assert capsys.readouterr().err == "Error: '\\udcff' is not UTF-8 text.\n"


def test_an_empty_server_is_refused_and_a_line_end_after_its_address_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--server", "", "task", "list"]) == 1
    assert capsys.readouterr().err.startswith("Error: --server is empty.\n")
    monkeypatch.setenv("HOPPER_URL", "http://other.example\n")
    args = build_parser().parse_args(["task", "list"])
    settle(args)
    assert chosen(args).server == "http://other.example"


@pytest.mark.parametrize("made", [TextFormatter("%(message)s"), JsonFormatter()])
def test_a_text_of_a_stranger_is_no_line_of_the_log(made: logging.Formatter) -> None:
    args = ("/x\n2026-01-01 ERROR forged\r\u2028y",)
    record = logging.LogRecord("hopper", 30, "", 0, "Not Found: %s", args, None)
    record.event, record.path = "x", args[0]
    assert len(made.format(record).splitlines()) == 1


@pytest.mark.parametrize("zone", [("UTC", "08:00:00Z"), ("Asia/Tokyo", "23:00:00Z")])
def test_a_time_without_an_offset_is_local_and_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], zone: tuple[str, str]
) -> None:
    monkeypatch.setenv("TZ", zone[0])
    time.tzset()
    try:
        given = "2026-12-01T08:00"
        args = build_parser().parse_args(["add", "x", "--not-before", given])
        assert args.not_before.endswith(zone[1])
        assert capsys.readouterr().err == f"{given} is taken as local time: {args.not_before}\n"
        build_parser().parse_args(["add", "x", "--not-before", f"{given}:00+02:00"])
        assert capsys.readouterr().err == ""
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("command", ["check", "backup out", "export out", "archive", "sweep"])
@pytest.mark.parametrize("place", ["typo.db", "no folder/typo.db", "sqlite:///{}/typo%20.db"])
def test_a_command_on_a_database_that_is_not_there_makes_none(
    command: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOPPER_DATABASE_URL", "")
    assert main(["--local", *command.split(), "--database", place.format(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "There is no database at" in told
    assert "hopper migrate --database" in told
    assert not list(tmp_path.iterdir())
