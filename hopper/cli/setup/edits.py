"""The edits of an agent's files, and their way back: byte for byte, or by what was added."""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hopper.cli.setup import json_text
from hopper.cli.transport import CliError

BEGIN, END = "hopper:begin", "hopper:end"


class Edit(Protocol):
    """One addition to one file."""

    @property
    def file(self) -> str:
        """The file, from the home folder."""

    def done(self, text: str) -> str:
        """Return the text of the file with the addition. Raises ValueError."""

    def undone(self, text: str) -> str:
        """Return the text without the addition."""


@dataclass(frozen=True)
class Member:
    """A value in a JSON file, or (`in_list`) one element of a list there."""

    file: str
    path: tuple[str, ...]
    value: Any = field(hash=False)
    in_list: bool = False

    def done(self, text: str) -> str:
        """Return the text with the value at the path."""
        return json_text.with_added(text, self.path, self.value, in_list=self.in_list)

    def undone(self, text: str) -> str:
        """Return the text without the value."""
        return json_text.without(text, self.path, self.value, in_list=self.in_list)


@dataclass(frozen=True)
class Block:
    """Marked lines at the end of a text file. `marks` are the first and the last line."""

    file: str
    text: str
    marks: tuple[str, str]

    def done(self, text: str) -> str:
        """Return the text with the lines, in place of older ones."""
        block = f"{self.marks[0]}\n{self.text.strip()}\n{self.marks[1]}\n"
        if block in text:
            return text
        rest = self.undone(text)
        gap = "" if not rest else "\n" if rest.endswith("\n") else "\n\n"
        return f"{rest}{gap}{block}"

    def undone(self, text: str) -> str:
        """Return the text without the lines and the empty line before them."""
        first, last = map(re.escape, self.marks)
        return re.sub(rf"\n?^{first}\n.*?^{last}\n?", "", text, flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Own:
    """A file that is Hopper's alone."""

    file: str
    text: str

    def done(self, text: str) -> str:
        """Return Hopper's text."""
        return self.text

    def undone(self, text: str) -> str:
        """Return nothing: the file goes."""
        return ""


@dataclass(frozen=True)
class Change:
    """The content of one file before and after; None means that the file does not exist."""

    path: Path
    before: bytes | None
    after: bytes | None

    def diff(self) -> str:
        """Return the change as a diff for a person."""
        old, new = ((data or b"").decode(errors="replace") for data in (self.before, self.after))
        lines = difflib.unified_diff(
            old.splitlines(),
            new.splitlines(),
            "/dev/null" if self.before is None else str(self.path),
            "/dev/null" if self.after is None else str(self.path),
            lineterm="",
        )
        return "\n".join(lines)

    def write(self) -> None:
        """Carry the change out. The file keeps its mode; folders left empty go."""
        if self.after is None:
            self.path.unlink(missing_ok=True)
            return
        target = self.path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.hopper")
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
        draft.write_bytes(self.after)
        draft.chmod(mode)
        draft.replace(target)


class Files:
    """The files of one agent below the home folder, and the record of what they were before."""

    def __init__(self, home: Path, state: Path, edits: Sequence[Edit]) -> None:
        self._home = home
        self._state = state
        self._edits = edits

    def additions(self) -> list[Change]:
        """Return the changes that add what is missing. Raises CliError for a file in the way."""
        return [self._added(name) for name in dict.fromkeys(edit.file for edit in self._edits)]

    def removals(self) -> list[Change]:
        """Return the changes that take everything back."""
        record = self._record()
        names = dict.fromkeys([*(edit.file for edit in self._edits), *record.get("files", {})])
        changes = [self._removed(name, record.get("files", {}).get(name)) for name in names]
        return [change for change in changes if change.before != change.after]

    def add(self, changes: Sequence[Change]) -> None:
        """Write the additions, and first the record by which they can be taken back."""
        record = self._record() or {"files": {}, "folders": []}
        for change in changes:
            name = str(change.path.relative_to(self._home))
            row = record["files"].setdefault(name, {"before": _encoded(change.before)})
            if row.get("after") not in (None, _digest(change.before)):
                # Somebody has edited the file since: what stays is that without the additions.
                row["before"] = _encoded(self._removed(name, row).after)
            row["after"] = _digest(change.after)
            record["folders"] += [str(one) for one in self._missing_folders(change.path)]
        record["folders"] += [str(one) for one in self._missing_folders(self._state)]
        record["folders"] = sorted(set(record["folders"]))
        self._state.parent.mkdir(parents=True, exist_ok=True)
        self._state.write_text(json.dumps(record, indent=1), encoding="utf-8")
        self._state.chmod(0o600)
        for change in changes:
            change.write()

    def remove(self, changes: Sequence[Change]) -> None:
        """Take the additions back, with the folders that were made for them."""
        folders = self._record().get("folders", [])
        for change in changes:
            change.write()
        self._state.unlink(missing_ok=True)
        for folder in sorted(folders, key=len, reverse=True):
            _remove_empty(self._home / folder)

    def _added(self, name: str) -> Change:
        path = self._home / name
        before = _bytes(path)
        row = self._record().get("files", {}).get(name)
        try:
            if row is not None and not self._is_done(name, before):
                # Set up before, in another way: only the new way stays.
                after = self._done(name, self._removed(name, row).after)
            else:
                after = self._done(name, before)
        except ValueError as error:
            words = f"{path} is left as it is: {error}."
            raise CliError(words, hint="Correct the file, then call again.") from error
        return Change(path, before, after)

    def _is_done(self, name: str, data: bytes | None) -> bool:
        try:
            return self._done(name, data) == data
        except ValueError:
            return False

    def _done(self, name: str, data: bytes | None) -> bytes:
        text = (data or b"").decode()
        for edit in self._edits:
            if edit.file == name:
                text = edit.done(text)
        return text.encode()

    def _removed(self, name: str, row: dict[str, Any] | None) -> Change:
        path = self._home / name
        present = _bytes(path)
        if present is None:
            return Change(path, None, None)
        if row is not None and row["after"] == _digest(present):
            return Change(path, present, _decoded(row["before"]))
        before = _decoded(row["before"]) if row is not None else None
        try:
            text = present.decode()
            for edit in self._edits:
                if edit.file == name and not _stood(edit, before):
                    text = edit.undone(text)
        except ValueError as error:
            words = f"{path} is left as it is: {error}."
            raise CliError(words, hint="Correct the file, then call again.") from error
        return Change(path, present, text.encode() if text.strip() not in ("", "{}") else None)

    def _record(self) -> dict[str, Any]:
        """Return what the files were before; nothing where the record is damaged."""
        try:
            return dict(json.loads(_bytes(self._state) or b"{}"))
        except (ValueError, TypeError):
            return {}

    def _missing_folders(self, path: Path) -> Iterator[Path]:
        for folder in path.parents:
            if folder == self._home or folder.exists():
                return
            yield folder.relative_to(self._home)


def _stood(edit: Edit, before: bytes | None) -> bool:
    """Return whether the person had the addition before Hopper was set up."""
    try:
        text = (before or b"").decode()
        return bool(text) and edit.done(text) == text
    except ValueError:
        return False


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CliError(f"Cannot read {path}: {error.strerror}.") from error


def _digest(data: bytes | None) -> str:
    return hashlib.sha256(data or b"").hexdigest()


def _encoded(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not os.listdir(folder):
        folder.rmdir()
