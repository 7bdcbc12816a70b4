"""The faults: each is a wrong piece of text in place of a right one, and the tests that see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """In `file`, `right` stands exactly once; the mutation has `wrong` there."""

    file: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Mutation:
    """A fault, and the tests (files, or node ids) of which at least one must fail for it."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    database: str = "sqlite"


def _one(
    name: str, file: str, right: str, wrong: str, *tests: str, database: str = "sqlite"
) -> Mutation:
    return Mutation(name, (Edit(file, right, wrong),), tests, database)


_CHANGES = "instances/tasks/changes.py"
_CLAIM_SQL = "instances/tasks/claim_sql.py"
_COMPLETE_SQL = "instances/tasks/complete_sql.py"
_CREATE_SQL = "instances/tasks/create_sql.py"
_HOP_SQL = "delegation/hop_sql.py"
_LOOKS_AGAIN = "tests/delegation/test_a_hop_looks_again.py"
_BOTH_WAYS = "tests/flows/test_one_call_writes_the_same.py"
_WORKER = "instances/tasks/worker.py"
_LEASES = "instances/tasks/leases.py"
_REOPENING = "instances/tasks/reopening.py"
_CREATING = "instances/tasks/creating.py"
_ENDING = "instances/tasks/ending.py"
_TASK = "instances/models/task.py"
_OFFERS = "delegation/offers.py"
_DELEGATOR = "delegation/delegator.py"
_COMPLETION = "delegation/completion.py"
_INSTANCE_CHANGES = "delegation/instance_changes.py"
_HISTORY = "delegation/delegation_history.py"
_ONCE = "hopper/rest/idempotency.py"

_GRANTING = "tests/instances/test_granting.py"
_WORKERS = "tests/instances/test_worker_protocol.py"
_CLAIMERS = "tests/concurrency/test_claiming.py"
_LAST_PLACE = f"{_CLAIMERS}::test_a_claim_that_has_waited_for_the_last_place_gets_nothing"
_AT_ONCE = f"{_CLAIMERS}::test_eight_workers_claim_every_task_exactly_once"
_FAMILIES = "tests/flows/test_aggregation.py"
_ANSWERS = "tests/delegation/test_every_answer_to_every_delegation.py"
_LIFECYCLE = "tests/instances/test_lifecycle.py"

