"""Put in one fault after the other, and see which test notices: `python -m tests.mutations [NAME]`.

Works on a copy. Exits 1 if a fault is not noticed, or if the tests fail without one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.mutations.seeds import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 900
SOUND, CAUGHT, BROKEN = 0, 1, 2


@dataclass(frozen=True)
class Verdict:
    """The result of a test run: SOUND, CAUGHT (with the test) or BROKEN (with the message)."""

    kind: int
    by: str


def main(names: list[str]) -> int:
    """Try the mutations of these names, or all, and print one line for each; return the status."""
    wanted = [one for one in MUTATIONS if not names or one.name in names]
    with tempfile.TemporaryDirectory(prefix="hopper-mutations-") as folder:
        copy = Path(folder)
        copy_tree(copy)
        if not ground_is_sound(copy, wanted):
            return 1
        survived = [one.name for one in wanted if not is_noticed(copy, one)]
    say(f"{len(wanted) - len(survived)} of {len(wanted)} noticed")
    return 1 if survived else 0


def copy_tree(copy: Path) -> None:
    """Copy what git knows or would add, so that nobody's work is touched."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)


def ground_is_sound(copy: Path, wanted: list[Mutation]) -> bool:
    """Return whether the tests pass as long as nothing is wrong."""
    for database in sorted({one.database for one in wanted}):
        tests = {test for one in wanted if one.database == database for test in one.tests}
        verdict, seconds = run(copy, sorted(tests), database)
        say(f"{'(no fault)':<48} {database:<9} {seconds:4.0f} s  {verdict.by or 'all pass'}")
        if verdict.kind != SOUND:
            return False
    return True


def is_noticed(copy: Path, mutation: Mutation) -> bool:
    """Put the fault in, run its tests, take it out; return whether one of them failed."""
    before = {edit.file: (copy / edit.file).read_text(encoding="utf-8") for edit in mutation.edits}
    for edit in mutation.edits:
        path = copy / edit.file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(edit.right, edit.wrong), encoding="utf-8")
    try:
        verdict, seconds = run(copy, list(mutation.tests), mutation.database)
    finally:
        for file, text in before.items():
            (copy / file).write_text(text, encoding="utf-8")
    words = {SOUND: "SURVIVED", CAUGHT: verdict.by, BROKEN: f"BROKEN {verdict.by}"}[verdict.kind]
    say(f"{mutation.name:<48} {mutation.database:<9} {seconds:4.0f} s  {words}")
    return verdict.kind == CAUGHT


def run(copy: Path, tests: list[str], database: str) -> tuple[Verdict, float]:
    """Run tests on the copy until one fails; return what came of it, and the seconds it took."""
    report = copy / "report.xml"
    report.unlink(missing_ok=True)
    # No byte code: a fault put in and taken out within a second would leave it stale.
    environ = {
        **os.environ,
        "HOPPER_TEST_DATABASE": database,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    began = time.monotonic()
    command = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    done = subprocess.run(
        [sys.executable, *command, *tests],
        cwd=copy,
        env=environ,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    return judge(done, report), time.monotonic() - began


def judge(done: subprocess.CompletedProcess[str], report: Path) -> Verdict:
    """Return the verdict; what fails before a test has begun is no test that noticed."""
    if done.returncode == 0:
        return Verdict(SOUND, "")
    if done.returncode == 1 and report.exists():
        for case in ElementTree.parse(report).iter("testcase"):
            failed = case.find("failure") is not None
            error = case.find("error")
            after = error is not None and "failed on teardown" in error.get("message", "")
            if failed or after:
                return Verdict(CAUGHT, str(case.get("name")))
    return Verdict(BROKEN, done.stdout[-2000:] + done.stderr[-2000:])


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
