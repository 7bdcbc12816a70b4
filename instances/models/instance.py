"""An instance: one node of the tree, one queue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import connection, models
from mptt.models import TreeForeignKey

from hopper.actors import ID_LENGTH
from hopper.words import CLASH, key_of
from instances.allowances import Standing
from instances.choices import HopperScope, InstanceStatus, InstanceType

if TYPE_CHECKING:
    # mptt has no types. The type checker sees Django's classes instead.
    from django.db.models import Model as MPTTModel

    _TreeQuerySet = models.QuerySet["HopperInstance"]
else:
    from mptt.managers import TreeManager
    from mptt.models import MPTTModel
    from mptt.querysets import TreeQuerySet as _TreeQuerySet


MOST_NAMED = 500
"""The most instances that a condition names one by one."""


class InstanceQuerySet(_TreeQuerySet):
    """Chainable reads of instances."""

    def live(self) -> InstanceQuerySet:
        """Instances that are not terminated."""
        return self.exclude(status=InstanceStatus.TERMINATED)

    def called(self, name: str) -> InstanceQuerySet:
        """Instances of that name (R25), also those that share it with an older sibling."""
        key = key_of(name)
        return self.filter(models.Q(name_key=key) | models.Q(name_key__startswith=f"{key}{CLASH}"))

    def clashing(self) -> InstanceQuerySet:
        """Live instances whose name an older sibling has already (R25)."""
        return self.live().filter(name_key__contains=CLASH)

    def running(self) -> InstanceQuerySet:
        """Instances whose own status is running. An ancestor may still restrict them (R4)."""
        return self.filter(status=InstanceStatus.RUNNING)

    def under(self, instance_id: str) -> InstanceQuerySet:
        """The instance and its subtree, with bounds that are read in the same statement."""
        top = HopperInstance.objects.filter(pk=instance_id).order_by()
        return self.filter(
            tree_id=top.values("tree_id")[:1],
            lft__gte=top.values("lft")[:1],
            rght__lte=top.values("rght")[:1],
        )

    def under_any(self, instance_ids: Iterable[str]) -> InstanceQuerySet:
        """The instances and their subtrees; none without an instance."""
        found = self.none()
        for instance_id in instance_ids:
            found = found | self.under(instance_id)
        return found

    def ids(self, *, named: bool = True) -> Any:
        """Return the ids for a condition on rows of these instances.

        Few ids are read here and named by value: indexes then lead to the rows, however many others
        there are. Many ids, and ids that are not to be `named`, are a subquery.
        """
        ids = self.values_list("pk", flat=True)
        few = list(ids.order_by()[: MOST_NAMED + 1]) if named else []
        return few if named and len(few) <= MOST_NAMED else ids


if TYPE_CHECKING:
    InstanceManager = models.Manager.from_queryset(InstanceQuerySet)
else:

    class InstanceManager(TreeManager.from_queryset(InstanceQuerySet)):
        """The manager of the tree. Only `tree/shape.py` makes structural writes."""


NAME_KEY_LENGTH = 800
"""The most characters of a key: three for each of a name, and the id where names clash."""


class HopperInstance(MPTTModel):
    """A node of the tree of queues. Only `tree/shape.py` writes its place.

    `name_key` is the form in which names are compared (R25).
    """

    id = models.CharField(primary_key=True, max_length=100)
    name = models.CharField(max_length=200)
    name_key = models.CharField(max_length=NAME_KEY_LENGTH, editable=False)
    scope = models.CharField(max_length=16, choices=HopperScope.choices)
    instance_type = models.CharField(
        max_length=16, choices=InstanceType.choices, default=InstanceType.PERSISTENT
    )
    parent = TreeForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="children",
        db_index=False,
    )
    config = models.JSONField(default=dict, blank=True)
    runtime_metadata = models.JSONField(default=dict, blank=True)
    status = models.CharField(
        max_length=16, choices=InstanceStatus.choices, default=InstanceStatus.CREATED
    )
    description = models.TextField(default="", blank=True)
    created_by = models.CharField(max_length=150, default="")
    created_by_id = models.CharField(max_length=ID_LENGTH, default="", db_default="", blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = InstanceManager()

    if TYPE_CHECKING:
        tree_id: int
        lft: int
        rght: int
        level: int

    class Meta:
        # mptt adds its (tree_id, lft) index only where the concrete model names its own list.
        indexes = (
            models.Index(fields=["status", "scope"], name="instance_status_scope"),
            models.Index(fields=["parent", "lft"], name="instance_children_in_order"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["parent", "name_key"],
                condition=models.Q(parent__isnull=False)
                & ~models.Q(status=InstanceStatus.TERMINATED),
                name="instance_name_among_live_siblings",
            ),
            models.UniqueConstraint(
                fields=["name_key"],
                condition=models.Q(parent__isnull=True)
                & ~models.Q(status=InstanceStatus.TERMINATED),
                name="instance_name_among_live_roots",
            ),
            # A safety net: the lock of the roots already keeps two roots from sharing a tree_id.
            models.UniqueConstraint(
                fields=["tree_id"],
                condition=models.Q(parent__isnull=True),
                name="instance_root_owns_its_tree",
            ),
        )

    class MPTTMeta:
        order_insertion_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.scope})"

    @property
    def is_live(self) -> bool:
        """Whether the instance is not terminated."""
        return self.status != InstanceStatus.TERMINATED

    def lineage(self) -> list[LineageRow]:
        """Return the instance's ancestors and itself, root first, in one query."""
        return lineages([self.pk])[self.pk]

    def standing(self) -> Standing:
        """Return the effective status (R4) and the rights (R3), read now, in one query."""
        return Standing.along(self.lineage())

    def depth(self) -> int:
        """Return the number of ancestors; no query."""
        return self.level

    def get_descendants(self, include_self: bool = False) -> InstanceQuerySet:
        """Return all instances below, with bounds that are read in the same query."""
        below = HopperInstance.objects.under(self.pk)
        return below if include_self else below.exclude(pk=self.pk)

    def get_descendant_count(self) -> int:
        """Return the number of instances below. Overrides mptt: numbers have gaps, so count."""
        return self.get_descendants().count()

    def is_leaf_node(self) -> bool:
        """Return whether there are no children. Overrides mptt: numbers have gaps, so ask."""
        return not self.children.exists()


