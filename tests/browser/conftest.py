"""A real browser at the pages of a real server. Without Chromium the tests are skipped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

playwright = pytest.importorskip("playwright.sync_api")

from tests.cli.shell import HOPPER  # noqa: E402 - after the skip
from tests.serving.conftest import Served, environ, start  # noqa: E402

NAMES = ("chromium", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
PASSWORD = "a long secret of ada"
PATIENCE = 60_000
"""The milliseconds after which a condition of a test has failed."""


@dataclass
class Site:
    """A server with an account `ada`, whom REST calls of the test stand for as well."""

    home: Path
    served: Served

    @property
    def address(self) -> str:
        return self.served.address

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Return the JSON of a call of the REST interface."""
        request = urllib.request.Request(
            f"{self.address}/api/v1{path}",
            json.dumps(body).encode() if body else None,
            {
                "Authorization": f"Bearer {self.served.token}",
                "Content-Type": "application/json",
            },
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def create(self, pk: str, scope: str, parent: str | None = None, **config: Any) -> str:
        """Create and start an instance; return its id."""
        body = {"id": pk, "name": pk, "scope": scope, "parent_id": parent, "config": config}
        self.call("POST", "/instances", **body)
        self.call("POST", f"/instances/{pk}/start")
        return pk

    def task(self, place: str, title: str, **more: Any) -> str:
        """Create a task at an instance; return its id."""
        return str(self.call("POST", "/tasks", title=title, instance_id=place, **more)["id"])

    def claim(self, place: str) -> tuple[str, str]:
        """Claim the next task of a queue as an agent; return its id and the token of the lease."""
        (task,) = self.call("POST", f"/instances/{place}/claim", worker="agent")["tasks"]
        return task["id"], task["lease"]["token"]

    def events(self) -> list[Any]:
        """Return the whole feed."""
        found: list[Any] = []
        while more := self.call("GET", f"/events?after={found[-1]['id'] if found else 0}"):
            if not more["results"]:
                break
            found += more["results"]
        return found

    def hopper(self, *arguments: str, text: str = "") -> str:
        """Run a command on the store of the server; return what it prints."""
        command = [str(HOPPER), "--local", *arguments]
        done = subprocess.run(
            command, cwd=self.home, env=environ(self.home), input=text, text=True,
            capture_output=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def end(self, number: signal.Signals) -> None:
        """Send a signal to the server, and wait until none of its processes is left."""
        everybody = psutil.Process(self.served.process.pid).children(recursive=True)
        assert self.served.stop(number) == (0 if number == signal.SIGTERM else -number)
        assert psutil.wait_procs(everybody, timeout=120)[1] == []

    def restart(self) -> None:
        """Start the stopped server again at its port, with the token that it had."""
        token = self.served.token
        self.served = start(self.home, "--workers", "1", "--port", str(self.served.port))
        self.served.token = token


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for all tests of a file, with a GLOBAL over two projects and their runs."""
    home = tmp_path_factory.mktemp("site")
    made = Site(home, start(home, "--workers", "1"))
    made.hopper("user", "create", "ada", "--password-stdin", text=PASSWORD)
    made.create("top", "GLOBAL")
    for name in ("web", "ops"):
        made.create(name, "PROJECT", "top", capabilities=[name])
        made.create(f"{name}-run", "ORCHESTRATION", name)
    yield made
    made.served.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all tests of a file."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: `make browser` installs one")
    with playwright.sync_playwright() as running:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def session(browser: Any, site: Site) -> Any:
    """The cookies of ada, who signs in once."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.address}/attention")
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.click("text=Sign in")
    page.wait_for_url("**/attention")
    kept = context.storage_state()
    context.close()
    return kept


@pytest.fixture
def page(browser: Any, site: Site, session: Any) -> Iterator[Any]:
    """A page of ada's. The test fails for an error in the console, of the policy as well."""
    context = browser.new_context(
        base_url=site.address, storage_state=session, viewport={"width": 1280, "height": 800}
    )
    context.set_default_timeout(PATIENCE)
    made = context.new_page()
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("console", lambda told: told.type == "error" and errors.append(told.text))
    made.errors = errors
    yield made
    context.close()
    assert errors == []


@pytest.fixture
def expect() -> Any:
    """Playwright's `expect`, with the patience of a slow machine."""
    playwright.expect.set_options(timeout=PATIENCE)
    return playwright.expect
