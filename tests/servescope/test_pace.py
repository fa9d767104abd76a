"""What a process knows of its own pace, on the page Admin, in the API and by `doctor`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.navigation import NAVIGATION
from dashboard.routes import views_by_page
from servescope.cli.doctor_server import lines
from servescope.pace import KEPT_COMPUTATIONS, AnswerTimes, LoopLag, p95
from store.clock import VirtualClock
from store.errors import QueryTimeout

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def times():
    """Of two pages that share one view."""
    made = AnswerTimes(VirtualClock(NOW))
    made.pages = {"Fleet": ("fleet", "why"), "SLOs": ("slo_list", "why"), "Cost": ("cost",)}
    return made


def computed(times, view, seconds, *, fails=False):
    """One answer that took so long."""
    times.asked(view)
    with times.computing(view):
        times._clock.advance(seconds)
        if fails:
            raise QueryTimeout("stopped")


@given(st.lists(st.floats(0, 100), min_size=1))
def test_at_least_19_of_20_are_not_above_it(values):
    """The smallest such value, and one that was measured."""
    found = p95(values)
    assert sum(value <= found for value in values) >= 0.95 * len(values)
    assert sum(value < found for value in values) < 0.95 * len(values)


def test_a_page_is_as_slow_as_its_views(times):
    """Slowest first, with the view that makes it so; a page nobody asked for has no row."""
    for _ in range(3):
        computed(times, "fleet", 0.5)
    computed(times, "why", 2.0)
    times.asked("why")
    computed(times, "happenings", 0.1)
    rows = {row["page"]: row for row in times.frame().to_dicts()}
    assert list(rows) == ["Fleet", "SLOs", "elsewhere"]
    assert rows["Fleet"]["answers"] == 5
    assert (rows["SLOs"]["answers"], rows["SLOs"]["computed"]) == (2, 1)
    assert rows["Fleet"]["p95_seconds"] == pytest.approx(2.0)
    assert rows["Fleet"]["slowest_view"] == "why"
    assert times.shared().value == pytest.approx(1 / 6)


def test_one_that_failed_took_its_time_too(times):
    """A query that is stopped at its limit is the slowest of all."""
    with pytest.raises(QueryTimeout):
        computed(times, "cost", 10, fails=True)
    assert times.frame()["longest_seconds"].to_list() == [pytest.approx(10.0)]


def test_only_the_newest_are_kept(times):
    """However long it runs, and however slow it once was."""
    computed(times, "cost", 60.0)
    for _ in range(KEPT_COMPUTATIONS):
        computed(times, "cost", 0.25)
    (row,) = times.frame().to_dicts()
    assert row["longest_seconds"] == pytest.approx(0.25)
    assert row["computed"] == KEPT_COMPUTATIONS + 1


def test_a_loop_that_comes_late_is_seen():
    """Half a second was asked for and two seconds passed."""
    clock = VirtualClock(NOW)
    lag = LoopLag(clock)
    assert lag.measures()["loop_lag_p95_seconds"].value is None

    async def late() -> None:
        watching = asyncio.create_task(lag.watch())
        for seconds in (0.5, 2.0):
            await clock.sleep(0)
            clock.advance(seconds)
            await clock.sleep(0)
        watching.cancel()

    asyncio.run(late())
    found = lag.measures()
    assert found["loop_lag_longest_seconds"].value == pytest.approx(1.5)
    assert found["loop_lag_p95_seconds"].n == 2


def test_every_page_of_the_navigation_has_its_views():
    """None is left out of the table because nobody thought of it."""
    known = views_by_page()
    assert set(known) == {item.title for _, items in NAVIGATION for item in items}
    assert {"slo_list", "slo_detail"} <= known["SLOs"]
    assert all(known.values())


def test_what_was_asked_is_told_by_the_api_and_by_doctor(client, filled):
    """The same numbers: answers, how many were computed, and the slowest page."""
    filled.answers.pages = views_by_page()
    for _ in range(3):
        client.get("/api/v1/views/cost")
    found = client.get("/api/v1/views/server").json()
    (cost,) = [row for row in found["frames"]["pages"]["rows"] if row["page"] == "Cost"]
    assert (cost["answers"], cost["computed"]) == (3, 1)
    views = {name: client.get(f"/api/v1/views/{name}").json() for name in ("admin", "trust")}
    said = {line.subject: line for line in lines({**views, "server": found})}
    assert "answers were shared" in said["pages"].text
    assert " rows, " in said["content"].text
    assert "Workload: prefix (no block_hashes)" in said["coverage"].text


def test_doctor_names_what_is_not_well():
    """An agent, a source of discovery, a slow page and a late loop: each with what to do."""
    rows = {
        "agents": [{"name": "n1", "state": "silent", "why": "no heartbeat for 90 s"}],
        "discovery": [{"source": "dns", "targets": 2, "problem": "no answer"}],
        "imports": [{"file": "a.csv", "rows_rejected": 1200}],
    }
    size = {name: {"value": 1.0} for name in ("rows_total", "store_bytes", "write_lag_seconds")}
    slow = {"page": "Cost", "p95_seconds": 4.0, "slowest_view": "cost"}
    views = {
        "admin": {"measures": size, "frames": {k: {"rows": v} for k, v in rows.items()}},
        "trust": {"frames": {"signals": {"rows": [{"is_usable": False}, {"is_usable": True}]}}},
        "server": {
            "measures": {
                "shared_ratio": {"value": 0.5, "n": 8},
                "loop_lag_p95_seconds": {"value": 0.4},
                "loop_lag_longest_seconds": {"value": 0.9},
            },
            "frames": {"pages": {"rows": [slow]}},
        },
    }
    said = {line.subject: line for line in lines(views)}
    bad = {subject for subject, line in said.items() if line.level == "warn"}
    assert bad == {"agent", "discovery", "pages", "event loop"}
    assert all(line.fix for line in said.values() if line.level != "ok")
    assert "1 of 2 signals" in said["trust"].text
    assert "1,200 rows" in said["import"].text
