"""/webhooks: subscriptions to events, for admins of the instances whose events they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_filters import rest_framework as filters
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from hopper.errors import NotFound
from hopper.rest.described import extend_schema
from hopper.rest.fields import Flag, Line, NoFields, StrictSerializer, Text, Whole, Words
from hopper.rest.filters import BooleanParameter
from hopper.rest.pagination import MAX_KEY
from hopper.site_key import webhook_secret
from instances.api.base import Answering
from instances.api.permissions import administered_webhooks, require_role, require_seen_instance
from instances.models import ArchiveFile, Delivery, Webhook
from instances.tree.status import no_instance
from instances.webhooks import subscriptions
from instances.webhooks.addresses import MAX_URL
from instances.webhooks.notices import shown_address


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    """A webhook. `position` is the number of the last event that it is done with.

    `archived_up_to`: events after the position, up to this one, were archived, some or all of them,
    and are not sent; null where the position is not lower.
    """

    instance_id = serializers.CharField()
    archived_up_to = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField()
    kinds = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Webhook
        fields = (
            "id",
            "instance_id",
            "url",
            "kinds",
            "description",
            "enabled",
            "off_reason",
            "position",
            "archived_up_to",
            "failures",
            "failing_since",
            "next_at",
            "owner",
            "created_at",
            "secret_number",
            "rotated_at",
        )
        read_only_fields = fields

    def get_url(self, webhook: Webhook) -> str:
        """Return the URL; of a notice by mail or chat the service alone."""
        return shown_address(webhook.url)

    def get_archived_up_to(self, webhook: Webhook) -> int | None:
        """Return the last archived position, from the context, where the webhook is behind it."""
        last: int = self.context["archived"]
        return last if last > webhook.position else None


class WebhookWithSecretSerializer(WebhookSerializer):
    """A webhook with its secret, which no later answer shows."""

    secret = serializers.SerializerMethodField()

    class Meta:
        model = Webhook
        fields = (*WebhookSerializer.Meta.fields, "secret")
        read_only_fields = fields

    def get_secret(self, webhook: Webhook) -> str:
        """Return the secret of the present number."""
        return webhook_secret(webhook.pk, webhook.secret_number)


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """One request to the receiver; `reason` is empty where the receiver took the message."""

    class Meta:
        model = Delivery
        fields = ("id", "position", "message_id", "kind", "at", "seconds", "status", "reason")
        read_only_fields = fields


class WebhookChanges(StrictSerializer):
    """The fields of a webhook that may change."""

    ignored = frozenset(WebhookSerializer.Meta.fields)

    url = Line(max_length=MAX_URL, required=False)
    kinds = Words(required=False, most=50, length=50)
    description = Text(required=False, max_length=200)
    enabled = Flag(required=False)


class NewWebhook(StrictSerializer):
    """The body of a new webhook. Without `kinds` it gets events of all kinds."""

    ignored = frozenset(WebhookSerializer.Meta.fields)

    url = Line(max_length=MAX_URL)
    instance_id = Line(max_length=100)
    kinds = Words(required=False, most=50, length=50)
    description = Text(required=False, max_length=200)


class Replay(StrictSerializer):
    """From where to send again: after this number. Without it, from where the webhook stopped."""

    after = Whole(required=False, min_value=0, max_value=MAX_KEY)


class WebhookFilter(filters.FilterSet):
    """Webhooks."""

    instance_id = filters.CharFilter()
    enabled = BooleanParameter()

    class Meta:
        model = Webhook
        fields: tuple[str, ...] = ()


class WebhookViewSet(Answering):
    """Webhooks."""

    queryset = Webhook.objects.none()
    serializer_class = WebhookSerializer
    filterset_class = WebhookFilter
    lookup_value_regex = r"[^/]+"
    listed = ("list", "deliveries")

    def webhook(self, pk: str) -> Webhook:
        """Return a webhook. Raises NotFound, and NotAllowed for a caller that is no admin."""
        found = Webhook.objects.filter(pk=pk).first()
        missing = NotFound(f"There is no webhook {pk}.")
        if found is None:
            raise missing
        try:
            require_seen_instance(self.actor, found.instance_id)
        except NotFound:
            raise missing from None
        require_role(self.actor, "admin", [found.instance_id])
        return found

    def answer(self, pk: str) -> Response:
        """Return the webhook as it is now."""
        return Response(_shown([Webhook.objects.get(pk=pk)])[0])

    @extend_schema(responses=WebhookSerializer(many=True))
    def list(self, request: Request) -> Response:
        """List the webhooks of the instances of which the caller is an admin, the newest first."""
        return self.paged(administered_webhooks(self.actor).order_by("-pk"), _shown)

    def retrieve(self, request: Request, pk: str) -> Response:
        """Show one webhook, without its secret."""
        return Response(_shown([self.webhook(pk)])[0])

    @extend_schema(request=NewWebhook, responses={201: WebhookWithSecretSerializer})
    def create(self, request: Request) -> Response:
        """Subscribe a URL to the events at an instance and below.

        The answer holds the secret that signs the messages; no other answer shows it.
        """
        data: dict[str, Any] = self.body(NewWebhook)
        at = data.pop("instance_id")
        try:
            require_seen_instance(self.actor, at, "admin")
        except NotFound as error:
            raise no_instance(at, field="instance_id") from error
        made = subscriptions.add_webhook(at, **data, actor=self.actor)
        (shown,) = _shown([made], WebhookWithSecretSerializer)
        return Response(shown, status.HTTP_201_CREATED)

    @extend_schema(request=WebhookChanges, responses=WebhookSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change where and what a webhook sends, or switch it on or off.

        The caller is its owner from then on: the rights of the owner are judged at each delivery.
        """
        self.webhook(pk)
        subscriptions.change_webhook(pk, self.body(WebhookChanges), actor=self.actor)
        return self.answer(pk)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove a webhook with its log."""
        self.webhook(pk)
        subscriptions.remove_webhook(pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses=DeliverySerializer(many=True))
    @action(detail=True, filterset_class=None)
    def deliveries(self, request: Request, pk: str) -> Response:
        """List the newest deliveries of a webhook with their outcomes, the newest first."""
        rows = self.webhook(pk).deliveries.order_by("-pk")
        return self.paged(rows, lambda page: list(DeliverySerializer(page, many=True).data))

    @extend_schema(request=Replay, responses=WebhookSerializer)
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Switch a webhook on, and send the events after `after` again."""
        self.webhook(pk)
        subscriptions.replay(pk, self.body(Replay).get("after"), actor=self.actor)
        return self.answer(pk)

    @extend_schema(request=NoFields, responses=WebhookWithSecretSerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """Give a webhook another secret and show it this once. The old one signs for a day more."""
        self.webhook(pk)
        self.body()
        subscriptions.rotate(pk, actor=self.actor)
        return Response(_shown([Webhook.objects.get(pk=pk)], WebhookWithSecretSerializer)[0])

    @extend_schema(request=NoFields, responses=WebhookSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Ask for a test message; its outcome stands in the deliveries within seconds."""
        self.webhook(pk)
        self.body()
        subscriptions.request_test(pk)
        return self.answer(pk)


def _shown(
    rows: Sequence[Webhook], shape: type[WebhookSerializer] = WebhookSerializer
) -> list[Any]:
    """Return webhooks as JSON has them."""
    return list(shape(rows, many=True, context={"archived": ArchiveFile.last_position()}).data)
