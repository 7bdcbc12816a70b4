"""What `pyproject.toml` asks for: no version with a known fault, and gunicorn as an extra."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = [Requirement(line) for line in PROJECT["dependencies"]]
ALL = [*ASKED, *(Requirement(line) for lines in EXTRAS.values() for line in lines)]
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (TOP / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
}
FAULTY = {
    "django": "5.2.12",  # CVE-2026-33033, CVE-2026-33034, CVE-2026-3902
    "djangorestframework": "3.15.1",  # CVE-2024-21520
    "gunicorn": "22.0.0",  # CVE-2024-6827
    "h11": "0.14.0",  # CVE-2025-43859
    "urllib3": "2.6.2",  # CVE-2026-21441
}
"""The last version of each library with a known fault that a stranger can use."""


def named(name: str) -> list[Requirement]:
    """Return the lines of pyproject that ask for a library."""
    return [one for one in ALL if canonicalize_name(one.name) == name]


@pytest.mark.parametrize(("name", "version"), FAULTY.items())
def test_no_bound_lets_a_version_with_a_known_fault_in(name: str, version: str) -> None:
    assert named(name)
    for requirement in named(name):
        assert version not in requirement.specifier, requirement


@pytest.mark.parametrize("requirement", ALL, ids=str)
def test_the_pinned_version_lies_within_the_bounds(requirement: Requirement) -> None:
    assert PINS[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("requirement", ASKED, ids=str)
def test_every_library_has_a_lowest_version(requirement: Requirement) -> None:
    assert any(one.operator in (">=", "==", "~=") for one in requirement.specifier)


def test_gunicorn_is_an_extra_and_nothing_that_everybody_installs() -> None:
    assert [Requirement(line).name for line in EXTRAS["gunicorn"]] == ["gunicorn"]
    assert "gunicorn" not in {one.name for one in ASKED}
