"""The configuration in force: all files together, replaced whole or not at all."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from django.conf import settings

from hopper.config.document import SHIPPED, BrokenConfig, Document, Place, Problem

if TYPE_CHECKING:
    from pydantic import BaseModel

logger = logging.getLogger(__name__)

_FOLDER = Path(__file__).resolve().parent
_LOOK_EVERY = 1.0
_READINGS = 3

Model = TypeVar("Model", bound="BaseModel")
Check = Callable[[Any, Document], Iterable[Problem]]


@dataclass(frozen=True)
class Loaded(Generic[Model]):
    """One file as read: the value, the place of each key, and the digest."""

    value: Model
    document: Document
    digest: str

    def place(self, *path: str | int) -> Place:
        """Return the place of the value at `path`. A default counts as shipped."""
        return self.document.places.get(path, Place(SHIPPED, SHIPPED, 0))

    def source(self, *path: str | int) -> str:
        """Return the source of the value at `path`: "shipped" or the operator's file."""
        return self.place(*path).source


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All files at one moment, by name. A snapshot equals only itself, so caches can name it."""

    files: Mapping[str, Loaded[Any]]

    @property
    def digest(self) -> str:
        """The digest of the whole: the same digest, the same configuration."""
        return "".join(self.files[name].digest for name in sorted(self.files))


_held: ContextVar[Snapshot | None] = ContextVar("held", default=None)


class Configuration:
    """All configuration files, shipped and the operator's, as one.

    Hopper looks for changes once a second and takes all files together. If a file is broken, the
    whole old configuration stays in force, and `problems` lists the faults.
    """

    def __init__(self) -> None:
        self.problems: tuple[Problem, ...] = ()
        self._files: list[ConfigFile[Any]] = []
        self._late: list[Callable[[], None]] = []
        self._snapshot: Snapshot | None = None
        self._signature: Hashable = None
        self._named: Hashable = None
        self._next_look = 0.0
        self._lock = threading.RLock()

    def register_late(self, register: Callable[[], None]) -> None:
        """Call `register` before anything reads a setting. Each app does this in ready().

        Most commands read no setting, and the keys are pydantic models: these take longer to load
        than a whole `hopper task list`.
        """
        self._late.append(register)

    def register_all(self) -> None:
        """Register the files and keys of all rooms, once."""
        with self._lock:
            while self._late:
                self._late.pop(0)()

    def add(self, *files: ConfigFile[Any]) -> None:
        """Register files of the configuration. Each app does this by `register_late`."""
        self._files.extend(files)
        self._signature, self._next_look = None, 0.0

    def current(self) -> Snapshot:
        """Return the configuration in force: the held one, else the last one read.

        Raises BrokenConfig if no configuration was ever usable.
        """
        held = _held.get()
        if held is not None:
            return held
        self.register_all()
        # Settings are read thousands of times in a request: the disk is asked at each look alone.
        named = _named()
        if self._snapshot and named == self._named and time.monotonic() < self._next_look:
            return self._snapshot
        with self._lock:
            self._next_look = time.monotonic() + _LOOK_EVERY
            self._named = named
            folder = operator_folder()
            if self._snapshot is None or self._sign(folder) != self._signature:
                self._take(folder)
            if self._snapshot is None:
                raise BrokenConfig(self.problems)
            return self._snapshot

    def require_usable(self) -> None:
        """Raise BrokenConfig if no configuration was ever usable.

        Without the operator's folder only the shipped files count. They are sound, and reading
        them would take a short command longer than its work.
        """
        if _held.get() is None and operator_folder() is not None:
            self.current()

    def reload(self) -> Snapshot:
        """Read the files now. Raises BrokenConfig and keeps the old configuration in force."""
        self.register_all()
        with self._lock:
            self._named = _named()
            self._take(operator_folder())
            if self.problems or self._snapshot is None:
                raise BrokenConfig(self.problems)
            return self._snapshot

    def look_again(self) -> None:
        """Make the next read look for changed files, even within the second."""
        self._next_look = 0.0

    def load(self, folder: Path | None, instead: Mapping[str, Path] | None = None) -> Snapshot:
        """Return the configuration in `folder`, without putting it in force.

        `instead` names files that replace files of the folder. Raises BrokenConfig with every fault
        of every file. A file that fails its own expectations is broken, and so is a missing folder.
        """
        self.register_all()
        if folder is not None and not os.path.isdir(folder):
            words = "there is no such folder: HOPPER_CONFIG_DIR names it"
            raise BrokenConfig([Problem(str(folder), 1, "", words)])
        found: dict[str, Loaded[Any]] = {}
        problems = list(_misnamed(folder, [file.name for file in self._files]))
        for file in tuple(self._files):
            own = folder / file.name if folder is not None else None
            path = (instead or {}).get(file.name, own)
            with _noting(problems, str(path or file.name)):
                found[file.name] = file.load(path)
        if problems:
            raise BrokenConfig(problems)
        snapshot = Snapshot(found)
        with self.held(snapshot):
            for file in tuple(self._files):
                with _noting(problems, found[file.name].place().file):
                    problems += file.failures()
        if problems:
            raise BrokenConfig(problems)
        return snapshot

    def candidate(self, path: Path) -> Snapshot:
        """Return the configuration with `path`, a folder or a file, in place of the operator's.

        A folder replaces the operator's folder. A file replaces the file of its name; a file with
        another name replaces routing_rules.yaml. Raises BrokenConfig like `load`.
        """
        self.register_all()
        if os.path.isdir(path):
            return self.load(path)
        known = {file.name for file in self._files}
        name = path.name if path.name in known else "routing_rules.yaml"
        if not os.path.isfile(path):
            raise BrokenConfig([Problem(str(path), 1, "", "there is no such file or folder")])
        return self.load(operator_folder(), {name: path})

    @contextmanager
    def held(self, snapshot: Snapshot | None = None) -> Iterator[Snapshot]:
        """Use one snapshot for all reads inside the block: the given one, or the current one."""
        chosen = snapshot or self.current()
        token = _held.set(chosen)
        try:
            yield chosen
        finally:
            _held.reset(token)

    def _take(self, folder: Path | None) -> None:
        """Put the files in force, unless they are broken or just being written."""
        found: Snapshot | None = None
        problems: tuple[Problem, ...] = ()
        for _ in range(_READINGS):
            self._signature = self._sign(folder)
            # The folder may be a link that changes meanwhile. Read all files from one target.
            real = Path(os.path.realpath(folder)) if folder else None
            before = self._sign(real)
            try:
                found, problems = self.load(real), ()
            except BrokenConfig as error:
                found, problems = None, error.problems
            if self._sign(real) == before:
                break
        else:
            self._signature = None
            if self._snapshot is not None:
                return
        self._snapshot, self.problems = found or self._snapshot, problems
        if problems and self._snapshot is not None:
            # Without a configuration in force, the caller gets the exception.
            logger.error(
                "configuration refused",
                extra={"event": "config.refused", "problems": [str(one) for one in problems]},
            )

    def _sign(self, folder: Path | None) -> Hashable:
        found: list[Hashable] = [folder is not None and os.path.isdir(folder)]
        for file in tuple(self._files):
            for path in [_FOLDER / file.name, *([folder / file.name] if folder else [])]:
                try:
                    stat = path.stat()
                except OSError as error:
                    # A missing file is legal; a link to a missing file is not.
                    found.append((str(path), error.errno, os.path.islink(path)))
                    continue
                times = (stat.st_mtime_ns, stat.st_ctime_ns)
                found.append((str(path), *times, stat.st_size, stat.st_ino))
        return tuple(found)


@contextmanager
def _noting(problems: list[Problem], file: str) -> Iterator[None]:
    """Collect the faults of a file. Any other exception while reading is a fault, too."""
    try:
        yield
    except BrokenConfig as error:
        problems += error.problems
    except Exception as error:
        # Behaviours are the operator's code. Checking the file runs this code.
        logger.exception("checking failed", extra={"event": "config.check_failed", "file": file})
        problems.append(Problem(file, 1, "", f"cannot be checked: {type(error).__name__}: {error}"))


CONFIGURATION = Configuration()
"""The configuration of this process."""


class ConfigFile(Generic[Model]):
    """One file by name: shipped defaults with the operator's values on top.

    `model` returns the schema. `checks` find faults that the schema cannot find. `proofs` find
    faults that need all files, such as a failed expectation of a file. The first proof with faults
    ends the search.
    """

    def __init__(self, name: str, model: Callable[[], type[Model]]) -> None:
        self.name = name
        self._model = model
        self.checks: list[Check] = []
        self.proofs: list[Check] = []

    def current(self) -> Loaded[Model]:
        """Return the file in force. Raises BrokenConfig if the file was never usable."""
        found = CONFIGURATION.current().files.get(self.name)
        if found is None:
            raise BrokenConfig(CONFIGURATION.problems)
        return cast("Loaded[Model]", found)

    def load(self, own: Path | None) -> Loaded[Model]:
        """Return the shipped file with the operator's `own` file on top, if there is one.

        Raises BrokenConfig.
        """
        # Late, because most commands without a server read no file.
        from hopper.config.sections import build
        from hopper.config.yaml_lines import read

        document = read(_FOLDER / self.name, SHIPPED)
        if own is not None and _stands(own):
            document = read(own, str(own)).over(document)
        value = build(self._model(), document)
        faults = [fault for check in self.checks for fault in check(value, document)]
        if faults:
            raise BrokenConfig(faults)
        text = json.dumps(document.data, sort_keys=True, default=str)
        return Loaded(value, document, hashlib.sha256(text.encode()).hexdigest()[:16])

    def failures(self) -> tuple[Problem, ...]:
        """Return the faults that the first failing proof finds in the configuration in force."""
        loaded = self.current()
        found = (tuple(prove(loaded.value, loaded.document)) for prove in self.proofs)
        return next(filter(None, found), ())


def _stands(path: Path) -> bool:
    """Return whether a file of that name exists, readable or not."""
    try:
        path.lstat()
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    return True


def _misnamed(folder: Path | None, known: Sequence[str]) -> Iterator[Problem]:
    """Yield a fault for each file that has nearly the name of a configuration file."""
    for path in sorted(folder.glob("*.y*ml")) if folder is not None else ():
        meant = difflib.get_close_matches(path.name.lower(), known, 1, 0.85)
        if path.name not in known and meant:
            yield Problem(str(path), 1, "", f"is not read; the name has to be {meant[0]}")


def _named() -> Hashable:
    """Return what the settings say of the folder."""
    return settings.HOPPER_CONFIG_DIR, settings.BASE_DIR


def operator_folder() -> Path | None:
    """Return the operator's folder: HOPPER_CONFIG_DIR, else `config/` beside manage.py, if any."""
    if settings.HOPPER_CONFIG_DIR:
        return Path(settings.HOPPER_CONFIG_DIR)
    base = Path(settings.BASE_DIR)
    beside = base / "config"
    return beside if (base / "manage.py").is_file() and beside.is_dir() else None
