"""Every page in the states of its data: the words of each are there to read in both themes.

Loaded pages are those of test_pages.py. One visitor walks all pages of a state by the keyboard.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import axe_core_python
import pytest
from playwright.sync_api import expect

from dashboard.navigation import NAVIGATION, go_keys
from dashboard.routes import page_of
from dashboard.url_state import Address
from store.errors import QueryTimeout

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AXE = Path(axe_core_python.__file__).parent / "axe.min.js"
TITLES = {item.path: item.title for _, items in NAVIGATION for item in items}
TOLD = ".ss-note, .ss-empty, .ss-verdict"
UNREADABLE = """async ([where]) => {
  const found = await axe.run({include: [where.split(", ")]},
    {runOnly: ["color-contrast"], resultTypes: ["violations"]});
  return found.violations.flatMap(v => v.nodes.map(node => node.failureSummary));
}"""
ARRIVED = """([title, spot]) => document.querySelector(`[data-spot="${spot}"]`)
  && document.querySelector("h1").textContent.startsWith(title)
  && !document.querySelector(".ss-waiting")
  && [...document.querySelectorAll(".ss-graph")].every(graph => graph.querySelector(".main-svg"))"""
# Whatever stands below an error is greyed.
GREYED = """() => [...document.querySelectorAll(".ss-panel-note:has(.is-error) + .ss-panel > *")]
  .map(part => Number(getComputedStyle(part).opacity) < 1)"""
SCHEMES = ("light", "dark")


def walk(visitor):
    """Go to every page by its key; gives the title of each, once all its panels are drawn."""
    page = visitor.page
    visitor.open("/ui/admin")
    page.add_script_tag(path=str(AXE))
    for path, letter in go_keys().items():
        page.locator("#main").focus()
        page.keyboard.press("g")
        page.keyboard.press(letter)
        spot = page_of(Address(path)).panels[0].spot
        page.wait_for_function(ARRIVED, arg=[TITLES[path], spot])
        yield TITLES[path]


def read_in_both_themes(page, title: str) -> None:
    """What the page says of its state can be read in light and in dark."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.wait_for_selector(f"html[data-mantine-color-scheme={scheme}]")
        boxes = [box for box in TOLD.split(", ") if page.locator(box).count()]
        assert page.evaluate(UNREADABLE, [", ".join(boxes)]) == [], f"{title}, {scheme}"


def test_a_store_without_data_is_said_on_every_page_and_nothing_is_drawn(visit, served):
    """No blank picture, nothing that looks healthy, and a way on."""
    served.fake.store, served.fake.newest_at = served.bare(), None
    visitor = visit()
    for title in walk(visitor):
        said = visitor.page.locator("#main").inner_text()
        assert re.search(NOTHING.get(title, "No source yet|Nothing"), said), f"{title}: {said}"
        assert visitor.page.locator(".ss-graph").count() == 0, title
        assert visitor.page.locator("#main .tone-good").count() == 0, title
        read_in_both_themes(visitor.page, title)
    assert visitor.troubles == []


NOTHING = {"Fleet": "Three ways to the first finding"}


def test_old_data_is_said_on_every_page(visit, served):
    """In the header and above what it makes old, once, with the way to the sources."""
    served.fake.newest_at = served.fake.now - timedelta(minutes=10)
    visitor = visit()
    for title in walk(visitor):
        expect(visitor.page.locator("#shell-age")).to_contain_text(
            "Stale: newest sample 10 min ago"
        )
        note = visitor.page.locator(".ss-note.is-stale")
        assert note.count() == 1, f"{title}: {note.count()} notes"
        expect(note).to_contain_text("The newest sample is from 10 min ago")
        read_in_both_themes(visitor.page, title)
    assert visitor.troubles == []


def test_a_view_that_fails_is_said_on_every_page_and_keeps_the_picture(visit, served):
    """First without a picture, then over one: the cause, greyed, and Retry brings it back."""
    fake, limit = served.fake, QueryTimeout("the query passed its limit of 10 s")
    visitor = visit()
    page, ranges = visitor.page, ("Last hour", "Last 24 hours")
    fake.failing = limit
    for number, title in enumerate(walk(visitor)):
        alert = page.get_by_role("alert").first
        expect(alert).to_contain_text("The query passed its limit of 10 s.")
        fake.failing = None
        alert.get_by_role("button", name="Retry").click()
        expect(page.get_by_role("alert"), title).to_have_count(0)
        visitor.settled()
        drawn = page.locator(".ss-graph .main-svg").count()
        fake.failing = limit
        page.locator("#shell-menu-time summary").click()
        page.get_by_role("link", name=ranges[number % 2], exact=True).click()
        expect(alert, title).to_contain_text("The picture below is from")
        assert page.locator(".ss-graph .main-svg").count() == drawn, title
        page.wait_for_function(f"({GREYED})().every(Boolean)")
        read_in_both_themes(page, title)
    assert visitor.troubles == []


SELECTED = (
    "/ui/?from=now-1h&model=qwen3-32b&tenant=acme&refresh=off",
    "/ui/latency?quantity=tpot&by=tenant&from=now-2h&to=now-1h&table=requests",
    "/ui/controller?decision=20&pool=chat",
    "/ui/workload/lengths?source=azure-2023-conv,azure-2023-code&table=input",
)


def test_a_shared_link_opens_the_same_picture_elsewhere_and_leaves_the_theme_alone(visit):
    """Filters, range, what was selected and every sentence of a chart, for somebody in the dark."""
    mine = visit("light", permissions=["clipboard-read", "clipboard-write"])
    other = visit("dark")
    for path in SELECTED:
        mine.open(path)
        mine.page.get_by_role("button", name="Share").click()
        expect(mine.page.locator("#shell-said")).to_have_text("Copied.")
        link = mine.page.evaluate("navigator.clipboard.readText()")
        assert "now" not in link
        other.open(link.removeprefix(other.url))
        for part in (".ss-title", "#shell-filters", "#shell-page"):
            same = mine.page.locator(part).inner_text()
            assert other.page.locator(part).inner_text() == same, f"{path}: {part}"
        charts = "[...document.querySelectorAll('.ss-graph')].map(g => g.ariaLabel)"
        assert other.page.evaluate(charts) == mine.page.evaluate(charts)
        expect(other.page.locator("html")).to_have_attribute("data-mantine-color-scheme", "dark")
    assert mine.troubles == other.troubles == []
