"""Every page in a real browser: drawn in time, light on the wire, accessible, quiet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
from playwright.sync_api import expect

from dashboard.navigation import NAVIGATION
from store.errors import QueryTimeout

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TRACES = "?source=azure-2023-conv,azure-2023-code"
PAGES = {
    "fleet": "/ui/",
    "slo": "/ui/slo",
    "slo-detail": "/ui/slo/chat-ttft",
    "arrivals": f"/ui/workload{TRACES}",
    "burstiness": f"/ui/workload/burstiness{TRACES}",
    "lengths": f"/ui/workload/lengths{TRACES}",
    "clients": "/ui/workload/clients",
    "sessions": "/ui/workload/sessions?source=burst",
    "prefix": "/ui/workload/prefix",
    "failures": "/ui/workload/failures",
    "compare": f"/ui/workload/compare{TRACES}&against=azure-2023-code",
    "export": f"/ui/workload/export{TRACES}",
    "admin": "/ui/admin",
    "alerts": "/ui/alerts",
    "reports": "/ui/reports/board",
    "latency": "/ui/latency?request=1:1790000000000000:7",
    "fairness": "/ui/fairness",
    "cost": "/ui/cost",
    "cold-starts": "/ui/cold-starts",
    "degradation": "/ui/degradation",
    "predictors": "/ui/predictors",
    "predictors-trace": "/ui/predictors?source=burst",
    "controller": "/ui/controller?decision=20",
    "what-if": "/ui/what-if",
    "tables": f"/ui/workload{TRACES}&table=rate,gaps",
    "compared": "/ui/slo/chat-ttft?cmp=prev",
    "no-such-page": "/ui/nothing",
}
_NAMED = {address.partition("?")[0].rstrip("/") for address in PAGES.values()}
# A page that came into the navigation since is looked at as well.
PAGES |= {
    item.title: f"/ui/{'/'.join(item.path)}"
    for _, items in NAVIGATION
    for item in items
    if item.path and not any(a.startswith(f"/ui/{'/'.join(item.path)}") for a in _NAMED)
}
# All that a theme changes.
OF_COLOURS = ("color-contrast", "link-in-text-block")
AXE = Path(axe_core_python.__file__).parent / "axe.min.js"

COLD_BYTES = 1_200_000


def serious(page, *rules) -> list[str]:
    """What axe finds serious or critical; by these rules alone, if any are named."""
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=str(AXE))
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    bad = [v for v in found if v["impact"] in ("serious", "critical")]
    return [
        f"{v['id']}: {node['target']} {node['failureSummary']}" for v in bad for node in v["nodes"]
    ]


# What is wider than its place: the page, a card, a tile; a table may scroll, but inside its card.
TOO_WIDE = """() => [document.documentElement,
    ...document.querySelectorAll('.ss-card, .ss-card-body, .ss-tile, .ss-verdict, .ss-note')]
  .filter(part => part.scrollWidth > part.clientWidth + 1)
  .map(part => `${part.className} ${part.scrollWidth} > ${part.clientWidth}: `
    + part.innerText.slice(0, 40))"""
# How many tiles stand in each row, from the top.
TILE_ROWS = """() => {
  const rows = {};
  document.querySelectorAll('.ss-tiles > *').forEach(tile => {
    rows[tile.offsetTop] = (rows[tile.offsetTop] || 0) + 1;
  });
  return Object.keys(rows).map(Number).sort((a, b) => a - b).map(top => rows[top]);
}"""
WIDTHS = (1440, 1280, 1920, 800, 390)


def turned(page, scheme: str) -> None:
    """Switch the machine to a colour scheme: the page follows without being loaded anew."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_selector(f"html[data-theme={scheme}]")


# Whatever stands below an error is greyed.
GREYED = """() => [...document.querySelectorAll(".ss-panel-note:has(.is-error) + .ss-panel > *")]
  .map(part => Number(getComputedStyle(part).opacity) < 1)"""
# One address of each page of the navigation, of live data.
STATES = {
    "fleet", "slo", "latency", "alerts", "clients", "fairness", "cold-starts", "degradation",
    "predictors", "controller", "what-if", "cost", "reports", "admin",
}  # fmt: skip


