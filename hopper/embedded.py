"""The embedded store: finding and creating it. Does not import Django."""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

duties: list[Callable[..., object]] = []
"""Functions called with `limit` before a command without a server. AppConfig.ready() adds them."""

ENGINE = "django.db.backends.sqlite3"
FOLDER = ".hopper"
DATABASE = "hopper.db"


@dataclass(frozen=True)
class Store:
    """An SQLite database file with the secret key and the lock file beside it."""

    database: Path

    @property
    def home(self) -> Path:
        return self.database.parent

    @property
    def secret_key_file(self) -> Path:
        return self.home / "secret_key"

    @property
    def is_read_only(self) -> bool:
        """Whether there is a database that this person may not write."""
        files = (self.home, self.database)
        return self.database.exists() and not all(os.access(file, os.W_OK) for file in files)

    @property
    def address(self) -> str:
        """The address at which SQLite opens the database: its path, or a URI where it only reads.

        A reader writes a file beside the database, unless the database is said to be immutable.
        That is safe only without changes that wait in the log of the last writer.
        """
        if not self.is_read_only:
            return str(self.database)
        log = self.database.with_name(f"{self.database.name}-wal")
        waiting = log.exists() and log.stat().st_size > 0
        return f"{self.database.as_uri()}?{'mode=ro' if waiting else 'immutable=1'}"

    def prepare(self) -> Store:
        """Create missing parts: folder (0700), database (0600, WAL) and secret key (0600).

        Safe to call in several processes at once: the first does the work, the others wait. A store
        that is read-only stays as it is.
        """
        if self.is_read_only:
            return self
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        made_by_hand = self.home.name == FOLDER and not self.home.is_symlink()
        if made_by_hand and self.home.stat().st_mode & 0o077:
            # A person may have made the empty folder, with any mode. The folder counts as a store.
            # A link may lead to any folder, such as /etc: its mode stays.
            self.home.chmod(0o700)
        if not (self.database.exists() and self.secret_key_file.exists()):
            with self.lock():
                self._create(self.database, _write_empty_database)
                self._create(self.secret_key_file, _write_secret_key)
        return self

    def secret_key(self) -> str:
        """Return the secret key beside the database. The first call creates the key."""
        return self.prepare().secret_key_file.read_text(encoding="ascii").strip()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store's advisory lock; other processes wait. The lock ends with its process."""
        descriptor = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _create(self, path: Path, write: Callable[[Path], None]) -> None:
        if path.exists():
            return
        draft = path.with_name(f"{path.name}.new")
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        write(draft)
        draft.rename(path)


def _write_empty_database(path: Path) -> None:
    # A change of the journal mode ignores the busy timeout. So the mode is set only here, once,
    # under the store's lock.
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _write_secret_key(path: Path) -> None:
    path.write_text(secrets.token_urlsafe(50), encoding="ascii")


def find(start: Path | None = None) -> Store:
    """Return the store of a command: the nearest `.hopper` folder upwards from `start`
    (default: the working directory), else `$HOPPER_HOME`, else `~/.hopper`. Creates nothing.
    """
    here = (start or _working_directory()).resolve()
    for folder in (here, *here.parents):
        if unfit := _unfit(folder / FOLDER):
            _say_once(f"{folder / FOLDER} {unfit} and is skipped.")
        elif (folder / FOLDER).is_dir():
            return Store(folder / FOLDER / DATABASE)
    home = os.environ.get("HOPPER_HOME")
    return Store((_absolute(home) if home else _home() / FOLDER) / DATABASE)


def _working_directory() -> Path:
    """Return the working directory. Raises OSError, in words, where it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise OSError("the working directory was removed: change to another one") from None


def _unfit(folder: Path) -> str:
    """Return why something of the name `.hopper` is no store of this person; "" if it is or may be.

    A link has to belong to the person, too: it says which folder gets the files.
    """
    if not os.path.lexists(folder):
        return ""
    if not folder.is_dir():
        return "is no folder"
    is_own = _is_own(folder) and folder.lstat().st_uid == os.geteuid()
    return "" if is_own else "belongs to another user"


def _is_own(folder: Path) -> bool:
    return folder.stat().st_uid == os.geteuid()


@cache
def _say_once(words: str) -> None:
    print(f"hopper: {words}", file=sys.stderr)


def _absolute(home: str) -> Path:
    """Return the folder that HOPPER_HOME names. Raises OSError for a relative path."""
    folder = Path(home).expanduser()
    if not folder.is_absolute():
        raise OSError(f"HOPPER_HOME is {home!r}: it has to be an absolute path")
    return folder


def _home() -> Path:
    """Return the home folder of the person who runs the command.

    HOME is used where it is absolute, is not `/`, and belongs to that person or does not exist
    yet. Otherwise the system's list of users names the folder. Raises OSError where neither gives
    a folder of that person. A store in `/` would serve every user in every folder.
    """
    try:
        listed = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        listed = ""
    for name in (os.environ.get("HOME", ""), listed):
        folder = Path(name)
        fits = folder.is_absolute() and folder != Path("/")
        if fits and (not folder.exists() or _is_own(folder)):
            return folder
    raise OSError("this person has no home folder: set HOPPER_HOME to a folder of your own")
