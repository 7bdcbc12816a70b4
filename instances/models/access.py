"""Access: tokens with a role at an instance, and grants to people."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from knox.models import AbstractAuthToken

from hopper.actors import ID_LENGTH
from hopper.ids import new_id
from instances.choices import Role
from instances.models.instance import HopperInstance


def new_actor_id() -> str:
    """Return the id of a new token as an actor."""
    return new_id("token").replace("-", ":", 1)


class AgentToken(AbstractAuthToken):
    """A credential with a name, revocable. `instance` null means everywhere. Stored as a digest.

    `actor_id` is the id of the actor that acts by the token. A later token of the same name is
    another actor.
    """

    name = models.CharField(max_length=150)
    actor_id = models.CharField(
        max_length=ID_LENGTH, default=new_actor_id, unique=True, editable=False
    )
    instance = models.ForeignKey(
        HopperInstance, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.WORKER)

    def __str__(self) -> str:
        return f"{self.name} ({self.role} on {self.instance_id or '*'})"


class Grant(models.Model):
    """A person's role on an instance and everything below it; `instance` null means everywhere."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="hopper_grants"
    )
    instance = models.ForeignKey(
        HopperInstance, null=True, blank=True, on_delete=models.CASCADE, related_name="grants"
    )
    role = models.CharField(max_length=8, choices=Role.choices)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["user", "instance"], name="grant_once_per_place"),
            models.UniqueConstraint(
                fields=["user"],
                condition=models.Q(instance__isnull=True),
                name="grant_once_everywhere",
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id}: {self.role} on {self.instance_id or '*'}"
