"""A served dashboard and a Chromium to look at it with."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

FAKES = Path(__file__).parents[1] / "dashboard" / "fakes.py"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MISSING = (
    "no Chromium here: the browser journeys were NOT run. "
    "Install it (apt-get install chromium) or set SERVESCOPE_CHROMIUM to its path"
)


# A busy machine may take its time; what is wrong stays wrong.
LONGEST_WAIT_MS = 30_000
STATE = ".ss-note, .ss-empty, .ss-verdict"
# Words of which the contrast with what lies behind them is below 4.5 to 1 (WCAG 2.2, 1.4.3).
UNREADABLE = """where => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => parts(colour).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = box => {
    const colour = getComputedStyle(box).backgroundColor;
    return parts(colour)[3] === 0 && box.parentElement ? behind(box.parentElement) : colour;
  };
  return [...document.querySelectorAll(where)].filter(box => {
    const both = [light(getComputedStyle(box).color), light(behind(box))].sort((x, y) => x - y);
    return (both[1] + 0.05) / (both[0] + 0.05) < 4.5;
  }).map(box => box.textContent);
}"""

# The button that stands beside an error, pressed where there is none.
PRESS_RETRY = """() => {
  const button = document.createElement("button");
  button.dataset.pulse = "";
  document.body.append(button);
  button.click();
  button.remove();
}"""


def chromium_path() -> str | None:
    """Debian's Chromium, or the one the environment names."""
    named = os.environ.get("SERVESCOPE_CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome")
    return named or next(filter(None, map(shutil.which, names)), None)


def load_fakes():
    """The module of fakes, loaded by its path: tests are no package."""
    name = "servescope_dashboard_fakes"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FAKES)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def served() -> Iterator[SimpleNamespace]:
    """The dashboard over fakes, mounted as the server mounts it."""
    import uvicorn
    from a2wsgi import WSGIMiddleware
    from fastapi import FastAPI

    from dashboard.app import create_dash

    fake = load_fakes().FakeServices()
    # The first query brings pandas in, which must not happen while another thread writes JSON.
    fake.view("controller", {})
    api = FastAPI()
    api.mount("/ui", WSGIMiddleware(create_dash(fake.services()).server, workers=10))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(api, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(200):
        if server.started:
            break
        threading.Event().wait(0.05)
    yield SimpleNamespace(fake=fake, url=f"http://127.0.0.1:{port}", bare=load_fakes().bare)
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """One browser for the journeys of a file.

    Not of the session: Playwright keeps an event loop running in this thread as long as it is
    open, and asynchronous tests of other files would find it there.
    """
    path = chromium_path()
    if path is None:
        pytest.skip(MISSING)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=LONGEST_WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


class Visitor:
    """A person with an empty cache, looking at the dashboard.

    Attributes:
        page: Playwright's page.
        fake: what the server shows.
        troubles: console errors and requests to other hosts; empty in a good session.
        wire_bytes: compressed bytes received so far.
    """

    def __init__(self, chromium, served, scheme: str = "light", **context) -> None:
        self.fake, self.url = served.fake, served.url
        self.troubles: list[str] = []
        self.wire_bytes = 0
        self._context = chromium.new_context(
            viewport={"width": 1440, "height": 900}, color_scheme=scheme, **context
        )
        self.page = self._context.new_page()
        self.page.set_default_timeout(LONGEST_WAIT_MS)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", self._asked)
        network = self._context.new_cdp_session(self.page)
        network.send("Network.enable")
        network.on("Network.loadingFinished", self._received)

    def _heard(self, message) -> None:
        if message.type == "error":
            self.troubles.append(message.text)

    def _asked(self, request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.troubles.append(f"asked another host: {request.url}")

    def _received(self, event) -> None:
        self.wire_bytes += int(event["encodedDataLength"])

    def open(self, path: str) -> None:
        """Go to a page and wait until all its panels are drawn."""
        self.page.goto(self.url + path)
        self.settled()

    def settled(self) -> None:
        """Wait until every panel has its body and every chart its lines."""
        self.page.wait_for_function(
            """() => document.querySelector('.ss-panel, .ss-empty')
                 && !document.querySelector('.ss-waiting')
                 && [...document.querySelectorAll('.ss-graph')]
                      .every(graph => graph.querySelector('.main-svg'))"""
        )

    def looks_again(self, then: str = "") -> None:
        """What somebody's act does: every panel is asked for anew and keeps what it shows.

        Args:
            then: what the browser runs before it gets to anything else.
        """
        self.page.evaluate(f"() => {{ ({PRESS_RETRY})(); {then}; }}")

    def reads_in_both_themes(self) -> None:
        """The page follows the machine's colours, and what it says of its state can be read."""
        words = ", ".join(f"{box}, {box} *" for box in STATE.split(", "))
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            self.page.wait_for_selector(f"html[data-theme={scheme}]")
            assert self.page.evaluate(UNREADABLE, words) == [], f"{self.page.url}, {scheme}"

    def close(self) -> None:
        """Leave."""
        self._context.close()


def recovered(fake) -> None:
    """As at the start: answers at once, has data of now, and whoever looks may do everything."""
    fake.failing = fake.empty = fake.store = None
    fake.slow_seconds, fake.newest_at = 0.0, fake.now - timedelta(seconds=4)
    fake.rights = type(fake.rights)()


@pytest.fixture
def visit(chromium, served) -> Iterator[object]:
    """Makes visitors; resets what they see."""
    fake = served.fake
    recovered(fake)
    visitors: list[Visitor] = []

    def make(scheme: str = "light", **context) -> Visitor:
        visitors.append(Visitor(chromium, served, scheme, **context))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.close()
    recovered(fake)


@pytest.fixture(scope="session")
def make_visitor() -> type[Visitor]:
    """For tests that bring their own server."""
    return Visitor
