"""Instances are created and edited by form, through the services, and never deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.urls import reverse

from instances.models import Event, HopperInstance
from instances.models.instance import InstanceLoad
from tests.spellings import CAFE, FIVE

if TYPE_CHECKING:
    from tests.admin.conftest import Family, Site

ADD = "instances_hopperinstance_add"
CHANGE = "instances_hopperinstance_change"
NEW = {
    "name": "Night run", "id": "", "scope": "ORCHESTRATION", "instance_type": "ephemeral",
    "parent": "web", "config": "{}", "description": "tonight",
}  # fmt: skip
EDIT = {"name": "web", "parent": "top", "config": '{"capabilities": ["web"]}', "description": ""}


def test_an_instance_is_created(site: Site, family: Family) -> None:
    assert site.post(ADD, **NEW).status_code == 302
    made = HopperInstance.objects.get(pk="night-run")
    assert (made.parent_id, made.status, made.created_by) == ("web", "created", "alice")
    assert InstanceLoad.objects.filter(pk=made.pk).exists()
    assert Event.objects.filter(instance=made, kind="instance.created").exists()


def test_an_empty_form_offers_an_empty_configuration(site: Site) -> None:
    assert site.get(ADD).context["adminform"].form["config"].value() == "{}"


def test_a_refused_parent_is_shown_at_its_field(site: Site, family: Family) -> None:
    form = site.post(ADD, **{**NEW, "parent": "top"}).context["adminform"].form
    assert list(form.errors) == ["parent"]
    assert "allowed parents" in form.errors["parent"][0]
    assert HopperInstance.objects.count() == 4


def test_a_taken_name_and_a_taken_id_are_shown_at_their_fields(site: Site, family: Family) -> None:
    taken = {**NEW, "name": "run"}
    assert list(site.post(ADD, **taken).context["adminform"].form.errors) == ["name"]
    taken = {**NEW, "id": "data"}
    assert list(site.post(ADD, **taken).context["adminform"].form.errors) == ["id"]


def test_a_wrong_configuration_is_shown_at_its_field(site: Site, family: Family) -> None:
    for wrong in ("[]", "{", '{"lease_seconds": "soon"}', '{"note": "\\u0000"}'):
        form = site.post(ADD, **{**NEW, "config": wrong}).context["adminform"].form
        assert list(form.errors) == ["config"], wrong
    assert HopperInstance.objects.count() == 4


def test_an_edit_changes_what_was_changed(site: Site, family: Family) -> None:
    site.post(CHANGE, "web", **{**EDIT, "name": "Web", "description": "pages"})
    web = HopperInstance.objects.get(pk="web")
    assert (web.name, web.description, web.config) == (
        "Web",
        "pages",
        {"capabilities": ["web"]},
    )
    kinds = Event.objects.filter(instance=web, actor="alice").order_by("pk")
    assert [event.kind for event in kinds][-2:] == ["instance.renamed", "instance.updated"]


def test_another_parent_moves_it(site: Site, family: Family) -> None:
    run = {"name": "run", "parent": "data", "config": "{}", "description": ""}
    site.post(CHANGE, "run", **run)
    assert HopperInstance.objects.get(pk="run").parent_id == "data"


def test_a_refused_edit_writes_nothing_at_all(site: Site, family: Family) -> None:
    answer = site.post(CHANGE, "web", **{**EDIT, "name": "data", "description": "new"})
    assert list(answer.context["adminform"].form.errors) == ["name"]
    web = HopperInstance.objects.get(pk="web")
    assert (web.name, web.description) == ("web", "")


def test_state_scope_and_id_are_not_editable(site: Site, family: Family) -> None:
    form = site.get(CHANGE, "web").context["adminform"].form
    assert sorted(form.fields) == ["config", "description", "expires_at", "name", "parent"]
    site.post(CHANGE, "web", **EDIT, status="error", scope="GLOBAL", lft="99", id="other")
    web = HopperInstance.objects.get(pk="web")
    assert (web.status, web.scope) == ("running", "PROJECT")


def test_nothing_is_deleted(site: Site, family: Family) -> None:
    page = "instances_hopperinstance"
    assert site.post(f"{page}_delete", "run", post="yes").status_code == 403
    site.act(page, "delete_selected", family.run, post="yes")
    assert HopperInstance.objects.filter(pk="run").exists()


def test_other_staff_cannot_write(onlooker: Site, family: Family) -> None:
    assert onlooker.post(ADD, **NEW).status_code == 403
    assert onlooker.post(CHANGE, "web", **{**EDIT, "name": "mine"}).status_code == 403
    assert HopperInstance.objects.get(pk="web").name == "web"


@pytest.mark.parametrize("word", FIVE, ids=ascii)
def test_the_forms_take_one_name_however_it_is_spelt(site: Site, family: Family, word: str) -> None:
    assert site.post(ADD, **{**NEW, "name": CAFE}).status_code == 302
    answer = site.post(ADD, **{**NEW, "name": word, "id": "again"})
    assert list(answer.context["adminform"].form.errors) == ["name"]
    found = site.client.get(reverse("admin:instances_hopperinstance_changelist"), {"q": word})
    assert [one.name for one in found.context["cl"].result_list] == [CAFE]
