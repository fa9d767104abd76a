"""A panel never loses its picture and never pretends."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from dash import no_update

from analysis.measure import Empty
from dashboard import panels
from dashboard.pages import workload
from dashboard.pages.fleet import PAGE
from dashboard.panels import answer
from dashboard.scene import scene_of
from dashboard.url_state import parse
from store.errors import QueryTimeout

PANELS = {panel.spot: panel for panel in PAGE.panels}


def ask(fake, search="", shown=None, *, beat=False, spot="fleet-main"):
    """What a panel of the fleet answers."""
    services = fake.services()
    scene = scene_of(services, parse("/ui/", search, "/ui/"), "/ui/")
    return answer(PANELS[spot], scene, services, shown, beat=beat)


def words(component) -> str:
    """A component as text, for looking at."""
    return json.dumps(component, default=lambda c: c.to_plotly_json(), ensure_ascii=False)


def test_a_failed_query_keeps_the_last_picture_greyed_with_its_age(fake):
    """The viewer sees old numbers as old, the cause, and a way on."""
    shown = ask(fake)[2]
    fake.now += timedelta(minutes=3)
    fake.failing = QueryTimeout("the query passed its limit of 10 s", hint="choose a shorter range")
    body, note, remembered = ask(fake, shown=shown)
    assert body is no_update
    assert remembered is no_update
    said = words(note)
    for part in (
        "passed its limit of 10 s",
        "hoose a shorter range",
        "3 min ago",
        "Query ",
        "Retry",
        "Copy details",
    ):
        assert part in said


def test_the_first_failure_shows_no_picture_at_all(fake):
    """Without a good picture there is nothing to keep."""
    fake.failing = QueryTimeout("too slow")
    body, note, _ = ask(fake)
    assert body == []
    assert "Too slow" in words(note)


def test_an_unchanged_view_is_not_sent_again(fake):
    """A beat without news costs no picture."""
    shown = ask(fake)[2]
    assert ask(fake, shown=shown, beat=True) == (no_update, None, no_update)


def test_an_unchanged_view_may_grow_old(fake):
    """The picture stays, and the line above it comes with a beat."""
    shown = ask(fake)[2]
    fake.newest_at = fake.now - timedelta(minutes=4)
    body, note, _ = ask(fake, shown=shown, beat=True)
    assert body is no_update
    assert "4 min ago" in words(note)


def test_a_change_of_scope_is_always_answered(fake):
    """Only a beat may be skipped."""
    shown = ask(fake)[2]
    assert ask(fake, shown=shown)[0] is not no_update


def test_recovering_clears_the_error(fake):
    """The next good answer takes the note away."""
    body, note, _ = ask(fake)
    assert body
    assert note is None


def test_old_live_data_is_said_above_the_picture(fake):
    """A stopped feed does not look like a calm fleet."""
    fake.newest_at = fake.now - timedelta(minutes=4)
    assert "4 min ago" in words(ask(fake)[1])


def test_a_trace_is_never_stale(fake):
    """Trace time has its own end."""
    fake.newest_at = fake.now - timedelta(days=400)
    assert ask(fake, "?source=burst")[1] is None


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("nothing_connected", "Three ways"),
        ("metric_absent", "See what each source reports"),
        ("outside_range", "Jump there"),
        ("no_traffic", "No requests in this range"),
    ],
)
def test_each_reason_for_emptiness_has_its_own_words(fake, kind, part):
    """Four reasons, four texts, and no number drawn."""
    fake.empty = Empty(kind, "because", fake.now - timedelta(days=3))
    said = words(ask(fake)[0])
    assert part in said
    assert "ss-tile" not in said


def test_jump_there_leads_to_the_last_record(fake):
    """The way out of an empty range ends just behind the last record."""
    fake.empty = Empty("outside_range", "old", fake.now - timedelta(days=3))
    assert "to=2026-11-17T12:00:01Z" in words(ask(fake, "?from=now-1h")[0])


@pytest.mark.parametrize(
    "search",
    ["?source=nope", "?from=yesterday", "?from=now&to=now-1h", "?tz=Mars", "?source=live,burst"],
)
def test_a_bad_address_is_one_clear_line(fake, search):
    """What cannot be understood is said; no view is asked."""
    _, note, _ = ask(fake, search)
    assert "ss-note is-error" in words(note)
    assert fake.asked == []


def test_a_refresh_renews_what_is_there_instead_of_building_it_anew(fake, monkeypatch):
    """Figures and inner parts are set one by one, so that nothing blinks."""
    sent = {}
    monkeypatch.setattr(panels, "set_props", lambda where, props: sent.update({str(where): props}))
    body, _, mark = ask(fake, spot="fleet-rest")
    assert panels.renew(body, None, mark) is body
    assert sent == {}
    fake.now += timedelta(seconds=10)
    body, _, later = ask(fake, shown=mark, beat=True, spot="fleet-rest")
    assert panels.renew(body, mark, later) is no_update
    names = {name for props in sent.values() for name in props}
    assert {"figure", "children"} <= names <= {"figure", "aria-label", "children"}
    assert any("'waiting'" in where for where in sent)
    sent.clear()
    body, _, again = ask(fake, shown=mark, spot="fleet-rest")
    assert panels.renew(body, {**mark, "prints": later["prints"]}, again) is no_update
    assert sent == {}, "what says the same is not made anew"


def test_links_follow_the_address_but_rest_during_a_refresh(fake, monkeypatch):
    """A new range changes the CSV links; a refresh leaves an open definition open."""
    sent = []
    monkeypatch.setattr(panels, "set_props", lambda where, props: sent.append(where["type"]))
    body, _, mark = ask(fake)
    panels.renew(body, None, mark)
    body, _, later = ask(fake, shown=mark)
    panels.renew(body, mark, later)
    assert "tools" not in sent
    body, _, other = ask(fake, "?from=now-1h", shown=mark)
    panels.renew(body, mark, other)
    assert "tools" in sent


def test_other_parts_are_built_anew(fake, monkeypatch):
    """A chart that became a table is another body."""
    monkeypatch.setattr(panels, "set_props", lambda where, props: pytest.fail("nothing to renew"))
    body, _, mark = ask(fake)
    panels.renew(body, None, mark)
    body, _, later = ask(fake, "?table=rate", shown=mark)
    assert panels.renew(body, mark, later) is body


def test_one_reason_is_said_once(fake):
    """Findings stay silent where the tab below says why it is empty."""
    fake.empty = Empty("metric_absent", "needs request-level data")
    services = fake.services()
    scene = scene_of(services, parse("/ui/workload", "", "/ui/"), "/ui/")
    parts = workload.PAGES["arrivals"].panels
    bodies = [answer(part, scene, services, None, beat=False)[0] for part in parts]
    assert words(bodies).count("needs request-level data") == 1