class LineageRow:
    """One instance of a lineage: the values for R3, R4 and the grants.

    `running` is the number of its live leases.
    """

    __slots__ = ("config", "id", "parent_id", "running", "scope", "status")

    def __init__(self, row: tuple[Any, ...], config: dict[str, Any]) -> None:
        self.id, self.parent_id, self.scope, self.status, self.running = row
        self.config = config


_BOTTOMLESS = 50  # A longer line is a circle. Only a damaged tree has one.


def lineages(instance_ids: Iterable[str]) -> dict[str, list[LineageRow]]:
    """Return, for each existing id, its ancestors and itself, root first, in one query.

    Follows parent pointers: nested sets are slow at reading ancestors.
    """
    wanted = sorted(set(instance_ids))
    if not wanted:
        return {}
    table, loads = HopperInstance._meta.db_table, InstanceLoad._meta.db_table
    marks = ", ".join(["%s"] * len(wanted))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH RECURSIVE line (start, depth, id, parent_id, scope, status, config) AS (
                SELECT id, 0, id, parent_id, scope, status, config FROM {table}
                WHERE id IN ({marks})
                UNION ALL
                SELECT l.start, l.depth + 1, i.id, i.parent_id, i.scope, i.status, i.config
                FROM line l JOIN {table} i ON i.id = l.parent_id
                WHERE l.depth < {_BOTTOMLESS}
            )
            SELECT start, id, parent_id, scope, status, coalesce(running, 0), config
            FROM line LEFT JOIN {loads} ON instance_id = id
            ORDER BY start, depth DESC
            """,  # noqa: S608
            wanted,
        )
        rows = cursor.fetchall()
    field: Any = HopperInstance._meta.get_field("config")
    read = field.from_db_value
    found: dict[str, list[LineageRow]] = {}
    for start, *row, config in rows:
        found.setdefault(start, []).append(LineageRow(tuple(row), read(config, None, connection)))
    return found


def halted(instance: str) -> str:
    """Return the SQL condition that an instance, or one above, does not run; given as SQL too."""
    table = HopperInstance._meta.db_table
    return f"""EXISTS (WITH RECURSIVE line (id, parent_id, status) AS (
            SELECT id, parent_id, status FROM {table} WHERE id = {instance}
            UNION SELECT above.id, above.parent_id, above.status
                FROM line JOIN {table} above ON above.id = line.parent_id)
        SELECT FROM line WHERE status <> '{InstanceStatus.RUNNING.value}')"""  # noqa: S608


class InstanceLoad(models.Model):
    """The number of live leases of an instance. Changes only together with a lease (I17).

    `stops` counts the stops of the instance and of the instances above. A claim that was checked
    before a stop finds another number here and gets no task (R3).
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
