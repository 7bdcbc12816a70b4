"""`hopper serve` refuses what is not safe for a team, before it touches the database."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from delegation.management.commands import hopper_serve
from hopper.serving import safety

ELSEWHERE = "192.0.2.1"


@pytest.fixture(autouse=True)
def _no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hopper.commands.prepare", lambda: None)
    monkeypatch.setattr(hopper_serve, "call_command", lambda *args, **options: None)


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back the names that the command sets for its process."""
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", settings.ALLOWED_HOSTS)


@pytest.mark.parametrize(
    ("name", "value", "host", "words"),
    [
        ("HOPPER_AUTH", "off", ELSEWHERE, r"HOPPER_AUTH=off makes every caller an admin"),
        ("HOPPER_AUTH", "off", "0.0.0.0", r"serve at 127\.0\.0\.1"),
        ("DEBUG", True, "127.0.0.1", r"HOPPER_DEBUG shows settings"),
        ("SECRET_KEY", "secret", ELSEWHERE, r"HOPPER_SECRET_KEY can be guessed"),
    ],
)
def test_an_unsafe_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object, host: str, words: str
) -> None:
    monkeypatch.setattr(settings, name, value)
    with pytest.raises(CommandError, match=words):
        call_command("hopper_serve", host=host)


def test_a_store_on_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"none / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(safety, "MOUNTS", mounts)
    store = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "hopper.db")}
    monkeypatch.setitem(settings.DATABASES, "default", store)
    with pytest.raises(CommandError, match=r"network file system \(nfs4\)"):
        call_command("hopper_serve")


@pytest.mark.django_db
def test_an_address_in_use_is_one_clear_line() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Cannot listen at 127.0.0.1:{port}: Address"):
            call_command("hopper_serve", port=port)


def test_the_names_of_an_address_are_allowed() -> None:
    assert safety.names_of("127.0.0.1") == ["localhost", "127.0.0.1", "[::1]"]
    assert safety.names_of("127.0.0.2")[-1] == "127.0.0.2"
    assert safety.names_of("::1") == ["localhost", "127.0.0.1", "[::1]"]
    assert safety.names_of(ELSEWHERE)[-1] == ELSEWHERE
    assert socket.gethostname() in safety.names_of("0.0.0.0")
