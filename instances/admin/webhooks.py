"""The page of webhooks. A secret is shown once, to the person that made it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from hopper.site_key import webhook_secret
from instances.admin.base import Table, actor_of, column, link, moment
from instances.admin.forms import ServedAdmin, ServiceForm, WordsField
from instances.models import Webhook
from instances.webhooks import subscriptions
from instances.webhooks.courier import KEPT_DELIVERIES
from instances.webhooks.notices import is_notice, shown_address

_STATE = ("off_reason", "position", "failures", "since", "until", "owner", "made", "secret_number")


class WebhookForm(ServiceForm):
    """Adds a webhook, or changes it. The person at the page is its owner from then on."""

    kinds = WordsField(
        required=False,
        initial=list,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text='Kinds of events such as ["task.done", "instance.*"]; [] for all.',
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if url := self.initial.get("url"):
            self.initial["url"] = shown_address(url)

    def write(self, values: dict[str, Any]) -> Webhook:
        """Add or change."""
        if not self.instance._state.adding:
            subscriptions.change_webhook(self.instance.pk, values, actor=self.actor)
            return Webhook.objects.get(pk=self.instance.pk)
        at = values.pop("instance").pk
        return subscriptions.add_webhook(at, **values, actor=self.actor)


def _action(
    name: str, words: str, success: str, do: Callable[..., object]
) -> Callable[[WebhookAdmin, HttpRequest, QuerySet[Webhook]], None]:
    """Return the admin action that calls `do(webhook id, actor=...)` for each row."""

    @admin.action(description=words, permissions=["change"])
    def act(page: WebhookAdmin, request: HttpRequest, rows: QuerySet[Webhook]) -> None:
        for pk in list(rows.values_list("pk", flat=True)):
            do(pk, actor=actor_of(request))
            page.message_user(request, f"{success}: {pk}.", messages.SUCCESS)

    act.__name__ = name
    return act


@admin.register(Webhook)
class WebhookAdmin(ServedAdmin):
    """Webhooks and their deliveries. Only superusers see a URL: it may hold a secret.

    A webhook may be deleted: it is no record of work.
    """

    form = WebhookForm
    may_add = True
    may_delete = True
    list_display = (
        column("id", "webhook"), column("instance_id", "at", partial(link, "hopperinstance")),
        "receiver", "enabled", "off_reason", column("failing_since", "failing since (UTC)", moment),
        "position", "owner",
    )  # fmt: skip
    list_filter = ("enabled",)
    search_fields = ("=id", "=instance__id", "=owner")
    ordering = ("-pk",)
    sortable_by = ()
    autocomplete_fields = ("instance",)
    readonly_fields = _STATE
    actions = (
        _action(
            "test", "Send a test message", "Asked for a test",
            lambda pk, actor: subscriptions.request_test(pk),
        ),
        _action(
            "resume", "Switch on, and go on where it stopped", "Switched on",
            partial(subscriptions.replay, after=None),
        ),
        _action(
            "switch_off", "Switch off", "Switched off",
            lambda pk, actor: subscriptions.change_webhook(pk, {"enabled": False}, actor=actor),
        ),
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return the read-only fields. The instance of a webhook never changes."""
        return ("instance", *_STATE) if obj else _STATE

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields, without the URL for a person that may not change it."""
        asked = ("instance", "url" if self.has_change_permission(request) else "receiver", "kinds")
        own = (*asked, "description")
        if obj is None:
            return ((None, {"fields": own}),)
        return ((None, {"fields": (*own, "enabled")}), ("State", {"fields": _STATE}))

    def save_model(self, request: HttpRequest, obj: Webhook, form: Any, change: bool) -> None:
        """Show the secret of a new webhook."""
        if not change:
            secret = webhook_secret(obj.pk, obj.secret_number)
            self.message_user(request, f"The secret, shown this once: {secret}", messages.WARNING)

    def tables(self, record: Webhook) -> list[Table]:
        """Return the deliveries that the log keeps."""
        rows = [
            (moment(d.at), d.position or "", d.kind, d.status or "", d.reason or "delivered",
             f"{d.seconds:.2f}")
            for d in record.deliveries.order_by("-pk")[:KEPT_DELIVERIES]
        ]  # fmt: skip
        columns = ("At (UTC)", "Event", "Kind", "Answer", "Outcome", "Seconds")
        return [Table("Deliveries, newest first", columns, rows, is_history=True)]

    @admin.display(description="receiver")
    def receiver(self, webhook: Webhook) -> str:
        """The host of the URL; of a notice by mail or chat the service."""
        return (
            urlsplit(webhook.url).netloc
            if not is_notice(webhook.url)
            else shown_address(webhook.url)
        )

    @admin.display(description="failing since (UTC)")
    def since(self, webhook: Webhook) -> str:
        """The time of the first failure without a success after it."""
        return moment(webhook.failing_since)

    @admin.display(description="next try (UTC)")
    def until(self, webhook: Webhook) -> str:
        """The time of the next try after a failure."""
        return moment(webhook.next_at)

    @admin.display(description="added (UTC)")
    def made(self, webhook: Webhook) -> str:
        """The time at which the webhook was added."""
        return moment(webhook.created_at)
