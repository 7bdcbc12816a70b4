"""The five spellings of one name, tag or capability are one thing through every request (R25)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hopper.words import clashing_key, key_of
from instances.models import HopperInstance, Task
from scopes.rules.engine import RULES
from tests.factories import InstanceFactory
from tests.spellings import CAFE, FIVE
from tests.worlds import kept

if TYPE_CHECKING:
    from tests.api.conftest import Caller

pytestmark = pytest.mark.unmeasured

Tree = dict[str, "HopperInstance"]
every_spelling = pytest.mark.parametrize("word", FIVE, ids=ascii)


@pytest.fixture
@kept
def cafe(tree: Tree) -> HopperInstance:
    """A project below the GLOBAL that can and is called Café."""
    place: HopperInstance = InstanceFactory(
        scope="PROJECT", parent=tree["top"], name=CAFE, id="place", config={"capabilities": [CAFE]}
    )
    return place


@every_spelling
def test_a_sibling_cannot_have_the_name_again(ada: Caller, cafe: HopperInstance, word: str) -> None:
    again = {"name": word, "scope": "PROJECT", "parent_id": "top"}
    assert ada.tell("/instances", again, 409)["code"] == "name_taken"
    other = {"name": "other", "scope": "PROJECT", "parent_id": "top"}
    made = ada.tell("/instances", other, 201)
    answer = ada.call("PATCH", f"/instances/{made['id']}", {"name": word})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


def test_a_name_is_shown_as_typed_and_may_change_its_spelling(
    ada: Caller, cafe: HopperInstance
) -> None:
    for word in FIVE:
        answer = ada.call("PATCH", f"/instances/{cafe.pk}", {"name": word})
        assert (answer.status_code, answer.json()["name"]) == (200, word)


@every_spelling
def test_an_instance_is_found_by_its_name(ada: Caller, cafe: HopperInstance, word: str) -> None:
    for parameter in ("name", "search"):
        found = ada.ask("/instances", **{parameter: word})["results"]
        assert [row["id"] for row in found] == ["place"], parameter


@every_spelling
def test_a_task_goes_to_the_project_that_it_names(
    ada: Caller, cafe: HopperInstance, word: str
) -> None:
    task = ada.tell("/tasks", {"title": "x", "instance_id": "top", "project": word}, 201)
    assert (task["instance_id"], task["project"]) == ("place", word)
    for parameter in ("project", "search"):
        rows = ada.ask("/tasks", **{parameter: FIVE[1]})["results"]
        assert [row["id"] for row in rows] == [task["id"]]


@every_spelling
def test_a_tag_or_a_needed_capability_matches_the_project(
    ada: Caller, cafe: HopperInstance, word: str
) -> None:
    for field in ("tags", "required_capabilities"):
        task = ada.tell("/tasks", {"title": "x", "instance_id": "top", field: [word]}, 201)
        assert (task["instance_id"], task[field]) == ("place", [word]), field


def test_five_spellings_of_a_tag_are_one_tag_as_first_typed(ada: Caller, tree: Tree) -> None:
    task = ada.tell("/tasks", {"title": "x", "tags": list(FIVE)}, 201)
    assert task["tags"] == [CAFE]
    answer = ada.call("PATCH", f"/tasks/{task['id']}", {"tags": list(reversed(FIVE))})
    assert answer.json()["tags"] == [FIVE[-1]]


@every_spelling
def test_filters_find_a_tag(ada: Caller, tree: Tree, word: str) -> None:
    task = ada.tell("/tasks", {"title": "x", "tags": ["other", word]}, 201)
    for parameter in ("tags", "all_tags"):
        for asked in FIVE:
            rows = ada.ask("/tasks", **{parameter: asked})["results"]
            assert [row["id"] for row in rows] == [task["id"]]


@every_spelling
@pytest.mark.parametrize("many", [1, 60], ids=["short", "too long for a key"])
def test_a_claim_finds_tags_and_capabilities(ada: Caller, tree: Tree, word: str, many: int) -> None:
    more = [f"other {number:>30}" for number in range(many)]
    run = "web-run"
    task = {
        "title": "x",
        "instance_id": run,
        "tags": [word, *more],
        "required_capabilities": [word],
    }
    ada.tell("/tasks", task, 201)
    wrong = {"worker": "w", "capabilities": ["other"], "tags": ["none"]}
    assert ada.tell(f"/instances/{run}/claim", wrong)["tasks"] == []
    wish = {"worker": "w", "capabilities": [FIVE[3]], "tags": [FIVE[1]]}
    assert len(ada.tell(f"/instances/{run}/claim", wish)["tasks"]) == 1


@every_spelling
def test_lessons_belong_to_one_project(ada: Caller, cafe: HopperInstance, word: str) -> None:
    made = ada.tell("/lessons", {"title": "x", "project": word, "domain": word}, 201)
    for asked in FIVE:
        rows = ada.ask("/lessons", project=asked, domain=asked)["results"]
        assert [row["id"] for row in rows] == [made["id"]]


@pytest.mark.parametrize(
    "rule",
    [
        "{type: keyword, keywords: [WORD]}",
        "{type: tag, required_tags: [WORD]}",
        "{type: tag, optional_tags: [WORD]}",
        "{type: tag, tag_patterns: ['^WORD$']}",
        "{type: pattern, pattern: '\\bWORD'}",
        "{type: project, projects: [WORD]}",
    ],
)
def test_rules_read_every_spelling_alike(
    ada: Caller, tree: Tree, settings: Any, tmp_path: Path, rule: str
) -> None:
    settings.HOPPER_CONFIG_DIR = str(tmp_path)
    body = rule.replace("WORD", FIVE[1]).replace("}", ", destination: 'project: WEB ', id: r}")
    (tmp_path / RULES.name).write_text(f"rules:\n- {body}\n")
    field = {"tag": "tags", "project": "project"}.get(rule.split()[1].strip(","), "title")
    for word in FIVE:
        value = {"tags": [word.strip()], "title": f"the {word} bar"}.get(field, word)
        task = {"title": "x", field: value}
        (decision, *_) = ada.tell("/rules/preview", task)["decisions"]
        assert (decision["target_id"], decision["rule"]) == ("web", "r"), ascii(word)


def test_a_word_that_is_an_id_and_anothers_name_waits_for_a_person(ada: Caller, tree: Tree) -> None:
    InstanceFactory(scope="PROJECT", parent=tree["top"], name="Web site", id="shop")
    InstanceFactory(scope="PROJECT", parent=tree["top"], name="Shop", id="store")

    def place(project: str) -> dict[str, Any]:
        body = {"title": "x", "instance_id": "top", "project": project}
        task: dict[str, Any] = ada.tell("/tasks", body, 201)
        return task

    for word in ("shop", " shop "):
        blocked = place(word)
        assert blocked["waiting_on"]["code"] == "AmbiguousTarget"
        assert "shop and the name of store" in blocked["waiting_on"]["detail"]
    assert place("store")["instance_id"] == "store"
    assert place("Shop")["instance_id"] == "store"
    assert place("WEB SITE")["instance_id"] == "shop"


def test_a_shared_name_means_the_oldest_and_attention_lists_the_other(
    ada: Caller, cafe: HopperInstance, tree: Tree
) -> None:
    young = InstanceFactory(scope="PROJECT", parent=tree["top"], name="young")
    shared = {"name": FIVE[2], "name_key": clashing_key(FIVE[2], young.pk)}
    HopperInstance.objects.filter(pk=young.pk).update(**shared)
    task = ada.tell("/tasks", {"title": "x", "instance_id": "top", "project": CAFE}, 201)
    assert task["instance_id"] == "place"
    told = ada.ask("/attention")
    assert told["counts"]["name_clashes"] == 1
    (row,) = [row for group in told["groups"] for row in group["instances"]]
    assert (row["instance_id"], row["name"], row["code"]) == (young.pk, FIVE[2], "NameClash")
    assert ada.ask("/status")["attention"]["name_clashes"] == 1
    ada.call("PATCH", f"/instances/{young.pk}", {"name": "Youth"})
    assert ada.ask("/attention")["counts"]["name_clashes"] == 0


@pytest.mark.parametrize("blank", [" ", "\u200b", "\ufeff\u200d"], ids=ascii)
def test_a_word_without_a_visible_character_is_refused(ada: Caller, tree: Tree, blank: str) -> None:
    ada.tell("/instances", {"name": blank, "scope": "GLOBAL"}, 400)
    for field in ("tags", "required_capabilities"):
        ada.tell("/tasks", {"title": "x", field: ["a", blank]}, 400)
    assert not Task.objects.exists()


def test_every_stored_key_is_that_of_its_words(ada: Caller, cafe: HopperInstance) -> None:
    for word in FIVE:
        ada.tell("/tasks", {"title": "x", "project": word, "tags": [word]}, 201)
    assert {key_of(task.project) for task in Task.objects.all()} == {"café"}
    assert set(Task.objects.values_list("project_key", flat=True)) == {"café"}


@pytest.mark.parametrize("written", FIVE, ids=ascii)
def test_a_configuration_reads_every_spelling_alike(
    ada: Caller, cafe: HopperInstance, written: str
) -> None:
    config = {"automatable_types": [written], "capabilities": [written]}
    ada.call("PATCH", f"/instances/{cafe.pk}", {"config": config})
    run = InstanceFactory(scope="ORCHESTRATION", parent=cafe, name="cafe-run")
    for word in FIVE:
        given = {"task_type": word, "required_capabilities": [word]}
        task = ada.tell("/tasks", {"title": "x", "instance_id": "top", **given}, 201)
        assert task["instance_id"] == run.pk, ascii(word)
