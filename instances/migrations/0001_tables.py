"""The tables of the room instances as of release 2.0; stands for the migrations before it."""

import django.db.models.deletion
import mptt.fields
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("instances", "0001_initial"),
        ("instances", "0002_lesson"),
        ("instances", "0003_children_in_order"),
        ("instances", "0004_claim_fitting"),
        ("instances", "0005_check_record"),
        ("instances", "0006_claim_kind"),
        ("instances", "0007_children_of_one_call"),
        ("instances", "0008_dependency_rule"),
        ("instances", "0009_dead_letters"),
        ("instances", "0010_stops_at_the_counter"),
    ]

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="HopperInstance",
            fields=[
                ("id", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=200)),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("GLOBAL", "Global"),
                            ("PROJECT", "Project"),
                            ("ORCHESTRATION", "Orchestration"),
                            ("PERSONAL", "Personal"),
                            ("FAMILY", "Family"),
                            ("EVENT", "Event"),
                            ("FEDERATED", "Federated"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "instance_type",
                    models.CharField(
                        choices=[
                            ("persistent", "persistent"),
                            ("ephemeral", "ephemeral"),
                            ("temporary", "temporary"),
                        ],
                        default="persistent",
                        max_length=16,
                    ),
                ),
                ("config", models.JSONField(blank=True, default=dict)),
                ("runtime_metadata", models.JSONField(blank=True, default=dict)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("created", "created"),
                            ("starting", "starting"),
                            ("running", "running"),
                            ("stopping", "stopping"),
                            ("stopped", "stopped"),
                            ("paused", "paused"),
                            ("error", "error"),
                            ("terminated", "terminated"),
                        ],
                        default="created",
                        max_length=16,
                    ),
                ),
                ("description", models.TextField(blank=True, default="")),
                ("created_by", models.CharField(default="", max_length=150)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("stopped_at", models.DateTimeField(blank=True, null=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("lft", models.PositiveIntegerField(editable=False)),
                ("rght", models.PositiveIntegerField(editable=False)),
                ("tree_id", models.PositiveIntegerField(db_index=True, editable=False)),
                ("level", models.PositiveIntegerField(editable=False)),
                (
                    "parent",
                    mptt.fields.TreeForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="children",
                        to="instances.hopperinstance",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Grant",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("viewer", "viewer"),
                            ("worker", "worker"),
                            ("operator", "operator"),
                            ("admin", "admin"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="hopper_grants",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "instance",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="grants",
                        to="instances.hopperinstance",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AgentToken",
            fields=[
                ("digest", models.CharField(max_length=128, primary_key=True, serialize=False)),
                ("token_key", models.CharField(db_index=True, max_length=25)),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("expiry", models.DateTimeField(blank=True, null=True)),
                ("name", models.CharField(max_length=150)),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("viewer", "viewer"),
                            ("worker", "worker"),
                            ("operator", "operator"),
                            ("admin", "admin"),
                        ],
                        default="worker",
                        max_length=8,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="auth_token_set",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "instance",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="instances.hopperinstance",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="IdempotencyRecord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("caller", models.CharField(max_length=150)),
                ("key", models.CharField(max_length=255)),
                ("digest", models.CharField(max_length=64)),
                ("status", models.PositiveSmallIntegerField(null=True)),
                ("body", models.JSONField(null=True)),
                ("created_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("caller", "key"), name="idempotency_key_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Task",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("title", models.CharField(max_length=500)),
                ("description", models.TextField(blank=True, default="")),
                ("project", models.CharField(blank=True, default="", max_length=200)),
                ("tags", models.JSONField(blank=True, default=list)),
                (
                    "priority",
                    models.CharField(
                        choices=[
                            ("low", "low"),
                            ("medium", "medium"),
                            ("high", "high"),
                            ("urgent", "urgent"),
                        ],
                        default="medium",
                        max_length=8,
                    ),
                ),
                ("required_capabilities", models.JSONField(blank=True, default=list)),
                ("requester", models.CharField(blank=True, default="", max_length=200)),
                ("owner", models.CharField(blank=True, default="", max_length=200)),
                ("source", models.CharField(blank=True, default="", max_length=200)),
                ("external_id", models.CharField(blank=True, default="", max_length=500)),
                ("external_url", models.CharField(blank=True, default="", max_length=2000)),
                ("external_platform", models.CharField(blank=True, default="", max_length=200)),
                ("conversation_id", models.CharField(blank=True, default="", max_length=500)),
                ("context", models.JSONField(blank=True, default=dict)),
                ("task_type", models.CharField(blank=True, default="", max_length=100)),
                ("complexity", models.PositiveSmallIntegerField(blank=True, null=True)),
                (
                    "executor_preference",
                    models.CharField(
                        choices=[
                            ("any", "any"),
                            ("human", "human"),
                            ("orchestration", "orchestration"),
                        ],
                        default="any",
                        max_length=16,
                    ),
                ),
                ("estimated_effort", models.CharField(blank=True, default="", max_length=100)),
                ("velocity_requirement", models.CharField(blank=True, default="", max_length=100)),
                ("not_before", models.DateTimeField(blank=True, null=True)),
                ("unique_key", models.CharField(blank=True, max_length=200, null=True)),
                ("max_attempts", models.PositiveSmallIntegerField(blank=True, null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("claimed", "claimed"),
                            ("in_progress", "in progress"),
                            ("blocked", "blocked"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                        ],
                        default="pending",
                        max_length=16,
                    ),
                ),
                ("epoch", models.PositiveIntegerField(default=1)),
                ("attempt", models.PositiveIntegerField(default=0)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("route_due", models.BooleanField(default=False)),
                ("ready", models.BooleanField(default=True)),
                ("waiting", models.JSONField(blank=True, default=dict)),
                ("queue_urgent", models.BooleanField(default=False)),
                ("queue_at", models.DateTimeField()),
                ("cap_key", models.CharField(blank=True, default="", max_length=500)),
                ("retry_at", models.DateTimeField(blank=True, null=True)),
                ("worker", models.CharField(blank=True, default="", max_length=200)),
                ("lease_token", models.CharField(blank=True, max_length=64, null=True)),
                ("lease_holder", models.CharField(blank=True, default="", max_length=150)),
                ("lease_seconds", models.PositiveIntegerField(blank=True, null=True)),
                ("lease_expires_at", models.DateTimeField(blank=True, null=True)),
                (
                    "completion",
                    models.CharField(
                        choices=[
                            ("auto", "closes with its children"),
                            ("resume", "returns to its holder"),
                        ],
                        default="auto",
                        max_length=8,
                    ),
                ),
                (
                    "failure_policy",
                    models.CharField(
                        choices=[
                            ("wait_all", "wait for all"),
                            ("fail_fast", "fail at once"),
                            ("best_effort", "enough is enough"),
                            ("resume", "let the holder decide"),
                        ],
                        default="wait_all",
                        max_length=12,
                    ),
                ),
                ("quorum", models.PositiveIntegerField(default=1)),
                ("decomposed", models.BooleanField(default=False)),
                ("on_parent_close", models.CharField(default="cancel", max_length=8)),
                ("result", models.JSONField(blank=True, null=True)),
                ("error", models.TextField(blank=True, default="")),
                ("created_by", models.CharField(default="", max_length=150)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "instance",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tasks",
                        to="instances.hopperinstance",
                    ),
                ),
                (
                    "offered_to",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="offered_tasks",
                        to="instances.hopperinstance",
                    ),
                ),
                (
                    "origin",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="instances.hopperinstance",
                    ),
                ),
                (
                    "parent",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="children",
                        to="instances.task",
                    ),
                ),
                (
                    "root",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="instances.task",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=40)),
                ("at", models.DateTimeField()),
                ("actor", models.CharField(default="", max_length=150)),
                ("delegation_id", models.CharField(blank=True, default="", max_length=64)),
                ("epoch", models.PositiveIntegerField(blank=True, null=True)),
                ("attempt", models.PositiveIntegerField(blank=True, null=True)),
                ("before", models.CharField(blank=True, default="", max_length=16)),
                ("status", models.CharField(blank=True, default="", max_length=16)),
                ("holder_id", models.CharField(blank=True, default="", max_length=100)),
                ("ending", models.BooleanField(default=False)),
                ("data", models.JSONField(blank=True, default=dict)),
                (
                    "instance",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="instances.hopperinstance",
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="instances.task",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("epoch", models.PositiveIntegerField()),
                ("worker", models.CharField(max_length=200)),
                ("lease_token", models.CharField(blank=True, default="", max_length=64)),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("completed", "completed"),
                            ("failed", "failed"),
                            ("released", "released"),
                            ("expired", "expired"),
                            ("evicted", "evicted"),
                            ("cancelled", "cancelled"),
                        ],
                        max_length=12,
                        null=True,
                    ),
                ),
                ("error", models.TextField(blank=True, default="")),
                ("checkpoint", models.JSONField(blank=True, null=True)),
                ("progress", models.FloatField(blank=True, null=True)),
                ("artifact", models.JSONField(blank=True, null=True)),
                (
                    "instance",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="instances.hopperinstance",
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attempts",
                        to="instances.task",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="TaskDependency",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "depends_on",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="dependants",
                        to="instances.task",
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="dependencies",
                        to="instances.task",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="InstanceLoad",
            fields=[
                (
                    "instance",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="load",
                        serialize=False,
                        to="instances.hopperinstance",
                    ),
                ),
                ("running", models.IntegerField(default=0)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("running__gte", 0)), name="load_never_below_zero"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="hopperinstance",
            index=models.Index(fields=["status", "scope"], name="instance_status_scope"),
        ),
        migrations.AddIndex(
            model_name="hopperinstance",
            index=models.Index(fields=["tree_id", "lft"], name="instances_hopperinstance_t2414"),
        ),
        migrations.AddConstraint(
            model_name="hopperinstance",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("parent__isnull", False), models.Q(("status", "terminated"), _negated=True)
                ),
                fields=("parent", "name"),
                name="instance_name_among_live_siblings",
            ),
        ),
        migrations.AddConstraint(
            model_name="hopperinstance",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("parent__isnull", True), models.Q(("status", "terminated"), _negated=True)
                ),
                fields=("name",),
                name="instance_name_among_live_roots",
            ),
        ),
        migrations.AddConstraint(
            model_name="hopperinstance",
            constraint=models.UniqueConstraint(
                condition=models.Q(("parent__isnull", True)),
                fields=("tree_id",),
                name="instance_root_owns_its_tree",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.UniqueConstraint(
                fields=("user", "instance"), name="grant_once_per_place"
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.UniqueConstraint(
                condition=models.Q(("instance__isnull", True)),
                fields=("user",),
                name="grant_once_everywhere",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(
                    ("offered_to__isnull", True),
                    ("ready", True),
                    ("route_due", False),
                    ("status", "pending"),
                ),
                fields=["instance", "-queue_urgent", "queue_at", "id"],
                name="task_claim",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("status__in", ("claimed", "in_progress"))),
                fields=["instance"],
                name="task_started",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("route_due", True)), fields=["id"], name="task_route_due"
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("ready", False), ("status", "pending")),
                fields=["id"],
                name="task_not_ready",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["instance", "status", "id"], name="task_instance_status"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["status", "id"], name="task_status"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["project", "id"], name="task_project"),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("origin__isnull", False),
                    ("unique_key__isnull", False),
                    models.Q(("status__in", ("done", "failed", "cancelled")), _negated=True),
                ),
                fields=("origin", "unique_key"),
                name="task_unique_key_at_origin",
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("origin__isnull", True),
                    ("unique_key__isnull", False),
                    models.Q(("status__in", ("done", "failed", "cancelled")), _negated=True),
                ),
                fields=("unique_key",),
                name="task_unique_key_unassigned",
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("lease_token__isnull", True),
                    ("status__in", ("claimed", "in_progress")),
                    _connector="OR",
                ),
                name="task_lease_only_while_started",
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("route_due", False),
                    models.Q(
                        ("instance__isnull", False),
                        ("offered_to__isnull", True),
                        ("status", "pending"),
                    ),
                    _connector="OR",
                ),
                name="task_due_only_when_it_can_move",
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["task", "id"], name="event_of_task"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["instance", "id"], name="event_of_instance"),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ending", True), ("instance__isnull", False)),
                fields=("task", "epoch", "instance"),
                name="event_one_end_per_feed",
            ),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ending", True), ("instance__isnull", True)),
                fields=("task", "epoch"),
                name="event_one_end_unassigned",
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.UniqueConstraint(
                fields=("task", "number"), name="attempt_number_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.UniqueConstraint(
                condition=models.Q(("outcome__isnull", True)),
                fields=("task",),
                name="attempt_one_live_per_task",
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.UniqueConstraint(
                condition=models.Q(("outcome", "completed")),
                fields=("task", "epoch"),
                name="attempt_one_success_per_epoch",
            ),
        ),
        migrations.AddConstraint(
            model_name="taskdependency",
            constraint=models.UniqueConstraint(
                fields=("task", "depends_on"), name="dependency_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="taskdependency",
            constraint=models.CheckConstraint(
                condition=models.Q(("task", models.F("depends_on")), _negated=True),
                name="dependency_not_on_itself",
            ),
        ),
        migrations.CreateModel(
            name="Lesson",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("title", models.CharField(max_length=500)),
                ("domain", models.CharField(blank=True, db_index=True, default="", max_length=200)),
                (
                    "confidence",
                    models.CharField(
                        choices=[("low", "low"), ("medium", "medium"), ("high", "high")],
                        default="medium",
                        max_length=8,
                    ),
                ),
                ("description", models.TextField(blank=True, default="")),
                (
                    "project",
                    models.CharField(blank=True, db_index=True, default="", max_length=200),
                ),
                ("created_by", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
                (
                    "task",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="lessons",
                        to="instances.task",
                    ),
                ),
            ],
        ),
        migrations.AlterField(
            model_name="hopperinstance",
            name="parent",
            field=mptt.fields.TreeForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="children",
                to="instances.hopperinstance",
            ),
        ),
        migrations.AddIndex(
            model_name="hopperinstance",
            index=models.Index(fields=["parent", "lft"], name="instance_children_in_order"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(
                    ("offered_to__isnull", True),
                    ("ready", True),
                    ("route_due", False),
                    ("status", "pending"),
                ),
                fields=["instance", "cap_key", "-queue_urgent", "queue_at", "id"],
                name="task_claim_fitting",
            ),
        ),
        migrations.CreateModel(
            name="CheckRecord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("began_at", models.DateTimeField()),
                ("seconds", models.FloatField()),
                ("since", models.DateTimeField(blank=True, null=True)),
                ("broken", models.JSONField(default=list)),
            ],
        ),
        migrations.AddField(
            model_name="task",
            name="kind_key",
            field=models.CharField(blank=True, default="\n", max_length=1001),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(
                    ("offered_to__isnull", True),
                    ("ready", True),
                    ("route_due", False),
                    ("status", "pending"),
                ),
                fields=["instance", "kind_key", "-queue_urgent", "queue_at", "id"],
                name="task_claim_kind",
            ),
        ),
        migrations.AddField(
            model_name="task",
            name="key",
            field=models.CharField(blank=True, max_length=200, null=True),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.UniqueConstraint(
                condition=models.Q(("key__isnull", False)),
                fields=("parent", "key"),
                name="task_key_under_parent",
            ),
        ),
        migrations.AddField(
            model_name="task",
            name="failure_means",
            field=models.CharField(
                choices=[
                    ("as_parent", "as the parent says"),
                    ("wait_all", "wait for all"),
                    ("fail_fast", "fail at once"),
                    ("best_effort", "enough is enough"),
                    ("resume", "let the holder decide"),
                ],
                default="as_parent",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="on_parent_close",
            field=models.CharField(
                choices=[("cancel", "is cancelled too"), ("abandon", "goes on by itself")],
                default="cancel",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="task",
            name="dependency_rule",
            field=models.CharField(
                choices=[("done", "done alone"), ("any_terminal", "any end")],
                default="done",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="task",
            name="discarded_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("discarded_at__isnull", True), ("status", "failed")),
                fields=["id"],
                name="task_dead_letter",
            ),
        ),
        migrations.AddField(
            model_name="instanceload",
            name="stops",
            field=models.IntegerField(default=0),
        ),
    ]
