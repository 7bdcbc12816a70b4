"""The capacity counter of an instance (R22), on a narrow row so that claims stay cheap."""

from __future__ import annotations

from django.db import models

from instances.models.instance import HopperInstance


class InstanceLoad(models.Model):
    """How many live leases an instance has now; changed only with the lease itself (I17).

    `stops` counts the stops of the instance and of those above it: a claim that was judged before
    one finds another number here and gets nothing (R3).
    """

    instance = models.OneToOneField(
        HopperInstance, primary_key=True, on_delete=models.CASCADE, related_name="load"
    )
    running = models.IntegerField(default=0)
    stops = models.IntegerField(default=0)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(running__gte=0), name="load_never_below_zero"
            ),
        )

    def __str__(self) -> str:
        return f"{self.instance_id}: {self.running}"
