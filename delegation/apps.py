"""The Django app of delegation. Connects the receivers of `instances.signals`."""

from __future__ import annotations

from django.apps import AppConfig

from hopper.database.functions import Function


class DelegationConfig(AppConfig):
    """Delegation: carrying out the decisions of scopes."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "delegation"

    def ready(self) -> None:
        """Connect the receivers, and add the first sweep of commands without a server."""
        from django.db.models.signals import post_migrate

        from delegation import receivers  # noqa: F401
        from hopper import embedded
        from instances.signals import plain_ends

        embedded.duties.append(_sweep)
        plain_ends.append(_closing)
        post_migrate.connect(_store_functions, sender=self)


def _closing() -> Function:
    """Return the function that ends the hops of a plain task."""
    from delegation.completion import closing

    return closing()


def _store_functions(**_: object) -> None:
    """Store the functions for plain tasks in the database, once the tables that they name exist.

    `migrate APP` may leave tables of other apps out.
    """
    from django.db import connection

    from delegation.facts import surveying
    from delegation.hop_sql import hopping, resting
    from delegation.models import TaskDelegation
    from hopper.database import functions
    from instances.models import HopperInstance, Task
    from instances.tasks.claim_sql import claiming
    from instances.tasks.complete_sql import completing
    from instances.tasks.create_sql import creating
    from instances.tasks.next_sql import completing_and_claiming
    from scopes.models import RoutingDecision

    named = (HopperInstance, Task, TaskDelegation, RoutingDecision)
    tables = {model._meta.db_table for model in named}
    if not tables.issubset(connection.introspection.table_names()):
        return
    begin = (creating(), surveying(), hopping(), resting())
    functions.store(*begin, claiming(), completing(), completing_and_claiming(), _closing())


def _sweep(*, limit: int) -> object:
    """Do what is due, up to `limit` rows of each duty. The sweep is loaded when it runs."""
    from delegation.sweep import sweep

    return sweep(limit=limit)
