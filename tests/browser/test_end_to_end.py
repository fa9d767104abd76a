"""The real server over the built-in trace, in a real browser under the real security policy."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import httpx2
import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGES = (
    "/",
    "/slo",
    "/slo/availability",
    "/workload",
    "/workload/burstiness",
    "/workload/lengths",
    "/workload/clients",
    "/workload/sessions",
    "/workload/prefix",
    "/workload/failures",
    "/workload/compare?source=azure-2023-conv&against=azure-2023-code",
    "/workload/export",
    "/admin",
)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """`servescope demo` as a user starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    command = [
        sys.executable,
        "-m",
        "servescope",
        "demo",
        "--no-open",
        "--ephemeral",
        "--port",
        str(port),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home)},
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while not _answers(f"{url}/ui/") and process.poll() is None and time.monotonic() < deadline:
        threading.Event().wait(0.2)
    assert process.poll() is None, "the demo ended before it answered"
    yield SimpleNamespace(url=url, fake=None)
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture
def guest(chromium, demo, make_visitor) -> Iterator[object]:
    """Somebody who opens the demo."""
    visitor = make_visitor(chromium, demo)
    yield visitor
    visitor.close()


def drawn(visitor) -> None:
    """Wait for the panels without running strings as code, which the policy forbids."""
    expect(visitor.page.locator(".ss-panel > *").first).to_be_attached()
    expect(visitor.page.locator(".ss-waiting")).to_have_count(0)
    for graph in visitor.page.locator(".ss-graph").all():
        expect(graph.locator(".main-svg").first).to_be_visible()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_draws_the_real_trace_under_the_security_policy(guest, path):
    """No console error, no policy violation, no error state, no foreign host."""
    guest.page.goto(f"{guest.url}/ui{path}")
    drawn(guest)
    expect(guest.page.locator(".ss-note.is-error")).to_have_count(0)
    assert guest.troubles == []


def test_the_first_finding_is_on_the_page(guest):
    """What the terminal said first, the page says first."""
    guest.page.goto(f"{guest.url}/ui/workload")
    first = guest.page.locator(".ss-verdict-first").first
    expect(first).to_contain_text(re.compile("burstier"))
    expect(first).to_contain_text("167")


def test_a_tile_and_the_api_say_the_same(guest):
    """One code path for a number, wherever it is shown."""
    guest.page.goto(f"{guest.url}/ui/workload")
    drawn(guest)
    tile = guest.page.locator(".ss-tile", has_text="Inter-arrival CV").locator(".ss-tile-value")
    answer = httpx2.get(f"{guest.url}/api/v1/views/workload_arrivals").json()
    value = answer["measures"]["interarrival_cv"]["value"]
    expect(tile).to_have_text(f"{value:.3g}")


@pytest.mark.parametrize("kind", ["CSV", "API"])
def test_the_links_of_a_card_answer(guest, kind):
    """CSV and JSON of a chart can be had from its card."""
    guest.page.goto(f"{guest.url}/ui/workload")
    drawn(guest)
    name = f"{kind}: How many requests arrive?"
    href = guest.page.get_by_role("link", name=name).get_attribute("href")
    answer = httpx2.get(guest.url + href)
    assert answer.status_code == 200
    assert ("csv" if kind == "CSV" else "json") in answer.headers["Content-Type"]
    assert "requests_per_second" in answer.text


def test_the_python_of_a_card_prints_the_rows_of_its_table(guest):
    """Six lines, nothing installed: as many rows as the card says there are behind its picture."""
    guest.page.goto(f"{guest.url}/ui/workload?table=rate")
    drawn(guest)
    name = "How many requests arrive?"
    guest.page.locator(f"summary[aria-label='Open in Python: {name}']").click()
    code = guest.page.locator(".ss-python[open] code").inner_text()
    assert len(code.splitlines()) == 6
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    rows = done.stdout.splitlines()
    guest.page.keyboard.press("Escape")
    said = guest.page.locator("#card-rate .ss-about").last.text_content()
    assert f"{len(rows):,} rows behind this picture" in said
    assert "requests_per_second" in rows[0]


def test_exports_answer(guest):
    """Every download of the Export tab is a file."""
    guest.page.goto(f"{guest.url}/ui/workload/export?source=azure-2023-conv")
    drawn(guest)
    links = guest.page.get_by_role("link", name=re.compile("^Download")).all()
    assert len(links) == 4
    for link in links:
        answer = httpx2.get(guest.url + link.get_attribute("href"))
        assert answer.status_code == 200, answer.text[:300]
        assert len(answer.content) > 10_000


def test_a_cold_page_of_the_real_server_is_light(guest):
    """1.2 MB on the wire at most, through the whole stack."""
    guest.page.goto(f"{guest.url}/ui/")
    drawn(guest)
    assert 300_000 < guest.wire_bytes <= 1_200_000


def test_unknown_addresses_outside_the_dashboard_stay_json(demo):
    """The dashboard's catch-all ends at its prefix."""
    for path in ("/nope", "/api/v1/nope", "/metricz"):
        answer = httpx2.get(demo.url + path)
        assert answer.status_code == 404
        assert "json" in answer.headers["Content-Type"]
