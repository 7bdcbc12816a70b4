"""Backups: the whole database in one file, with the key of an embedded store beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connection

from hopper.database import engine
from hopper.database.engine import BackupError
from hopper.embedded import Store


def back_up(path: Path, *, replace: bool = False) -> list[Path]:
    """Write a backup of the database and return the files that were written.

    The second file, `NAME.key`, holds the key of an embedded store. Both appear whole or not at
    all, readable by their owner alone. Raises BackupError for a file that exists, unless `replace`.
    """
    key, key_file = _own_key(), _key_of(path)
    for file in [path, key_file] if key else [path]:
        if file.exists() and not replace:
            raise BackupError(f"{file} exists: name another file, or give --replace.")
    with written_whole(path) as draft:
        engine().back_up(draft)
    if not key:
        return [path]
    with written_whole(key_file) as draft:
        draft.write_text(key, encoding="ascii")
    return [path, key_file]


def restore(path: Path) -> None:
    """Replace the database by a backup, and the key of an embedded store by that of the backup.

    Raises BackupError, and changes nothing then.
    """
    if not path.is_file():
        raise BackupError(f"{path}: there is no such file.")
    key_file = _key_of(path)
    engine().restore(path)
    if engine().on_this_machine and key_file.is_file():
        with written_whole(_store().secret_key_file) as draft:
            draft.write_bytes(key_file.read_bytes())


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a new file for the block to fill; it takes the place of `path` when it is on the disk.

    Raises BackupError where the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            yield draft
            flush(draft)
            draft.replace(path)
            flush(path.parent)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error.strerror}.") from error


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _own_key() -> str:
    """Return the key that lies beside the database, "" where the site has another."""
    if not engine().on_this_machine:
        return ""
    file = _store().secret_key_file
    key = file.read_text(encoding="ascii").strip() if file.is_file() else ""
    return key if key == settings.SECRET_KEY else ""


def _store() -> Store:
    return Store(Path(connection.settings_dict["NAME"]))


def _key_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.key")
