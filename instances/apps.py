"""The app of instances and tasks."""

from __future__ import annotations

from django.apps import AppConfig


class InstancesConfig(AppConfig):
    """Instances: the tree of queues and the tasks standing in them."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "instances"
    verbose_name = "Hopper"

    def ready(self) -> None:
        """Register the keys of a queue and the store of counts; let `migrate` store settings."""
        from django.core.checks import Tags, register as register_check
        from django.db.models.signals import post_migrate, pre_migrate

        from hopper import database
        from hopper.config.files import CONFIGURATION
        from hopper.rest.limits import COUNTERS
        from instances import site
        from instances.models import RequestCount

        CONFIGURATION.register_late(_register)
        COUNTERS.store = RequestCount.add
        pre_migrate.connect(database.lift_time_limit, sender=self)
        post_migrate.connect(database.store_settings, sender=self)
        post_migrate.connect(site.store_key, sender=self)
        register_check(site.check_key, Tags.database)


def _register() -> None:
    """Register the keys of a queue."""
    from hopper.config.registry import register
    from instances.settings import FAILURE, QUEUE, Purpose

    register(QUEUE, FAILURE, own_only=(Purpose,))
