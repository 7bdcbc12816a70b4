"""Real `hopper` processes in a folder of their own, as a shell script starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOPPER = Path(sys.executable).with_name("hopper")


@dataclass(frozen=True)
class Shell:
    """A folder with an empty `.hopper`, and an environment that knows nothing of Hopper."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("HOPPER_", "DJANGO_", "COV_"))
        }
        path = f"{HOPPER.parent}{os.pathsep}{kept.get('PATH', '')}"
        return {**kept, "HOME": str(self.folder), "PATH": path}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `hopper` and do not wait for it."""
        return subprocess.Popen(
            [str(HOPPER), *arguments],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hopper(self, *arguments: str) -> str:
        """Return the stdout of a `hopper` that must succeed without a word on stderr."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, ""), err
        return out

    def json(self, *arguments: str) -> Any:
        """Return the JSON that `hopper --json --local …` prints."""
        return json.loads(self.hopper("--json", "--local", *arguments))

    def bash(self, script: str) -> str:
        """Return the stdout of a bash script that must succeed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
