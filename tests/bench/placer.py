"""Create tasks that make two hops, in windows: `python placer.py PROJECTS` in any checkout.

Each line of the input is the length of a window in seconds; the answer is the tasks by second.
"""

from __future__ import annotations

import os
import sys
import time


def main(projects: int) -> None:
    """Make a GLOBAL with projects of one run each, then place tasks."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from tests.factories import InstanceFactory, TaskFactory

    roomy = {"max_queued_tasks": 10**6}
    top = InstanceFactory(name="placing-top")
    for n in range(projects):
        config = {"capabilities": [f"can{n}"], "domains": [f"domain{n}"], **roomy}
        project = InstanceFactory(scope="PROJECT", parent=top, name=f"p{n}", config=config)
        InstanceFactory(scope="ORCHESTRATION", parent=project, config=roomy)

    def place(window: float) -> float:
        count, end = 0, time.monotonic() + window
        while time.monotonic() < end:
            task = TaskFactory(instance=top, tags=[f"can{count % projects}"], complexity=5)
            count += task.instance.parent_id == f"p{count % projects}"
        return count / window

    place(0.5)
    for line in sys.stdin:
        print(place(float(line)), flush=True)


if __name__ == "__main__":
    # The checkout to measure is the working directory, not the folder of this file.
    sys.path[0] = os.getcwd()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")
    main(int(sys.argv[1]))
