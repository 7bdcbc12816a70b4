"""The pages are light: bounded queries, bounded bytes, nothing inline, nothing from outside."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from delegation.pages.apps import PagesConfig
from instances.models import HopperInstance
from instances.tasks.worker import claim_next
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.pages.conftest import SCRIPT, Person

pytestmark = pytest.mark.unmeasured

Tree = dict[str, HopperInstance]
ROOM = Path(__file__).resolve().parents[2] / "delegation" / "pages"
SCRIPTS = sorted((ROOM / "static").rglob("*.js"))
SHEETS = sorted((ROOM / "static").rglob("*.css"))
TEMPLATES = sorted((ROOM / "templates").rglob("*.html"))
FIRST_LOAD = 60_000
"""The most compressed bytes of the first load with 300 instances."""


def queries(person: Person, address: str) -> int:
    """Return the number of queries of a page."""
    with CaptureQueriesContext(connection) as captured:
        person.see(address)
    return len(captured)


@pytest.mark.parametrize("address", ["/", "/attention", "/flow", "/instances/web-run", "/mine"])
def test_a_page_needs_no_more_queries_for_more_rows(ada: Person, tree: Tree, address: str) -> None:
    def grow(number: int) -> None:
        for at in range(number):
            name = f"{number}-{at}"
            place = InstanceFactory(scope="ORCHESTRATION", parent=tree["web"], name=name)
            TaskFactory(instance=place)
            TaskFactory(instance=tree["web-run"])
            TaskFactory(instance=tree["top"])
        claim_next("web-run", worker="w", limit=number, actor=ALICE)

    grow(2)
    ada.see(address)
    few = queries(ada, address)
    grow(6)
    ada.see(address)  # the first reader gives new events their positions
    assert queries(ada, address) <= few + 1
    assert few <= 40


def test_the_first_load_of_300_instances_is_small(ada: Person, tree: Tree) -> None:
    at = HopperInstance.objects.count()
    while at < 300:
        InstanceFactory(scope="PROJECT", parent=tree["top"], name=f"project-{at}", running=False)
        at += 1
    page = ada.see("/").encode()
    assert page.count(b"<tr id=") == 300
    parts = [page, *(file.read_bytes() for file in (*SCRIPTS, *SHEETS))]
    assert sum(len(gzip.compress(part)) for part in parts) <= FIRST_LOAD


def test_own_scripts_and_sheets_stay_short() -> None:
    assert sum(file.read_text().count("\n") for file in SCRIPTS) <= 300
    assert sum(file.read_text().count("\n") for file in SHEETS) <= 400


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_a_template_has_no_inline_script_or_style(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"\sstyle=|\son(?!e=)\w+=|<style|javascript:", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"(src|href)=\"(https?:)?//", text)


@pytest.mark.parametrize("file", [*SCRIPTS, *SHEETS], ids=lambda file: file.name)
def test_a_file_loads_nothing_from_outside(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"https?://|@import|\beval\(|new Function|\.style\b|\.cssText", text)


def test_pages_are_kept_by_no_store(ada: Person) -> None:
    answer = ada.get("/", headers=SCRIPT)
    assert "no-store" in answer["Cache-Control"]
    assert "Cookie" in answer["Vary"]
    assert b"<!doctype" not in answer.content
    assert PagesConfig.label == "pages"
