"""Reading one YAML file: its data, and the place of every key in it."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from hopper.config.document import BrokenConfig, Document, KeyPath, Place, Problem

_MAX_BYTES = 1_000_000
_MAX_NODES = 100_000


def read(path: Path, source: str) -> Document:
    """Read one YAML file like safe_load. Raises BrokenConfig with line and key."""
    try:
        if not (path.is_file() or os.path.realpath(path) == os.devnull):
            words = "is no file, or a link that leads to none"
            raise BrokenConfig([Problem(str(path), 1, "", words)])
        text = path.read_text(encoding="utf-8")
        if len(text) > _MAX_BYTES:
            raise BrokenConfig([Problem(str(path), 1, "", f"longer than {_MAX_BYTES} bytes")])
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return Document({}, {(): Place(source, str(path), 1)})
        document = Document(places=_Walk(source, str(path)).places(node))
        document.data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        words = error.problem or error.context or "is not YAML"
        raise BrokenConfig([Problem(str(path), line, "", str(words))]) from None
    except (OSError, UnicodeError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise BrokenConfig([Problem(str(path), 1, "", f"cannot be read: {error}")]) from None
    if not isinstance(document.data, dict):
        raise BrokenConfig([Problem(str(path), 1, "", "has to be a mapping of keys to values")])
    return document


class _Walk:
    """Notes the line of every key. Refuses a key that is given twice."""

    def __init__(self, source: str, file: str) -> None:
        self._source, self._file = source, file
        self._found: dict[KeyPath, Place] = {}

    def places(self, node: yaml.Node) -> dict[KeyPath, Place]:
        self._visit(node, (), node.start_mark.line)
        return self._found

    def _visit(self, node: yaml.Node, path: KeyPath, line: int) -> None:
        if len(self._found) > _MAX_NODES or len(path) > 50:
            raise BrokenConfig([Problem(self._file, line + 1, "", "too large or too deep")])
        self._found[path] = Place(self._source, self._file, line + 1)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._visit(item, (*path, index), item.start_mark.line)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*path, str(key.value))
                self._require_plain(key, here)
                self._visit(value, here, key.start_mark.line)

    def _require_plain(self, key: yaml.Node, path: KeyPath) -> None:
        dotted, line = ".".join(map(str, path)), key.start_mark.line + 1
        if path in self._found:
            raise BrokenConfig([Problem(self._file, line, dotted, "this key is given twice")])
        if key.tag != "tag:yaml.org,2002:str":
            words = "a key has to be a word; put it in quotes"
            raise BrokenConfig([Problem(self._file, line, dotted, words)])
