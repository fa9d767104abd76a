"""Courses and measures of fairness, against sums that are done the long way."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import fairness_courses as courses
from analysis import fairness_measures as measures
from analysis.fairness_interference import MOST_STRETCHES, stretches
from collector.traces.plan import plan
from store.bulk import load
from store.clock import WallClock
from store.database import Database
from store.queries import catalog
from store.queries.fairness import flows
from store.queries.scope import Scope
from store.queries.token_cost import Cost
from store.settings import StoreSettings

FILE = Path(__file__).parents[1] / "data" / "traces" / "FCFS" / "all_results_overload.jsonl"
ZERO = datetime(1970, 1, 1, tzinfo=UTC)


def made(service, *, waiting=None, asked=None, refused=None, width=1.0, window_bins=2):
    """Courses by hand; by default everybody waits at every edge."""
    rows = np.array(service, float)
    ones = np.ones_like(rows)
    return courses.Courses(
        tuple("abcdefgh"[: len(rows)]), width, window_bins, rows,
        np.array(asked if asked is not None else rows + 1e6, float),
        np.zeros_like(rows) if refused is None else np.array(refused, float),
        np.array(waiting, float) if waiting is not None else ones, np.zeros(rows.shape[1]),
        ones.sum(axis=0),
    )  # fmt: skip


def loaded(reader, source_id, start, seconds, width, names, window_bins=10):
    begin = ZERO + timedelta(seconds=start)
    scope = Scope((source_id,), begin, begin + timedelta(seconds=seconds))
    rows = flows(reader, scope, Cost(), names, width)
    return courses.of_flows(rows, names, seconds, width, window_bins)


def published(responses, names, tick, window):
    """Service and demand a second in one window, as the artifact of VTC sums them."""
    service, demand = [], []
    for name in names:
        got = asked = 0.0
        for one in responses:
            if one["adapter_dir"] != name:
                continue
            cost = one["prompt_len"] + 2 * one["output_len"]
            first = one["req_time"] + one["first_token_latency"]
            end = one["req_time"] + one["request_latency"]
            inside = max(min(tick + window, end) - max(tick, first), 0)
            got += cost * inside / (end - first)
            asked += cost * (tick <= one["req_time"] <= tick + window)
        service.append(got / window)
        demand.append(asked / window)
    return service, demand


def test_the_windowed_difference_is_that_of_the_artifact():
    """On a run of VTC's own benchmark our sums by bin give the numbers of its definition."""
    responses = json.loads(FILE.read_text("utf-8"))["result"]["responses"]
    names = sorted({one["adapter_dir"] for one in responses})
    with Database.open(None, StoreSettings(), WallClock(), allow_files=True) as database:
        load(database.writer, plan([FILE])[0])
        (source,) = [s for s in catalog.sources(database.reader) if s.kind == "trace"]
        found = loaded(database.reader, source.source_id, 0, 60, 0.5, names, window_bins=20)
    # Stamps are kept to the microsecond, hence the tolerance below.
    values = measures.windowed_difference(found, np.ones(len(names)))

    for edge in (0, 7, 31, 60, 100):
        service, demand = published(responses, names, edge * 0.5, 10.0)
        top = max(service)
        expected = sum(
            min(top - got, abs(wanted - got)) for got, wanted in zip(service, demand, strict=True)
        )
        assert np.nan_to_num(values[edge]) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_courses_are_exact_at_every_edge(database, seed):
    """Service, demand and who waits are what adding up every request gives, cut by the range."""
    dice = random.Random(seed)  # noqa: S311 - a test, no secret
    rows = [(dice.uniform(0, 100), dice.choice("ab"), dice.choice([0.0, 0.3, 5.0, 40.0]),
             dice.choice([0.0, 1e-5, 0.2, 30.0]), dice.randrange(1, 500), dice.randrange(0, 300),
             dice.choice(["ok", "ok", "failed", "refused"])) for _ in range(120)]  # fmt: skip
    database.writer.append("request", pl.DataFrame({
        "request_id": [str(place) for place in range(len(rows))],
        "arrived_at": [(ZERO + timedelta(seconds=row[0])).replace(tzinfo=None) for row in rows],
        "tenant": [row[1] for row in rows],
        "ttft_seconds": [None if row[6] == "refused" else row[2] for row in rows],
        "e2e_seconds": [None if row[6] == "refused" else row[2] + row[3] for row in rows],
        "queue_seconds": [None if row[6] == "refused" else row[2] for row in rows],
        "input_tokens": [row[4] for row in rows], "output_tokens": [row[5] for row in rows],
        "status": [row[6] for row in rows],
    })).result()  # fmt: skip
    start, width = 20.0, 2.5
    found = loaded(database.reader, 1, start, 60, width, ["a", "b"])

    for slot, name in enumerate("ab"):
        mine = [row for row in rows if row[1] == name]
        for edge in range(found.edges):
            at = start + edge * width
            got, asked, waits = _added_up(mine, start, at)
            assert found.service[slot, edge] == pytest.approx(got, abs=0.02)
            assert found.asked[slot, edge] == pytest.approx(asked, abs=0.02)
            assert found.waiting[slot, edge] == waits


