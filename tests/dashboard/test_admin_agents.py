"""Admin's tables of agents and of sources of targets."""

from datetime import datetime

import polars as pl

from analysis.admin_view import PAGES
from dashboard.navigation import NAVIGATION
from dashboard.pages import admin, admin_clocks
from dashboard.scene import scene_of
from dashboard.url_state import parse


def words(part):
    """All text of a component."""
    children = getattr(part, "children", part)
    if isinstance(children, list | tuple):
        return " ".join(words(child) for child in children)
    return (
        ""
        if children is None
        else words(children)
        if hasattr(children, "children")
        else str(children)
    )


def test_agents_and_sources_are_shown_with_their_troubles(fake):
    """Who waits, who lost rows and which source of targets does not answer, in words."""
    services = fake.services()
    scene = scene_of(services, parse("/ui/admin", "", "/ui/"), "/ui/")
    view = fake.view("admin", {})
    assert "No agent has reported" in admin._agents(view, scene).why
    row = {
        "name": "gpu-3", "version": "0.1.0", "state": "silent", "targets": 10, "targets_failing": 1,
        "last_seen_at": datetime(2026, 1, 31, 12), "waiting_batches": 3, "spool_bytes": 900,
        "waiting_seconds": 90.0, "parked_batches": 0, "dropped_rows": 2, "drops": "2 bad lines",
        "why": "no word for 60 s",
    }  # fmt: skip
    source = {"source": "dns:a:x:1", "targets": 4, "problem": "the 4 targets known last stay"}
    view.frames.update(agents=pl.DataFrame([row]), discovery=pl.DataFrame([source]))
    text = words(admin._agents(view, scene).card) + words(admin._discovery(view, scene).card)
    for told in ("gpu-3", "no word for 60 s", "2 bad lines", "dns:a:x:1", "known last stay"):
        assert told in text


def test_clocks_are_told_with_unit_direction_limit_and_what_to_do(fake):
    """What is below its own error is no offset, and what nobody measures is said."""
    services = fake.services()
    scene = scene_of(services, parse("/ui/admin", "", "/ui/"), "/ui/")
    view = fake.view("admin", {})
    text = words(admin_clocks.clocks(view, scene).card)
    assert "94.2 s behind" in text
    assert "4 ms ahead" in text
    assert "\N{PLUS-MINUS SIGN}1.2 ms" in text
    assert "none seen" in text
    assert "none of its answers since this server started had a date" in text
    assert "run a time service on both" in text
    assert "Nobody measures the clocks of gateways" in text
    view.frames.update(clocks=view.frames["clocks"].clear())
    assert admin_clocks.clocks(view, scene).why == "No agent and no target is connected."


def test_every_page_of_the_navigation_is_in_the_coverage(fake):
    """But for those that say what others say: a page that is new must say what it needs."""
    covered = {needs.page.split(":")[0] for needs in PAGES}
    titles = {item.title for _, items in NAVIGATION for item in items}
    assert covered | {"Alerts", "Reports", "Admin"} == titles
