"""A person at the pages: sees work move, answers, moves, stops, retries, by mouse and keyboard."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any

import pytest

from hopper.protocol import EVENTS
from tests.browser.conftest import PASSWORD, Site

pytestmark = pytest.mark.unmeasured

AWAY_SECONDS = 20 if os.environ.get("HOPPER_STORM") == "1" else 0
"""How long the server is away beside the time that it takes to stop and to start."""

LISTEN = f"""() => {{
    const heard = [];
    const source = new EventSource("/api/v1/events/stream");
    for (const kind of {list(EVENTS)})
        source.addEventListener(kind, (event) => {{
            heard.push(event.lastEventId);
            document.body.dataset.heard = heard.join();
        }});
}}"""
"""Keeps the positions of all events that a program's stream brings, in their order."""


def row(page: Any, name: str) -> Any:
    return page.locator(f"#i-{name}")


def live(page: Any, address: str = "/") -> None:
    """Open a page, and wait until its stream is open."""
    page.goto(address)
    page.wait_for_selector("#pulse.on")
    page.evaluate("window.stays = true")


def test_name_and_password_open_the_tree(browser: Any, site: Site, expect: Any) -> None:
    page = browser.new_context(base_url=site.address).new_page()
    page.goto("/")
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", "wrong")
    page.click("text=Sign in")
    expect(page.locator("[role=alert]")).to_contain_text("correct username")
    page.fill("[name=password]", PASSWORD)
    page.click("text=Sign in")
    expect(row(page, "top")).to_be_visible()
    page.context.close()


def test_a_task_moves_down_and_its_completion_rises(page: Any, site: Site, expect: Any) -> None:
    live(page)
    task = site.task("top", "Fix the login", tags=["web"], complexity=4)
    expect(row(page, "web-run")).to_contain_text("ready for a worker")
    claimed, token = site.claim("web-run")
    assert claimed == task
    expect(row(page, "web-run")).to_contain_text("1/10")
    site.call("POST", f"/tasks/{task}/complete", token=token, result={"fixed": True})
    for name in ("web-run", "web", "top"):
        done = row(page, name).get_by_label("1 done in the last hour")
        expect(done).to_be_visible()
    expect(row(page, "web-run")).not_to_contain_text("1/10")
    assert page.evaluate("window.stays")


def test_an_answer_lets_the_agent_go_on(page: Any, site: Site, expect: Any) -> None:
    live(page, "/attention")
    task = site.task("web-run", "Choose a port")
    _, token = site.claim("web-run")
    site.call(
        "POST", f"/tasks/{task}/ask", token=token, question="Which port?", choices=["8000", "9000"]
    )
    expect(page.locator(f"#t-{task}")).to_contain_text("Which port?")
    expect(page).to_have_title(re.compile(r"^\(1\) "))
    page.locator(f"#t-{task}").get_by_role("button", name="9000").click()
    expect(page.locator(f"#t-{task}")).to_have_count(0)
    (question,) = site.call("GET", f"/tasks/{task}/questions?wait=20")["results"]
    assert question["answer"] == "9000"
    claimed, token = site.claim("web-run")
    assert claimed == task
    site.call("POST", f"/tasks/{task}/complete", token=token)
    page.goto(f"/tasks/{task}")
    expect(page.locator(".way")).to_contain_text("9000")
    expect(page.locator(".why")).to_contain_text("done")


def test_a_row_is_dragged_to_a_legal_and_to_an_illegal_place(
    page: Any, site: Site, expect: Any
) -> None:
    live(page)
    dialog = page.locator("#dialog")
    row(page, "ops-run").locator("th").drag_to(row(page, "web").locator("th"))
    dialog.get_by_role("button", name="Move").click()
    expect(row(page, "ops-run")).to_have_attribute("data-up", "web")
    row(page, "web").locator("th").drag_to(row(page, "ops-run").locator("th"))
    expect(dialog.locator("[role=alert]")).to_contain_text("cannot stand under ops-run")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert site.call("GET", "/instances/web")["parent_id"] == "top"
    site.call("PATCH", "/instances/ops-run", parent_id="ops")
    expect(row(page, "ops-run")).to_have_attribute("data-up", "ops")


def test_a_stop_shows_first_what_it_would_do(page: Any, site: Site, expect: Any) -> None:
    task = site.task("ops-run", "Turn the log")
    live(page)
    row(page, "ops-run").get_by_label("Actions on ops-run").click()
    page.locator("#dialog").get_by_role("link", name="Stop …").click()
    preview = page.locator("#dialog .preview")
    expect(preview).to_contain_text("It would change")
    expect(preview).to_contain_text("ops-run")
    assert site.call("GET", "/instances/ops-run")["status"] == "running"
    page.locator("#dialog").get_by_role("button", name="Stop").click()
    expect(row(page, "ops-run")).to_contain_text("stopped")
    expect(row(page, "ops-run")).to_contain_text("instance stopped")
    site.call("POST", "/instances/ops-run/start")
    expect(row(page, "ops-run")).to_contain_text("running")
    site.call("POST", f"/tasks/{task}/cancel")