MUTATIONS = (
    # Claims and leases
    _one(
        "no condition on the claim",
        _TASK,
        "status=TaskStatus.PENDING, ready=True",
        "status__in=(TaskStatus.PENDING, TaskStatus.CLAIMED), ready=True",
        _GRANTING,
    ),
    _one(
        "what is offered to somebody can be claimed",
        _TASK,
        "route_due=False, offered_to__isnull=True",
        "route_due=False",
        _GRANTING,
    ),
    _one(
        "what is still being placed can be claimed",
        _TASK,
        "ready=True, route_due=False",
        "ready=True",
        _GRANTING,
    ),
    _one(
        "what waits for other tasks can be claimed",
        _TASK,
        "status=TaskStatus.PENDING, ready=True",
        "status=TaskStatus.PENDING",
        _GRANTING,
    ),
    _one(
        "urgent work waits its turn",
        _TASK,
        '"queue_urgent DESC, queue_at, id"',
        '"queue_at, id"',
        _WORKERS,
    ),
    _one(
        "room is looked at before the claim, not in it",
        _CLAIM_SQL,
        "WHERE instance_id = %(instance)s AND running + {{count}} <= %(most)s",
        "WHERE instance_id = %(instance)s",
        _LAST_PLACE,
        database="postgres",
    ),
    _one(
        "the claim does not look for room",
        _CLAIM_SQL,
        " AND {_ROOM} < %(most)s\n        ORDER BY {CLAIM_ORDER_SQL} LIMIT {room}",
        "\n        ORDER BY {CLAIM_ORDER_SQL} LIMIT %(limit)s",
        _GRANTING,
    ),
    _one(
        "a claim that was judged before a stop is granted after it",
        _CLAIM_SQL,
        '<= %(most)s AND stops ="""',
        '<= %(most)s AND 0 <="""',
        "tests/concurrency/test_stopping_beside_claims.py",
        database="postgres",
    ),
    _one(
        "two claims lock nothing",
        "hopper/database/postgresql.py",
        'return f"FOR NO KEY UPDATE OF {table}" + (" SKIP LOCKED" if skip else "")',
        'return ""',
        _AT_ONCE,
        database="postgres",
    ),
    Mutation(
        "two claims by the function lock nothing",
        (
            Edit(_CLAIM_SQL, 'held) FOR NO KEY UPDATE"', 'held)"'),
            Edit(_CLAIM_SQL, "{room} SKIP LOCKED);", "{room});"),
            Edit(_CLAIM_SQL, "{room} OF {_TASK} SKIP LOCKED);", "{room});"),
        ),
        (_AT_ONCE,),
        database="postgres",
    ),
    _one(
        "a claim reads past whatever stands in front",
        _CLAIM_SQL,
        "if keys is None or len(keys) > _MAX_PROBES:",
        "if keys is None or keys:",
        "tests/instances/test_cheap_claims.py",
    ),
    _one(
        "a place is not given back",
        _CHANGES,
        "SET running = running - %s",
        "SET running = running - 0 * %s",
        _WORKERS,
    ),
    _one(
        "no fencing",
        _LEASES,
        "if token is not None and task.has_live_lease and _is_live_token(task, token):",
        "if token is not None:",
        _WORKERS,
    ),
    _one(
        "a late result is thrown away",
        _LEASES,
        "if token is None or is_empty(artifact):",
        "if token is not None or is_empty(artifact):",
        _WORKERS,
    ),
    _one(
        "a late result gives way to what comes later",
        _LEASES,
        "if attempt.artifact is None:",
        "if True:",
        "tests/instances/test_attempts_log.py",
    ),
    _one(
        "the checkpoint is left behind",
        _CLAIM_SQL,
        "last.number = marked.attempt - 1)",
        "last.number = marked.attempt)",
        _GRANTING,
    ),
    _one(
        "the sweep does not look again under the lock",
        _LEASES,
        "if task.lease_expires_at is None or task.lease_expires_at >= now:",
        "if task.lease_expires_at is None:",
        "tests/concurrency/test_sweep_and_heartbeat.py",
        database="postgres",
    ),
    _one(
        "the retry does not count the failure",
        _LEASES,
        "task.failures += 1",
        "task.failures += 0",
        _WORKERS,
    ),
    _one(
        "a reported failure is tried again at once",
        _LEASES,
        "task.retry_at = now + backoff(task)",
        "task.retry_at = now",
        _WORKERS,
    ),
    # Offers
    _one(
        "the holder moves when the offer is made",
        _OFFERS,
        "    task.offered_to = target\n",
        "    task.offered_to = task.instance = target\n",
        _ANSWERS,
    ),
    _one(
        "an offer runs out whatever became of it",
        _DELEGATOR,
        "if delegation.status == D.PENDING and due is not None and due <= database.now():",
        "if due is not None and due <= database.now():",
        _ANSWERS,
    ),
    _one(
        "who has refused is asked again",
        _HISTORY,
        "if row.status in (D.REJECTED, D.EXPIRED):",
        "if row.status == D.COMPLETED:",
        "tests/delegation/test_what_time_brings.py",
    ),
    _one(
        "a refusal counts for ever",
        _HISTORY,
        "[row for row in self.rows if row.epoch == self.epoch]",
        "list(self.rows)",
        "tests/delegation/test_what_time_brings.py",
    ),
    _one(
        "whoever passed the task on may finish it",
        _DELEGATOR,
        "            _require_last_hop(delegation, task)\n",
        "",
        "tests/delegation/test_completing_by_a_delegation.py",
    ),
    # Families
    Mutation(
        "naive aggregation",
        (
            Edit(
                _CHANGES,
                "    roots = _lock_root(*wanted)",
                '    return list(rows.filter(pk__in=wanted).order_by("pk"))\n'
                "    roots = _lock_root(*wanted)",
            ),
            Edit(
                _COMPLETION,
                "parent = lock_task(parent_id)",
                'parent = lock_task.__globals__["present_task"](parent_id)',
            ),
        ),
        ("tests/concurrency/test_last_children.py",),
        "postgres",
    ),
    _one(
        "no lock on the root",
        _CHANGES,
        "WHERE id = {root} {lock}",
        "WHERE id = {root}",
        "tests/concurrency/test_delegation_races.py",
        database="postgres",
    ),
    _one(
        "cancelled counts as done",
        _COMPLETION,
        "done=statuses.count(T.DONE),",
        "done=statuses.count(T.DONE) + statuses.count(T.CANCELLED),",
        _FAMILIES,
    ),
    _one(
        "failed counts as done",
        _COMPLETION,
        "            if status == T.FAILED\n        ),",
        "            if status == T.PENDING\n        ),",
        _FAMILIES,
    ),
    _one(
        "an end is not told to the parent",
        _COMPLETION,
        "self._aggregate(parent_id, now)",
        "self._aggregate",
        _FAMILIES,
    ),
    _one(
        "those who waited for a task are not told",
        _COMPLETION,
        "after_commit(lambda: reevaluate_dependants(ended))",
        "after_commit(lambda: None)",
        "tests/instances/test_dependencies.py",
    ),
    _one(
        "what is at work is taken for ready",
        "instances/tasks/dependencies.py",
        "if not task.is_terminal]",
        "if not task.is_terminal and not task.worker]",
        "tests/instances/test_ready_at_work.py",
    ),
    _one(
        "whether a forced task has ended is asked before it is locked",
        "instances/tasks/status_by_hand.py",
        "        if force:\n            # The",
        "        if force and Task.objects.get(pk=task_id).is_terminal:\n            # The",
        "tests/concurrency/test_forcing_a_status.py",
        database="postgres",
    ),
    _one(
        "reopening closes a cycle",
        _REOPENING,
        "    _require_no_cycle(task)\n",
        "",
        "tests/delegation/test_reopening.py",
    ),
    _one(
        "a cancelled parent leaves its children open",
        _ENDING,
        "of_these = Task.objects.open().filter(",
        "of_these = Task.objects.none().filter(",
        "tests/flows",
    ),
    _one(
        "a task begins again in its old epoch",
        _REOPENING,
        "task.epoch += 1",
        "task.epoch += 0",
        "tests/delegation/test_reopening.py",
    ),
    # The record and the instances
    _one(
        "every event is written twice",
        _CHANGES,
        "        change.insert(event)\n",
        "        change.insert(event)\n        change.insert(event)\n",
        _GRANTING,
        _FAMILIES,
    ),
    _one(
        "the levels above are not told of an end",
        _COMPLETION,
        "events.append((event, {place for place in places if place is not None}))",
        "events.append((event, set()))",
        "tests/flows",
    ),
    _one(
        "a terminated instance keeps its tasks",
        _INSTANCE_CHANGES,
        "gone = frozenset(instance_ids)",
        "gone: frozenset[str] = frozenset()",
        _LIFECYCLE,
    ),
    Mutation(
        "running work is evacuated",
        (
            Edit(
                _INSTANCE_CHANGES,
                "Task.objects.filter(instance__in=below, status=T.PENDING)",
                "Task.objects.filter(instance__in=below, status__in=(T.PENDING, *STARTED))",
            ),
            Edit(_INSTANCE_CHANGES, "if task.status == T.PENDING\n        and ", "if "),
        ),
        (_LIFECYCLE,),
    ),
    _one(
        "offers to what stops stay open",
        _INSTANCE_CHANGES,
        "_cancel(inward.filter(task__in=wanted), Reason.TARGET_STOPPED, actor, now)",
        "_cancel(inward.none(), Reason.TARGET_STOPPED, actor, now)",
        _LIFECYCLE,
    ),
    # Requests
    _one(
        "the key is not stored with the effect",
        _ONCE,
        "    digest = _digest(request)\n    with transaction.atomic():\n",
        "    digest = _digest(request)\n    if digest:\n",
        "tests/concurrency/test_same_request_at_once.py",
        database="postgres",
    ),
    _one(
        "a key answers any request",
        _ONCE,
        "if record.digest != digest:",
        "if not digest:",
        "tests/api/test_idempotency.py",
    ),
    # The worker process
    _one(
        "an outage ends a worker",
        "hopper/cli/worker/answers.py",
        "is_by_proxy or error.status >= 500 or error.status in MAY_PASS",
        "is_by_proxy or error.status in MAY_PASS",
        "tests/cli/test_worker_waits.py",
    ),
    _one(
        "a claim is repeated under another key",
        "hopper/cli/worker/process.py",
        "self._claim_key = self._claim_key or uuid.uuid4().hex",
        "self._claim_key = uuid.uuid4().hex",
        "tests/cli/test_worker_waits.py",
    ),
    _one(
        "a report is not stored before it is sent",
        "hopper/cli/worker/reporter.py",
        "    if attempt is not None:\n            _save(attempt, report)\n",
        "    if attempt is None:\n            pass\n",
        "tests/cli/test_worker_waits.py",
    ),
    _one(
        "processes that a command leaves live on",
        "hopper/cli/worker/guard.py",
        "                self._end(REST)\n",
        "                return False\n",
        "tests/cli/test_worker_commands.py",
    ),
    _one(
        "the command inherits the token",
        "hopper/cli/worker/process.py",
        "if not self._orders.pass_token:",
        "if self._orders.pass_token:",
        "tests/cli/test_worker_commands.py",
    ),
    _one(
        "a lease is an admin",
        "instances/api/task_views.py",
        "        if self.action not in BY_LEASE:\n",
        "        if not BY_LEASE:\n",
        "tests/api/test_lease_credential.py",
    ),
    _one(
        "the feed follows the ids of the rows",
        "instances/models/event.py",
        'annotate(number=F("position"))',
        'annotate(number=F("id"))',
        "tests/concurrency/test_feed.py",
        database="postgres",
    ),
    _one(
        "two stampers work at the same time",
        "instances/history.py",
        "        if not try_lock(_FEED_KEY):\n",
        "        if try_lock(_FEED_KEY) is None:\n",
        "tests/concurrency/test_feed.py",
        database="postgres",
    ),
    _one(
        "a heartbeat shortens the lease",
        "instances/tasks/changes.py",
        "if task.lease_expires_at is None or task.lease_expires_at < expires_at:",
        "if task.lease_expires_at != expires_at:",
        "tests/concurrency/test_clocks.py",
    ),
    _one(
        "the clock of the server decides",
        "hopper/database/postgresql.py",
        "        found: datetime = cursor.fetchone()[0]\n",
        "        found: datetime = __import__('django.utils.timezone').utils.timezone.now()\n",
        "tests/concurrency/test_clocks.py",
        database="postgres",
    ),
    _one(
        "equal values of an order are skipped",
        "hopper/rest/pagination.py",
        "            found |= same & self._after(name, value, down=down)\n",
        "            found = found or same & self._after(name, value, down=down)\n",
        "tests/api/test_paging.py",
    ),
    # Edges: contradictions, the sweep, moves, questions
    _one(
        "a contradiction is taken for a repeat",
        "instances/tasks/same_report.py",
        "if not is_empty(reported) and not same_value(reported, stored):",
        "if is_empty(reported) and not same_value(reported, stored):",
        "tests/protocol/test_repeats_and_contradictions.py",
    ),
    _one(
        "work by hand goes to whoever asks last",
        "instances/tasks/status_by_hand.py",
        '    if not force:\n        raise Conflict(\n            f"{task.pk} is taken',
        '    if force:\n        raise Conflict(\n            f"{task.pk} is taken',
        "tests/protocol/test_repeats_and_contradictions.py",
    ),
    _one(
        "a bad row ends its duty",
        "delegation/sweep.py",
        "if lost or database.lasting_cause(error):",
        "if isinstance(error, Exception):",
        "tests/operators/test_sweep.py",
    ),
    Mutation(
        "an instance moves while tasks below it end",
        (
            Edit(
                "instances/tree/locks.py",
                "lock_names(LINES, shared=True)",
                "lock_names(LINES + '.', shared=True)",
            ),
            Edit(_COMPLETE_SQL, "{sharing(LINES)};", ""),
        ),
        ("tests/concurrency/test_moving_beside_completions.py",),
        database="postgres",
    ),
    _one(
        "an older lease completes a plain task",
        _COMPLETE_SQL,
        " AND attempt = number",
        "",
        _BOTH_WAYS,
        database="postgres",
    ),
    _one(
        "a plain end keeps its slot",
        _COMPLETE_SQL,
        "{release} INTO seen;",
        "seen := FALSE;",
        _BOTH_WAYS,
        database="postgres",
    ),
    _one(
        "a plain end leaves its hops open",
        _COMPLETE_SQL,
        "{_EVENTS.format(paths=paths)};",
        "{_EVENTS.format(paths='')};",
        _BOTH_WAYS,
        database="postgres",
    ),
    _one(
        "a claim in one call does not look at the settings",
        _CLAIM_SQL,
        " AND config = %(config)s",
        "",
        _BOTH_WAYS,
        database="postgres",
    ),
    _one(
        "a hop in one call goes to a target that has changed",
        _HOP_SQL,
        "    OR place.updated_at > %(read_at)s\n",
        "",
        _LOOKS_AGAIN,
        database="postgres",
    ),
    _one(
        "a hop in one call goes to a target of another configuration",
        _HOP_SQL,
        "    OR place.config IS DISTINCT FROM %(config)s\n",
        "",
        _LOOKS_AGAIN,
        database="postgres",
    ),
    _one(
        "a hop goes to a target of another configuration",
        "delegation/placing.py",
        "if target.config != json.loads(note.candidate(target_id).config):",
        "if False:",
        "tests/delegation/test_odd_offers.py",
    ),
    _one(
        "a hop in one call goes below an instance that pauses",
        _HOP_SQL,
        """\n    OR {halted("place.id")}""",
        "",
        _LOOKS_AGAIN,
        database="postgres",
    ),
    _one(
        "a hop in one call fills a full queue",
        _HOP_SQL,
        "OR {_CHANGED} OR {_FULL} THEN",
        "OR {_CHANGED} THEN",
        _LOOKS_AGAIN,
        database="postgres",
    ),
    _one(
        "a hop in one call goes on after a refusal",
        _HOP_SQL,
        "count(*) <> %(known)s OR",
        "FALSE OR",
        _LOOKS_AGAIN,
        database="postgres",
    ),
    _one(
        "a task rests in one call where an instance began to run",
        _HOP_SQL,
        "IF {_MOVED} OR {_BEGAN} THEN",
        "IF {_MOVED} THEN",
        _LOOKS_AGAIN,
        database="postgres",
    ),
    _one(
        "a task is created in one call where none may be",
        _CREATE_SQL,
        """OR {halted("%(place)s")}""",
        "",
        _LOOKS_AGAIN,
        database="postgres",
    ),
    _one(
        "a closed question takes another answer",
        "instances/tasks/questions.py",
        "            _require_open(question)\n",
        "",
        "tests/instances/test_questions.py",
    ),
    _one(
        "the page of a proxy is an answer of Hopper",
        "hopper/cli/worker/answers.py",
        "is_by_proxy = not _is_hoppers(error) and error.status != 413",
        "is_by_proxy = False",
        "tests/cli/test_worker_waits.py",
    ),
)
