"""What the SLO views say, against a second count in plain Python over the same rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from analysis.burn import default_alerts
from analysis.slo import check
from analysis.slo_counting import bin_width_seconds, good_rule
from analysis.slo_model import NOMINAL_SECONDS, Calendar, Slo, SloMatch
from analysis.slo_views import slo_detail, slo_list
from analysis.slo_window import window_of
from store import rollup, slo_rollup
from store.clock import VirtualClock
from store.database import Database
from store.queries.scope import Scope
from store.settings import StoreSettings

# Off every grid, so that no window begins where a bucket does.
NOW = datetime(2026, 3, 1, 12, 3, 27, tzinfo=UTC)
# An example fills a store: shrinking one takes minutes.
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
HOUR, DAY = 3600.0, 86_400.0
SLOS = (
    Slo("long", "ttft", 0.9, 3 * DAY, ttft_seconds=1.0, alerts=default_alerts(3 * DAY)),
    Slo("day", "ttft", 0.95, DAY, ttft_seconds=0.5, alerts=default_alerts(DAY)),
    Slo("up", "availability", 0.75, 2 * DAY, count_aborted=False),
    Slo("both", "goodput", 0.8, 7 * HOUR, ttft_seconds=1.0, tpot_seconds=0.05),
    Slo("mine", "tpot", 0.5, 30 * HOUR, tpot_seconds=0.05, match=SloMatch(models=("a",))),
    # Midnight in Nepal is on no bucket's edge.
    Slo("month", "ttft", 0.9, NOMINAL_SECONDS["month"], ttft_seconds=1.0,
        alerts=default_alerts(30 * DAY), calendar=Calendar("month", "Asia/Kathmandu")),
    Slo("week", "availability", 0.75, NOMINAL_SECONDS["week"], calendar=Calendar("week")),
)  # fmt: skip


def own_seconds(slo: Slo, scope: Scope) -> float:
    return window_of(slo, scope.end).elapsed_seconds


@dataclass(frozen=True)
class Row:
    """One request: seconds before NOW and what became of it."""

    ago: float
    status: str
    model: str | None
    tenant: str | None
    ttft: float | None
    tpot: float | None
    tokens: int | None


ROWS = st.lists(
    st.builds(
        Row,
        st.one_of(
            st.floats(0.000001, 3.2 * DAY).map(lambda ago: round(ago, 6)),
            # Exactly on the edges of windows and of bins.
            st.sampled_from([300.0, HOUR, 6 * HOUR, 7 * HOUR, DAY, 30 * HOUR, 2 * DAY, 3 * DAY]),
        ),
        st.sampled_from(["ok", "ok", "ok", "failed", "refused", "aborted"]),
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["x", "y", "y", None]),
        st.sampled_from([0.1, 0.5, 0.50001, 1.0, 2.0, None]),
        st.sampled_from([0.01, 0.05, 0.06, None]),
        st.sampled_from([1, 100, 5000, None]),
    ),
    min_size=1,
    max_size=150,
)


def outcome(slo: Slo, row: Row) -> bool | None:
    """Good, bad, or undetermined: the definition, word by word."""
    if row.status == "aborted" and not slo.count_aborted:
        return None
    if row.status != "ok":
        return False
    limits = [(row.ttft, slo.ttft_seconds), (row.tpot, slo.tpot_seconds)]
    asked = [(value, limit) for value, limit in limits if limit is not None]
    if any(value is not None and value > limit for value, limit in asked):
        return False
    return None if any(value is None for value, _ in asked) else True


def meant(slo: Slo, rows: list[Row], scope: Scope, seconds: float) -> list[Row]:
    return [
        row
        for row in rows
        if 0 < row.ago <= seconds
        and (not slo.match.models or row.model in slo.match.models)
        and (not scope.models or row.model in scope.models)
        and (not scope.tenants or row.tenant in scope.tenants)
    ]


def tally(slo: Slo, rows: list[Row], scope: Scope, seconds: float) -> Counter[bool | None]:
    return Counter(outcome(slo, row) for row in meant(slo, rows, scope, seconds))


def burn(slo: Slo, rows: list[Row], scope: Scope, seconds: float) -> float | None:
    found = tally(slo, rows, scope, seconds)
    came = found[True] + found[False]
    if not came or seconds > slo.window_seconds:
        return None
    return pytest.approx(found[False] / came / (1 - slo.target_ratio))


def fill(database: Database, rows: list[Row]) -> None:
    size = database.reader.scalar("SELECT count(*) FROM request")
    frame = pl.DataFrame(
        {
            "request_id": [f"{size + i}" for i in range(len(rows))],
            "arrived_at": [(NOW - timedelta(seconds=r.ago)).replace(tzinfo=None) for r in rows],
            "status": [r.status for r in rows],
            "model": pl.Series([r.model for r in rows], dtype=pl.String),
            "tenant": pl.Series([r.tenant for r in rows], dtype=pl.String),
            "ttft_seconds": pl.Series([r.ttft for r in rows], dtype=pl.Float64),
            "tpot_seconds": pl.Series([r.tpot for r in rows], dtype=pl.Float64),
            "input_tokens": pl.Series([r.tokens for r in rows], dtype=pl.Int64),
        }
    )
    database.writer.append("request", frame).result()


def roll(database: Database) -> None:
    rollup.refresh_due(database.writer, NOW)
    slo_rollup.refresh_due(database.writer, [good_rule(slo, {}) for slo in SLOS])


def opened() -> Database:
    return Database.open(None, StoreSettings(threads=1), VirtualClock(NOW))


def assert_true(database: Database, rows: list[Row], scope: Scope) -> None:
    """Every number of the list and of each detail page is the one counted by hand."""
    listed = slo_list(database.reader, scope, slos=SLOS).frames["slos"]
    for slo in SLOS:
        line = listed.filter(pl.col("name") == slo.name).row(0, named=True)
        found = tally(slo, rows, scope, own_seconds(slo, scope))
        came = found[True] + found[False]
        assert (line["attempted"], line["undetermined"]) == (came, found[None])
        measured = came > 0 and line["status"] != "no data"
        if measured:
            assert (line["good"], line["bad"]) == (found[True], found[False])
            assert line["attainment_ratio"] == found[True] / came
            spent = found[False] / came / (1 - slo.target_ratio)
            spent *= window_of(slo, scope.end).elapsed_ratio
            assert line["budget_left_ratio"] == pytest.approx(1 - spent, abs=1e-9)
            assert line["burn_1h"] == burn(slo, rows, scope, HOUR)
            assert line["burn_6h"] == burn(slo, rows, scope, 6 * HOUR)
        detail = slo_detail(database.reader, scope, slos=SLOS, slo=slo.name)
        own = detail.frames["slos"].row(0, named=True)
        assert own == line
        if measured:
            assert_spent(detail.frames["spent_by"], slo, rows, scope)
            assert_curve(detail.frames["threshold_curve"], slo, line["attainment_ratio"])


def assert_spent(spent: pl.DataFrame, slo: Slo, rows: list[Row], scope: Scope) -> None:
    found = tally(slo, rows, scope, own_seconds(slo, scope))
    for _, part in spent.filter(pl.col("dimension") != "hour").group_by("dimension"):
        assert part["bad"].sum() == found[False]
        assert part["attempted"].sum() == found[True] + found[False]
        assert part["traffic_share_ratio"].sum() == pytest.approx(1.0)
        if found[False]:
            assert part["bad_share_ratio"].sum() == pytest.approx(1.0)


def assert_curve(curve: pl.DataFrame, slo: Slo, attainment: float) -> None:
    if curve.is_empty():
        return
    limit = next(iter(slo.limits_seconds.values()))
    assert curve["threshold_seconds"].is_unique().all()
    assert curve["attainment_ratio"].is_sorted()
    assert curve.filter(pl.col("threshold_seconds") == limit)["attainment_ratio"].item() == (
        attainment
    )


@settings(max_examples=8, deadline=None, phases=QUICK)
@given(ROWS, st.booleans(), st.sampled_from([{}, {"models": ("a",)}, {"tenants": ("y", "x")}]))
def test_every_number_is_the_one_counted_by_hand(rows, rolled, labels):
    """List and detail agree with each other and with a plain count, rolled up or not."""
    with opened() as database:
        fill(database, rows)
        if rolled:
            roll(database)
        assert_true(database, rows, Scope((1,), NOW - timedelta(hours=2), NOW, **labels))


@settings(max_examples=8, deadline=None, phases=QUICK)
@given(ROWS, ROWS, st.floats(0.0, 2 * DAY))
def test_late_rows_and_any_end_of_the_range(early, late, back):
    """Rows that come after the roll-up count at once, wherever the windows begin."""
    with opened() as database:
        fill(database, early)
        roll(database)
        fill(database, late)
        back = round(back, 6)
        moved = [replace(row, ago=round(row.ago - back, 6)) for row in [*early, *late]]
        end = NOW - timedelta(seconds=back)
        assert_true(database, moved, Scope((1,), end - timedelta(hours=2), end))


@pytest.mark.parametrize("hours", [3, 24, 60])
def test_charts_of_a_range_show_each_request_once_and_where_it_was(hours):
    """Bins of events add up to the requests of the range; a burn is that of its own window."""
    rows = [
        Row(30.0 + 61 * i, "ok" if i % 7 else "failed", "a", "x", 0.1, 0.01, 10)
        for i in range(4200)
    ]
    scope = Scope((1,), NOW - timedelta(hours=hours), NOW)
    with opened() as database:
        fill(database, rows)
        roll(database)
        frames = slo_detail(database.reader, scope, slos=SLOS, slo="long").frames
    events = frames["events"]
    stamps = [(NOW - timedelta(seconds=r.ago)).replace(tzinfo=None) for r in rows]
    width = events["at"][1] - events["at"][0]
    for at, good, bad, _ in events.iter_rows():
        inside = [
            row.status
            for row, stamp in zip(rows, stamps, strict=True)
            if at <= stamp < at + width and stamp >= scope.start.replace(tzinfo=None)
        ]
        assert (good + bad, bad) == (len(inside), inside.count("failed"))
    for point in frames["burn"].iter_rows(named=True):
        ago = (NOW.replace(tzinfo=None) - point["at"]).total_seconds()
        shifted = [replace(row, ago=row.ago - ago) for row in rows if row.ago > ago]
        if point["burn_5m"] is not None:
            assert point["burn_5m"] == burn(SLOS[0], shifted, scope, 300.0)
        if hours <= 24:
            assert point["burn_5m"] is not None
            assert point["burn_1h"] == burn(SLOS[0], shifted, scope, HOUR)


def test_a_spent_budget_has_the_time_at_which_it_went(database, add_requests, live_scope):
    """Spent to the last request is spent, whatever 1 - 0.99 is in binary; the bin is named."""
    end = live_scope.end
    for target, bad in ((0.9, 100), (0.95, 50), (0.99, 10), (0.999, 1)):
        slo = Slo("s", "availability", target, DAY, minimum_bad_events=1)
        model = f"m{bad}"
        slo = replace(slo, match=SloMatch(models=(model,)))
        add_requests(
            [3600.0 + i for i in range(1000)],
            model=model,
            # The newest ones are bad, so the last of them spends the budget.
            status=["failed" if i < bad else "ok" for i in range(1000)],
        )
        (status,) = check(database.reader, [slo], live_scope)
        assert (status.budget_left_ratio, status.status) == (0.0, "exhausted")
        assert timedelta(0) <= end - status.exhausted_at <= timedelta(hours=1)
        assert status.met is True


def test_status_words_of_made_up_histories(database, add_requests, live_scope):
    """Each word means what it says, for the history that it was made for."""
    histories = {
        "healthy": ([0.0] * 2000, []),
        "too few events": ([0.0] * 20, []),
        "exhausted": ([0.0] * 900, [1800.0 + i for i in range(200)]),
        "burning": ([0.0] * 20_000, [10.0 + i for i in range(60)]),
    }
    for name, (good, bad) in histories.items():
        spread = [20_000.0 + 3.0 * i for i in range(len(good))]
        add_requests(spread + bad, model=name, status=["ok"] * len(good) + ["failed"] * len(bad))
        slo = Slo(
            "s",
            "availability",
            0.99,
            DAY,
            match=SloMatch(models=(name,)),
            alerts=default_alerts(DAY),
        )
        (status,) = check(database.reader, [slo], live_scope)
        assert status.status == name, status.why
    (nothing,) = check(
        database.reader,
        [Slo("s", "availability", 0.99, DAY, match=SloMatch(models=("?",)))],
        live_scope,
    )
    assert (nothing.status, nothing.attainment_ratio, nothing.met) == ("no data", None, None)


def test_requests_without_a_label_are_not_left_out_of_the_shares(
    database, add_requests, live_scope
):
    """Who is a tenth of the traffic is not called all of it because the rest names nobody."""
    tenants = ["x" if i % 10 == 0 else None for i in range(1000)]
    add_requests(
        [5.0 + i for i in range(1000)],
        tenant=tenants,
        status=["failed" if i % 4 == 0 else "ok" for i in range(1000)],
    )
    slo = Slo("up", "availability", 0.9, DAY)
    detail = slo_detail(database.reader, live_scope, slos=[slo], slo="up")
    rows = {row["value"]: row for row in detail.frames["spent_by"].iter_rows(named=True)}
    assert rows["x"]["traffic_share_ratio"] == pytest.approx(0.1)
    assert rows["x"]["bad_share_ratio"] == pytest.approx(50 / 250)
    assert rows["(none)"]["bad"] == 200


def test_bins_of_counts_divide_five_minutes():
    """However far back counts go, a burn over five minutes is over five minutes."""
    slo = SLOS[0]
    for days in (1, 7, 30, 60, 90, 120):
        width = bin_width_seconds([slo], days * DAY)
        assert 300 % width == 0
        assert days * DAY / width <= 50_000
    assert bin_width_seconds([slo], 400 * DAY) % 300 == 0
