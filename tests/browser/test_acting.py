"""Freezes, candidates and replays on the real server, in a real browser; a pool of numbers."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CONFIG = """
[[controller.pool]]
name = "chat"
match = { model = "m" }
actuator = { kind = "memory", replicas = 3, most = 50 }
policy = "queue-length-hpa"
most = 20
"""
HELD_MS = 1_300
CANDIDATE = "kubernetes-hpa(target_ongoing=8)"
# Where the simulator's machine code is kept: it is the same for everybody, and slow to make.
COMPILED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
# Two minutes of the built-in trace: enough to replay, done within seconds.
WINDOW = "?source=azure-2023-conv&from=2023-11-16T18:20:00Z&to=2023-11-16T18:22:00Z"


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="module")
def steered(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """`servescope up` with one pool in dry-run."""
    home = tmp_path_factory.mktemp("home")
    (home / "servescope.toml").write_text(CONFIG, "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable, "-m", "servescope", "up", "--config", str(home / "servescope.toml"),
            "--store", str(home / "store.duckdb"), "--listen", f"127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=home,
        env={**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home),
             "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(COMPILED)},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while not _answers(f"{url}/ui/") and process.poll() is None and time.monotonic() < deadline:
        threading.Event().wait(0.2)
    assert process.poll() is None, "the server ended before it answered"
    yield SimpleNamespace(url=url, fake=None)
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture
def operator(chromium, steered, make_visitor) -> Iterator[object]:
    """Somebody in front of it; no test finds the pool as another left it."""
    said = {"by": "tests", "comment": "the next test"}
    if state(steered)["is_frozen"]:
        tell(steered, "resume", said)
    if state(steered)["adopted"]:
        tell(steered, "restore-policy", said)
    for row in candidates(steered):
        if row["state"] in ("proposed", "shadow"):
            tell(steered, f"candidates/{row['candidate_id']}/withdraw", said)
    visitor = make_visitor(chromium, steered)
    yield visitor
    visitor.close()


def tell(steered, what, body):
    """Tell the controller something by the API."""
    answer = httpx2.post(f"{steered.url}/api/v1/controller/{what}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def candidates(steered):
    """All of them, by the API."""
    return httpx2.get(f"{steered.url}/api/v1/controller/candidates").json()["candidates"]


def watched(steered):
    """A candidate beside the policy that decides, once the controller has taken it up."""
    made = tell(steered, "candidates", {"pool": "chat", "policy": CANDIDATE, "by": "bo"})
    number = made["candidate_id"]
    until(lambda: candidate(steered, number)["is_watched"])
    return number


def candidate(steered, number):
    """One of them, by the API."""
    return next(row for row in candidates(steered) if row["candidate_id"] == number)


def until(is_so, seconds=60.0):
    """Wait for what another thread does; fail where it never comes."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(0.2)


def state(steered):
    """How the pool is treated, by the API."""
    return httpx2.get(f"{steered.url}/api/v1/controller/status").json()["pools"][0]


def held(button) -> None:
    """Press a button for as long as it asks for."""
    button.click(delay=HELD_MS)


def test_active_is_not_possible_before_a_rehearsal_but_with_the_pools_name(operator, steered):
    """The button says why beforehand, and follows what is typed; nothing is told."""
    page = operator.page
    page.goto(f"{steered.url}/ui/controller")
    page.locator("#controller-fold > summary").click()
    button = page.get_by_role("button", name="Set chat to active")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#controller-fold .ss-why")).to_contain_text("24 h are asked for")
    named = page.locator("#field-override-override-chat")
    named.fill("chat")
    expect(button).not_to_have_attribute("aria-disabled", "true")
    named.fill("cha")
    expect(button).to_have_attribute("aria-disabled", "true")
    assert state(steered)["mode"] == "dry-run"


def test_freezing_takes_a_deliberate_press_and_resuming_a_reason(operator, steered):
    """From any page; a short press does nothing; the page of the controller says who did it."""
    page = operator.page
    page.goto(f"{steered.url}/ui/slo")
    page.locator("#shell-control summary").click()
    button = page.get_by_role("button", name="Freeze all pools until resumed")
    button.click()
    expect(page.locator("#shell-said")).to_have_text("Hold it for one second.")
    assert not state(steered)["is_frozen"]
    held(button)
    expect(page.locator("#shell-control")).to_contain_text("FROZEN until resumed")
    assert state(steered)["is_frozen"]

    page.goto(f"{steered.url}/ui/controller")
    expect(page.locator(".ss-table").first).to_contain_text("until resumed, by dashboard")
    page.locator("#shell-control summary").click()
    resume = page.locator("#shell-control").get_by_role("button", name="Resume chat")
    resume.click()
    expect(page.locator("#shell-said")).to_contain_text("First say why")
    assert state(steered)["is_frozen"]
    page.locator("#shell-control").get_by_label("Why").fill("rack 4 is back")
    resume.click()
    expect(page.locator("#shell-said")).to_contain_text("not frozen")
    expect(page.locator("#shell-control")).to_contain_text("Controller: DRY-RUN")
    assert not state(steered)["is_frozen"]
    assert operator.troubles == []