def test_a_dead_letter_is_retried(page: Any, site: Site, expect: Any) -> None:
    task = site.task("web-run", "Deploy")
    _, token = site.claim("web-run")
    site.call("POST", f"/tasks/{task}/fail", token=token, error="no disk", retryable=False)
    live(page, "/attention")
    listed = page.locator(f"#t-{task}")
    expect(listed).to_contain_text("no disk")
    listed.get_by_role("button", name="Retry").click()
    expect(listed).to_have_count(0)
    assert site.call("GET", f"/tasks/{task}")["status"] == "pending"
    site.call("POST", f"/tasks/{task}/cancel")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_nothing_is_missed_while_the_server_is_away(
    page: Any, site: Site, expect: Any, number: signal.Signals
) -> None:
    """The stream of a program brings each event once; the row of a page shows the last state."""
    live(page)
    page.evaluate(LISTEN)
    expect(page.locator("body")).to_have_attribute("data-heard", re.compile(r"\d"))
    site.end(number)
    expect(page.locator("#pulse")).to_have_class("pulse off")
    site.hopper("task", "add", "while away", "--instance", "web-run")
    time.sleep(AWAY_SECONDS)
    site.restart()
    site.task("web-run", "after the return")
    expect(page.locator("#pulse")).to_have_class("pulse on")
    expect(row(page, "web-run").locator("td").nth(4)).to_have_text("2")
    assert page.evaluate("window.stays")
    numbers = [event["id"] for event in site.events()]
    assert numbers == list(range(1, len(numbers) + 1))
    expect(page.locator("body")).to_have_attribute("data-heard", ",".join(map(str, numbers)))
    for task in site.call("GET", "/tasks?instance_id=web-run&status=pending")["results"]:
        site.call("POST", f"/tasks/{task['id']}/cancel")
    page.errors[:] = [error for error in page.errors if "ERR_" not in error]


def test_the_keyboard_alone_folds_and_moves(page: Any, site: Site, expect: Any) -> None:
    live(page)
    keys = page.keyboard
    keys.press("?")
    expect(page.locator("#keys")).to_be_visible()
    keys.press("Escape")
    for key in ("ArrowDown", "ArrowDown"):
        keys.press(key)
    expect(row(page, "ops")).to_be_focused()
    keys.press("ArrowLeft")
    expect(row(page, "ops-run")).to_be_hidden()
    keys.press("ArrowRight")
    expect(row(page, "ops-run")).to_be_visible()
    keys.press("ArrowDown")
    keys.press("m")
    expect(page.locator("#dialog [name=parent_id]")).to_be_focused()
    for key in ("w", "Tab", "Enter"):
        keys.press(key)
    expect(row(page, "ops-run")).to_have_attribute("data-up", "web")
    site.call("PATCH", "/instances/ops-run", parent_id="ops")
    expect(row(page, "ops-run")).to_have_attribute("data-up", "ops")
    for key in ("ArrowDown", "ArrowDown"):
        keys.press(key)
    expect(row(page, "ops")).to_be_focused()


def test_the_keyboard_alone_makes_a_task_and_finds_it(page: Any, site: Site, expect: Any) -> None:
    live(page)
    keys = page.keyboard
    for key in ("ArrowDown", "ArrowDown"):
        keys.press(key)
    expect(row(page, "ops")).to_be_focused()
    keys.press("n")
    expect(page.locator("#dialog [name=title]")).to_be_focused()
    keys.type("Typed")
    keys.press("Enter")
    expect(page.locator("#dialog")).to_be_hidden()
    (task,) = site.call("GET", "/tasks?instance_id=ops&status=pending")["results"]
    assert task["title"] == "Typed"
    keys.press("/")
    keys.type("typed")
    keys.press("Enter")
    page.wait_for_url("**/find?q=typed")
    expect(page.locator("main")).to_contain_text("Typed")
    keys.press("Escape")
    keys.press("g")
    keys.press("a")
    page.wait_for_url("**/attention")
    site.call("POST", f"/tasks/{task['id']}/cancel")


AXE = "axe_playwright_python.sync_playwright"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault_of_accessibility(
    page: Any, site: Site, expect: Any, scheme: str
) -> None:
    axe = pytest.importorskip(AXE).Axe()
    task = site.task("web", "Judge the *design*", description="# Words\n\n- one\n- [two](http://x)")
    asked = site.task("web-run", "Ask")
    _, token = site.claim("web-run")
    site.call("POST", f"/tasks/{asked}/ask", token=token, question="Which?", choices=["a", "b"])
    page.emulate_media(color_scheme=scheme)
    addresses = [
        *("/", "/?q=stuck", "/attention", "/mine", "/flow", "/find?q=a", f"/tasks/{task}"),
        *(f"/tasks/{asked}", "/instances/web", "/instances/web/stop", f"/tasks/{task}/delegate"),
    ]
    found = {}
    for address in addresses:
        page.goto(address)
        told = axe.run(page).response["violations"]
        serious = [one for one in told if one["impact"] in ("serious", "critical")]
        found |= {f"{address} {one['id']}": one["nodes"][0]["html"] for one in serious}
    assert found == {}
    for pk in (task, asked):
        site.call("POST", f"/tasks/{pk}/cancel")
