"""Webhooks on the admin site: added with a secret that is shown once, never read by other staff."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hopper.site_key import webhook_secret
from instances.models import Webhook
from instances.webhooks.subscriptions import add_webhook
from tests.admin.conftest import said
from tests.factories import ALICE

if TYPE_CHECKING:
    from tests.admin.conftest import Family, Site

URL = "https://hooks.example.org/secret-path"


def test_a_webhook_is_added_with_its_secret_shown_once(site: Site, family: Family) -> None:
    answer = site.post(
        "instances_webhook_add",
        **{"instance": "web", "url": URL, "kinds": '["task.done"]', "description": "chat"},
    )
    hook = Webhook.objects.get()
    secret = webhook_secret(hook.pk, 1)
    assert any(secret in words for words in said(answer))
    assert (hook.kinds, hook.owner) == (["task.done"], "alice")
    pages = [site.get("instances_webhook_change", hook.pk).content.decode() for _ in range(2)]
    assert URL in pages[1]
    assert [secret in page for page in pages] == [True, False]


@pytest.mark.parametrize(
    ("field", "value"), [("url", "https://10.0.0.1/"), ("kinds", '["done"]'), ("instance", "")]
)
def test_a_wrong_webhook_is_refused_at_its_field(
    site: Site, family: Family, field: str, value: str
) -> None:
    sent = {"instance": "web", "url": URL, "kinds": "[]", "description": ""} | {field: value}
    answer = site.post("instances_webhook_add", **sent)
    assert list(answer.context["adminform"].form.errors) == [field]
    assert not Webhook.objects.exists()


def test_other_staff_see_no_url(onlooker: Site, family: Family) -> None:
    hook = add_webhook("web", URL, actor=ALICE)
    for page in ("instances_webhook_changelist",), ("instances_webhook_change", hook.pk):
        shown = onlooker.get(*page).content.decode()
        assert "hooks.example.org" in shown
        assert "secret-path" not in shown
    assert onlooker.client.get("/admin/instances/webhook/?url__contains=s").status_code == 400


def test_the_address_of_a_notice_is_hidden_and_kept(site: Site, family: Family) -> None:
    secret = "TIiajkdnlazkcOXrIdevi7FQ"
    hook = add_webhook("web", f"slack://T1JJ3T3L2/A1BRTD4JD/{secret}", actor=ALICE)
    for page in ("instances_webhook_changelist",), ("instances_webhook_change", hook.pk):
        shown = site.get(*page).content.decode()
        assert "slack://***" in shown
        assert secret not in shown
    sent = {"url": "slack://***", "kinds": "[]", "description": "chat", "enabled": "on"}
    site.post("instances_webhook_change", hook.pk, **sent)
    hook.refresh_from_db()
    assert hook.description == "chat"
    assert secret in hook.url


def test_the_actions_change_the_state(site: Site, family: Family) -> None:
    hook = add_webhook("web", URL, actor=ALICE)
    assert site.act("instances_webhook", "switch_off", hook) == [f"Switched off: {hook.pk}."]
    hook.refresh_from_db()
    assert (hook.enabled, hook.owner) == (False, "alice")
    site.act("instances_webhook", "resume", hook)
    site.act("instances_webhook", "test", hook)
    hook.refresh_from_db()
    assert (hook.enabled, hook.test_due) == (True, True)


def test_a_webhook_is_changed_by_its_service(site: Site, family: Family) -> None:
    hook = add_webhook("web", URL, actor=ALICE)
    shown = {"url": URL, "kinds": "[]", "description": "", "enabled": "on"}
    initial = {f"initial-{name}": value for name, value in shown.items()}
    site.post("instances_webhook_change", hook.pk, **shown | initial | {"description": "chat"})
    hook.refresh_from_db()
    assert (hook.description, hook.url) == ("chat", URL)
    site.post("instances_webhook_delete", hook.pk, post="yes")
    assert not Webhook.objects.exists()