def _added_up(rows, start, at):
    """Service until `at` since `start`, what was asked for by then, and how many wait."""
    got = asked = waits = 0.0
    for arrived, _, wait, seconds, inputs, outputs, status in rows:
        # Stamps are kept to the microsecond.
        arrived = round(arrived, 6)
        if status == "refused":
            continue
        cost, first = inputs + 2 * outputs, arrived + wait
        end = first + seconds
        waits += arrived < at <= first and wait > 0 and first >= start
        if end < start:
            continue
        if seconds < 1e-3:
            given_before, given = 0.0, cost * (start <= end < at)
        else:
            given_before = cost * max(min(start, end) - first, 0) / seconds
            given = cost * max(min(at, end) - max(first, start), 0) / seconds
        got += given
        asked += (cost - given_before) if arrived < start else cost * (arrived < at)
    return got, asked, waits


def test_a_gap_counts_only_from_when_both_wait():
    """What one got while the other asked for nothing is no debt."""
    found = made([[0, 10, 20, 30, 40], [0, 0, 0, 2, 4]],
                 waiting=[[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])  # fmt: skip

    gap = measures.gap(found, np.ones(2))

    assert np.isnan(gap.tokens[:2]).all()
    assert gap.tokens[2:].tolist() == [0, 8, 16]
    assert (gap.ahead[-1], gap.behind[-1], gap.waiting[-1]) == (0, 1, 2)


def test_a_gap_is_between_those_two_who_are_furthest_apart():
    """With three tenants, and by weight."""
    found = made([[0, 10], [0, 30], [0, 60]])

    assert measures.gap(found, np.ones(3)).tokens[1] == 50
    weighted = measures.gap(found, np.array([1.0, 3.0, 6.0]))
    assert weighted.tokens[1] == 0


def test_who_asks_for_little_is_not_treated_unfairly():
    """The difference is capped by what was asked for."""
    found = made([[0, 0, 100], [0, 0, 10]], asked=[[0, 0, 1000], [0, 0, 10]])

    assert measures.windowed_difference(found, np.ones(2)).tolist() == [0.0]


def test_refusing_looks_fair_unless_it_is_counted():
    """The artifact's difference leaves out what was refused; the other one does not."""
    found = made([[0, 0, 100], [0, 0, 10]], asked=[[0, 0, 100], [0, 0, 10]],
                 refused=[[0, 0, 0], [0, 0, 80]])  # fmt: skip

    assert measures.windowed_difference(found, np.ones(2)).tolist() == [0.0]
    counted = measures.windowed_difference(found, np.ones(2), with_refused=True)
    assert counted.tolist() == [40.0]


def test_nothing_asked_is_neither_fair_nor_unfair():
    """A window without traffic has no difference, no demand and no index."""
    nothing = np.zeros((2, 5))
    found = made(nothing, asked=nothing, waiting=nothing)
    shares = measures.shares(found, np.ones(2))

    assert np.isnan(measures.windowed_difference(found, np.ones(2))).all()
    assert not shares.has_demand.any()
    assert measures.jain_by_window(shares) == [None, None]


def test_what_rounding_leaves_of_rates_is_no_service():
    """Rates that end in another order than they began add up to 3e-17, which nobody was served."""
    began, ended = [0.1, 0.2, 0.3], [-0.3, -0.1, -0.2]
    rows = pl.DataFrame(
        {"slot": 0, "bin": range(6), "asked": 0.0, "refused": 0.0, "rate": began + ended,
         "rising": 0.0, "waiting": 0, "running": 0}
    )  # fmt: skip
    assert sum(began + ended) > 0
    found = courses.of_flows(rows, ["a"], 3600.0, 60.0, 2)

    assert found.service[0, -1] == found.service[0, 7]
    assert np.isnan(measures.windowed_difference(found, np.ones(1))[8:]).all()


def test_a_tenant_that_waits_is_measured_by_what_it_could_have_had():
    """Two that wait share by half; a third that asks for little keeps its little."""
    found = made([[0, 30, 60], [0, 5, 10], [0, 1, 2]], waiting=[[1] * 3, [1] * 3, [0] * 3])

    shares = measures.shares(found, np.ones(3))

    assert shares.fair[:, 0].tolist() == [35, 35, 2]
    ratio = measures.fair_ratio(shares, shares.is_contended)
    assert ratio == pytest.approx([60 / 35, 10 / 35, 1.0])


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.1, 10)), min_size=1, max_size=8),
    st.floats(0, 1),
)
def test_fair_shares_add_up_and_nobody_gets_more_than_it_asked(tenants, part):
    """Max-min: whoever got less than it asked got no less, by weight, than anybody else."""
    demand = np.array([wanted for wanted, _ in tenants])
    weights = np.array([weight for _, weight in tenants])
    total = demand.sum() * part

    fair = measures.fair_shares(total, demand, weights)

    assert fair.sum() == pytest.approx(total, rel=1e-9, abs=1e-6)
    assert (fair <= demand + 1e-6).all()
    short = fair < demand - 1e-3
    if short.any():
        level = (fair / weights).max()
        assert (fair / weights)[short] == pytest.approx(np.full(short.sum(), level), rel=1e-6)


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=20))
def test_jain_lies_between_one_nth_and_one(values):
    """The same for all is 1; all for one is 1/n."""
    found = measures.jain(np.array(values))

    assert found is not None
    assert 1 / len(values) - 1e-9 <= found <= 1
    assert measures.jain(np.full(len(values), values[0])) == pytest.approx(1)


