"""Every page in the states of its data: the words of each are there to read in both themes.

Here nothing is drawn yet: pages that are, that grow old and that fail then are in test_pages.py.
One visitor walks all pages of a state by the keyboard.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from dashboard.navigation import NAVIGATION, go_keys
from dashboard.routes import page_of
from dashboard.url_state import Address
from store.errors import QueryTimeout

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TITLES = {item.path: item.title for _, items in NAVIGATION for item in items}
ARRIVED = """([title, spot]) => document.querySelector(`[data-spot="${spot}"]`)
  && document.querySelector("h1").textContent.startsWith(title)
  && !document.querySelector(".ss-waiting")"""


def walk(visitor):
    """Go to every page by its key; gives the title of each, once all its panels have answered."""
    page = visitor.page
    visitor.open("/ui/admin")
    for path, letter in go_keys().items():
        page.locator("#main").focus()
        page.keyboard.press("g")
        page.keyboard.press(letter)
        spot = page_of(Address(path)).panels[0].spot
        page.wait_for_function(ARRIVED, arg=[TITLES[path], spot])
        yield TITLES[path]


NOTHING = {
    "Fleet": "Three ways to the first finding",
    "Alerts": "No alert is firing or pending",
    "Controller": "No pool is configured",
    "What-if": "Nothing was replayed yet",
    "Reports": "No report is scheduled yet",
}


def test_a_store_without_data_is_said_on_every_page_and_nothing_is_drawn(
    visit, served, monkeypatch
):
    """No blank picture, nothing that looks healthy, and a way on."""
    served.fake.store, served.fake.newest_at = served.bare(), None
    monkeypatch.setattr(served.fake.control.candidates, "rows", [])
    monkeypatch.setattr(served.fake.control, "running", False)
    visitor = visit()
    for title in walk(visitor):
        said = visitor.page.locator("#main").inner_text()
        assert re.search(NOTHING.get(title, "No source yet|Nothing"), said), f"{title}: {said}"
        assert visitor.page.locator(".ss-graph").count() == 0, title
        assert visitor.page.locator("#main .tone-good").count() == 0, title
        visitor.reads_in_both_themes()
    assert visitor.troubles == []


def test_a_view_that_fails_is_said_on_every_page_before_there_is_a_picture(visit, served):
    """The cause in one line, with a way to ask again."""
    served.fake.failing = QueryTimeout("the query passed its limit of 10 s")
    visitor = visit()
    for title in walk(visitor):
        alert = visitor.page.get_by_role("alert").first
        expect(alert, title).to_contain_text("The query passed its limit of 10 s.")
        expect(alert.get_by_role("button", name="Retry")).to_be_visible()
        assert visitor.page.locator("#main .tone-good").count() == 0, title
        visitor.reads_in_both_themes()
    assert visitor.troubles == []


SELECTED = (
    "/ui/?from=now-1h&model=qwen3-32b&tenant=acme&refresh=off",
    "/ui/latency?quantity=tpot&by=tenant&from=now-2h&to=now-1h&request=1:1790000000000000:7",
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
        expect(other.page.locator("html")).to_have_attribute("data-theme", "dark")
    assert mine.troubles == other.troubles == []
