"""Preview the end of a tree of many tasks, in windows: `python previewer.py TOP`.

Each line of the input is the length of a window in seconds, in which previews follow one another.
With `burn` before it the window only takes the processor. The answer is the number of rounds.
"""

from __future__ import annotations

import os
import sys
import time


def main(top: str) -> None:
    """Answer each line of the input."""
    import django

    django.setup()
    from instances.lifecycle.preview import preview_terminate
    from tests.factories import ALICE

    for line in sys.stdin:
        kind, _, window = line.rpartition(" ")
        count, end = 0, time.monotonic() + float(window)
        while time.monotonic() < end:
            if kind != "burn":
                preview_terminate(top, cascade=True, actor=ALICE)
            count += 1
        print(count, flush=True)


if __name__ == "__main__":
    sys.path[0] = os.getcwd()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")
    main(sys.argv[1])