def test_one_tenant_has_no_index():
    """Neither one alone nor nobody is fair."""
    assert measures.jain(np.array([1.0])) is None
    assert measures.jain(np.array([np.nan, 3.0])) is None
    assert measures.max_min(np.array([1.0])) is None
    assert measures.max_min(np.array([1.0, 0.5, np.nan])) == 0.5


@given(st.floats(1, 1e8), st.floats(1, 3600), st.integers(1, 64))
def test_a_grid_has_limits_and_whole_windows(seconds, window, tenants):
    """However long the range and many the tenants: cells are limited, windows fit."""
    width, parts = courses.grid(seconds, window, tenants)

    assert seconds / width <= courses.MOST_BINS + 1
    assert parts >= 1
    assert width * parts <= max(seconds, window) + 1e-6


@pytest.mark.parametrize("days", [3, 6, 9, 200])
def test_long_stretches_are_whole_hours_of_the_clock(days):
    """They begin with a full hour, lie within the range, and tell what was given in them."""
    seconds = days * 86_400.0
    width, parts = courses.grid(seconds, 60.0, 2)
    edges = np.arange(int(seconds / width) + 1)
    rows = np.array([edges * width, edges * width * 2])
    begin = ZERO + timedelta(minutes=10)
    scope = Scope((1,), begin, begin + timedelta(seconds=seconds))
    found = stretches(made(rows, width=width, window_bins=parts), scope)

    assert found.width_seconds * len(found.total) == found.scope.seconds
    assert scope.start <= found.scope.start < found.scope.end <= scope.end
    assert len(found.total) <= MOST_STRETCHES * 1.5
    assert found.scope.seconds >= 0.95 * seconds
    np.testing.assert_allclose(found.given[1], 2 * found.width_seconds)
    np.testing.assert_allclose(found.total, 3 * found.width_seconds)
    if days > 5:
        assert found.width_seconds % 3600 == 0
        assert (found.scope.start - ZERO) % timedelta(hours=1) == timedelta(0)


def test_the_difference_of_two_ratios_has_an_interval():
    """Newcombe's example: 56/70 against 48/80 is 0.2, with 0.0524 to 0.3339."""
    from analysis.intervals import wilson

    one, other = wilson(56, 70), wilson(48, 80)
    assert one is not None
    assert other is not None
    low, high = measures.difference_interval((0.8, *one), (0.6, *other))
    assert (low, high) == (pytest.approx(0.0524, abs=5e-4), pytest.approx(0.3339, abs=5e-4))