def tells_its_age(visitor, name: str) -> None:
    """Old data is said in the header and once above what it makes old."""
    fake, page = visitor.fake, visitor.page
    fake.newest_at = fake.now - timedelta(minutes=10)
    visitor.looks_again()
    expect(page.locator("#shell-age")).to_contain_text("Stale: newest sample 10 min ago")
    # Comparisons are of recorded days: nothing about them grows old.
    notes = page.locator(".ss-note.is-stale")
    expect(notes).to_have_count(0 if name == "what-if" else 1)
    visitor.reads_in_both_themes()


def keeps_the_picture_when_it_fails(visitor) -> None:
    """The cause and the age above it, greyed; Retry brings it back, wherever it stands."""
    fake, page = visitor.fake, visitor.page
    drawn = page.locator(".ss-graph .main-svg").count()
    fake.failing = QueryTimeout("the query passed its limit of 10 s")
    visitor.looks_again()
    alerts = page.get_by_role("alert").filter(has_text="The query passed its limit of 10 s.")
    expect(alerts.first).to_contain_text("The picture below is from")
    page.wait_for_function(f"({GREYED})().every(Boolean)")
    assert page.locator(".ss-graph .main-svg").count() == drawn
    visitor.reads_in_both_themes()
    fake.failing = None
    alerts.first.get_by_role("button", name="Retry").click()
    expect(alerts).to_have_count(0)
    assert page.locator(".ss-graph .main-svg").count() == drawn


@pytest.fixture(scope="module")
def somebody(chromium, served, make_visitor) -> Iterator[Any]:
    """Whose browser keeps what it fetched, as anybody's does."""
    visitor = make_visitor(chromium, served)
    yield visitor
    visitor.close()


@pytest.fixture
def reader(somebody, visit) -> Iterator[Any]:
    """Somebody who looks at one page after the other; `visit` puts right what others changed."""
    somebody.troubles.clear()
    somebody.page.emulate_media(color_scheme="light")
    somebody.page.set_viewport_size({"width": 1440, "height": 900})
    yield somebody
    somebody.page.goto("about:blank")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_quiet_and_fits_every_screen(reader, name):
    """In both themes: no serious axe finding, nothing too wide; old or failing it says so."""
    reader.open(PAGES[name])
    assert serious(reader.page) == []
    turned(reader.page, "dark")
    assert serious(reader.page, *OF_COLOURS) == []
    if name in STATES:
        tells_its_age(reader, name)
        keeps_the_picture_when_it_fails(reader)
    for width in WIDTHS:
        reader.page.set_viewport_size({"width": width, "height": 900})
        # Charts follow the window a frame later.
        reader.page.wait_for_function(f"({TOO_WIDE})().length === 0")
        rows = reader.page.evaluate(TILE_ROWS)
        assert len(rows) < 2 or width < 900 or rows[-1] > 1, f"a lonely tile at {width} pixels"
    assert reader.troubles == []


@pytest.mark.parametrize(
    "kind", ["nothing_connected", "metric_absent", "outside_range", "no_traffic"]
)
def test_empty_states_are_accessible(visit, served, kind):
    """Pages without data hold the same bar."""
    from analysis.measure import Empty

    served.fake.empty = Empty(kind, "The reason in words.", served.fake.now)
    visitor = visit("dark")
    visitor.open("/ui/")
    assert serious(visitor.page) == []
    turned(visitor.page, "light")
    assert serious(visitor.page, *OF_COLOURS) == []
    assert visitor.troubles == []


@pytest.mark.parametrize("name", ["fleet", "slo-detail", "arrivals", "lengths"])
def test_a_cold_page_is_light(visit, name):
    """With an empty cache 1.2 MB at most; how long it takes is for benchmarks/first_light.py."""
    visitor = visit()
    visitor.open(PAGES[name])
    assert visitor.wire_bytes <= COLD_BYTES


def test_a_phone_can_read_it(visit):
    """At 390 pixels nothing is cut off and the navigation opens by its button."""
    visitor = visit(is_mobile=False)
    visitor.page.set_viewport_size({"width": 390, "height": 800})
    visitor.open("/ui/")
    assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visitor.page.get_by_role("button", name="Navigation").click()
    visitor.page.get_by_role("link", name="Admin").click()
    visitor.page.wait_for_url("**/ui/admin*")
