"""The tree is fenced: one module writes its structure, one room names its numbers."""

from __future__ import annotations

import ast

from tests.architecture.sources import where

GATE = "instances/tree/shape.py"
STRUCTURAL_CALLS = {
    "move_to", "insert_at", "insert_node", "move_node", "rebuild", "partial_rebuild",
    "delay_mptt_updates", "disable_mptt_updates", "set_group_name", "build_tree_nodes",
}  # fmt: skip
CREATING_CALLS = {"create", "bulk_create", "get_or_create", "update_or_create"}
TREE_NUMBERS = {"lft", "rght", "tree_id"}


def _structural_calls(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rsplit(".", 1)[-1]
        if last in STRUCTURAL_CALLS or name == "HopperInstance":
            found.add(name)
        if last in CREATING_CALLS and name.startswith("HopperInstance."):
            found.add(name)
    return found


def _names(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                found.add(name)
            case ast.Constant(value=str(name)):
                found.add(name)
    return {part for name in found for part in name.split("__")}


def test_only_the_gate_writes_the_structure() -> None:
    assert set(where(lambda source: _structural_calls(source.tree))) == {GATE}


def test_only_instances_names_the_tree_numbers() -> None:
    rooms = {path.split("/")[0] for path in where(lambda one: _names(one.tree) & TREE_NUMBERS)}
    assert rooms == {"instances"}


def test_a_structural_call_would_be_found() -> None:
    tree = ast.parse("HopperInstance.objects.create(name='x')\nnode.move_to(other)")
    assert _structural_calls(tree) == {"HopperInstance.objects.create", "node.move_to"}