def test_an_open_menu_stays_open_while_the_header_changes(operator, steered):
    """Somebody else freezes while this menu is open: it then offers to resume, still open.

    The page itself stands still.
    """
    page = operator.page
    page.goto(f"{steered.url}/ui/slo?refresh=off")
    page.locator("#shell-control summary").click()
    expect(page.get_by_role("button", name="Freeze all pools until resumed")).to_be_visible()
    tell(steered, "freeze", {"by": "bo", "comment": "maintenance"})
    resume = page.locator("#shell-control").get_by_role("button", name="Resume chat")
    page.locator("#shell-control").get_by_label("Why").fill("done")
    resume.click()
    expect(page.locator("#shell-control")).to_contain_text("Controller: DRY-RUN")
    # What is done needs no menu any more.
    expect(page.locator("#shell-control-menu")).not_to_have_attribute("open", "")
    assert not state(steered)["is_frozen"]
    assert operator.troubles == []


def test_whoever_is_slower_is_refused_with_the_newer_state(operator, steered):
    """Somebody freezes by the API while this page shows an older version."""
    page = operator.page
    page.goto(f"{steered.url}/ui/controller?refresh=off")
    page.locator("#controller-fold summary").first.click()
    button = page.locator("#controller-fold").get_by_role("button", name="Set chat to off")
    expect(button).to_be_visible()
    tell(steered, "freeze", {"by": "bo", "comment": "maintenance"})
    button.click()
    expect(page.locator("#shell-said")).to_contain_text("chat is in dry-run, frozen")
    expect(page.locator("#shell-said")).to_contain_text("by bo")
    assert state(steered)["mode"] == "dry-run"
    # The page has looked again by now.
    expect(page.locator("#shell-control")).to_contain_text("FROZEN until resumed")
    assert operator.troubles == []


def test_a_candidate_is_withdrawn_on_purpose_only(operator, steered):
    """A short press says how; a held one ends the watching, and what was seen stays listed."""
    number = watched(steered)
    page = operator.page
    page.goto(f"{steered.url}/ui/controller?candidate={number}&refresh=off")
    row = page.locator("#card-candidates tr", has_text=f"#{number}")
    expect(row).to_contain_text("in shadow")
    button = page.get_by_role("button", name=f"Withdraw candidate {number}")
    button.click()
    expect(page.locator("#shell-said")).to_have_text("Hold it for one second.")
    assert candidate(steered, number)["state"] == "shadow"
    held(button)
    expect(page.locator("#shell-said")).to_contain_text(f"Candidate {number} is watched no more")
    expect(row).to_contain_text("withdrawn")
    expect(button).to_have_count(0)
    assert candidate(steered, number)["state"] == "withdrawn"
    assert state(steered)["policy"] == "queue-length-hpa"
    assert operator.troubles == []


def test_an_adopted_candidate_decides_until_the_configuration_does_again(operator, steered):
    """With a reason and a held press, each way; the next decision is its own."""
    number = watched(steered)
    page = operator.page
    page.goto(f"{steered.url}/ui/controller?candidate={number}&refresh=off")
    adopt = page.get_by_role("button", name=f"Adopt candidate {number} for chat")
    said, modes = page.locator("#shell-said"), page.locator("#card-modes")
    held(adopt)
    expect(said).to_contain_text("First say why")
    page.locator("#card-candidate").get_by_label("Why").fill("fewer cards")
    adopt.click()
    expect(said).to_have_text("Hold it for one second.")
    assert state(steered)["adopted"] is None
    held(adopt)
    expect(said).to_contain_text(f"{CANDIDATE} decides chat from the next step on")
    expect(modes).to_contain_text(f"adopted from candidate {number}")
    expect(modes).to_contain_text("over the configured queue-length-hpa")
    expect(page.locator("#card-candidates tr", has_text=f"#{number}")).to_contain_text("decides")

    until(lambda: newest(steered)["policy"] == "kubernetes-hpa")
    page.goto(f"{steered.url}/ui/controller?decision={newest(steered)['decision_id']}&refresh=off")
    expect(page.locator("#card-decision")).to_contain_text("kubernetes-hpa")

    page.locator("#card-candidate").get_by_label("Why").fill("too late on a burst")
    back = page.get_by_role("button", name="Lets the policy that the configuration names")
    held(back)
    expect(said).to_contain_text("The policy of the configuration decides chat again")
    expect(modes).to_contain_text(f"candidate {number}: ended by dashboard: too late on a burst")
    assert state(steered)["adopted"] is None
    assert operator.troubles == []


def newest(steered):
    """The newest decision, by the API."""
    rows = httpx2.get(f"{steered.url}/api/v1/controller/decisions?limit=1").json()["rows"]
    return rows[0] if rows else {"policy": ""}


def test_a_window_is_replayed_beside_the_server_and_keeps_its_link(operator, steered):
    """Asked for on the page, watched, and found again by its address."""
    page = operator.page
    page.goto(f"{steered.url}/ui/")
    page.get_by_role("button", name="Load the example trace").click()
    expect(page.locator("#first-run-load")).to_have_count(0)
    page.goto(f"{steered.url}/ui/what-if{WINDOW}&policies=queue-length-hpa&seeds=2")
    page.get_by_role("button", name="Replay this in the background").click()
    expect(page.locator("#shell-said")).to_contain_text("Queued as")
    results = page.locator("#card-results")
    expect(results).to_contain_text("fixed for the peak", timeout=180_000)
    expect(results).to_contain_text(re.compile(r"all seeds|[0-9] to [0-9]"))
    link = page.locator("#card-replays a[href*='/ui/what-if/']").first
    link.click()
    page.wait_for_url("**/ui/what-if/*")
    page.reload()
    expect(page.locator("#card-validity")).to_contain_text("How far can this model be believed?")
    assert operator.troubles == []
