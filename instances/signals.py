"""The only ways in which `instances` speaks upwards; receivers stand in `delegation`.

`routing_due` is sent after commit, and the sweep repeats it from the stored `route_due`. The others
are sent inside the transaction: a failing receiver rolls it back.
"""

from __future__ import annotations

from django.dispatch import Signal

routing_due = Signal()
"""A task is due for placing. Sent with `task_id`, `actor`; after commit."""

task_finished = Signal()
"""A task ended. Sent with `task` (locked, under its root's lock), `actor`, `now`; inside."""

offer_overtaken = Signal()
"""A task was taken, blocked or edited under its pending offer, which ends with it. Sent with `task`
(locked, under its root's lock), `reason`, `actor`, `now`; inside."""

task_reopened = Signal()
"""A finished task is pending again. Sent with `task` (locked, the tree too), `ended_at`, `actor`,
`now`; inside."""

instance_changed = Signal()
"""An instance changed its status or config, or is about to move. Sent with `instance`, `before`,
`actor`, `now`, `options` ({"evacuate", "moving", "configured": bool, "subtree": [ids], "leased":
[ids of tasks whose leases will be revoked]}); inside, under the lock of the instance row, and of
the tree where several rows change."""

rows_compared = Signal()
"""A preview notes how rows stand, before and after what it tries. Sent with `task_ids`; a receiver
returns its own rows of these tasks, {kind: {id: fields}}; inside."""
