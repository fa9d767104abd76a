"""The roll-up of arrivals gives the numbers of every stamp, whatever came late or was deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from analysis.workload import gaps, streams, summed
from analysis.workload.arrivals import sorted_stamps
from analysis.workload.arrived import Stamped
from analysis.workload.views import workload_arrivals, workload_burstiness
from store.clock import WallClock
from store.database import Database
from store.queries.scope import Scope
from store.queries.workload import arrival_stamps
from store.requests import take_back
from store.retention import delete_old
from store.rollup import refresh, refresh_due
from store.settings import StoreSettings

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=400)
HOURS = 14
HOUR_MS = 3_600_000
MOST = 4  # gaps in a sample: with these few, what the roll-up keeps is enough
ARRIVAL = st.one_of(
    st.integers(0, HOURS * HOUR_MS),
    st.integers(0, HOURS * 3600).map(lambda second: second * 1000),  # a clock of whole seconds
    st.integers(0, 400).map(lambda n: 5 * HOUR_MS + n),  # many within one window
)


@pytest.fixture(scope="module")
def shared():
    with Database.open(None, StoreSettings(), WallClock()) as opened:
        yield opened


def frame(milliseconds, label="r", **columns):
    """Requests of the live fleet."""
    size = len(milliseconds)
    return pl.DataFrame(
        {
            "request_id": [f"{label}-{i}-{ms}" for i, ms in enumerate(milliseconds)],
            "arrived_at": [START.replace(tzinfo=None) + timedelta(milliseconds=ms)
                           for ms in milliseconds],
            "status": ["ok"] * size, **columns,
        },
        schema_overrides={"arrived_at": pl.Datetime("us")},
    )  # fmt: skip


def scope(low_seconds=0, high_seconds=HOURS * 3600 + 1):
    low, high = (START + timedelta(seconds=at) for at in (low_seconds, high_seconds))
    return Scope((1,), low, high)


def same_either_way(reader, asked):
    """What hours and stamps tell, as far as there are hours; gives whether there were."""
    found = summed.load_summed(reader, asked, "rollup", MOST)
    if found is None:
        return False
    stamped = Stamped(sorted_stamps(arrival_stamps(reader, asked, 1)), on_clock=True, most=MOST)
    ends = ("requests", "first_us", "last_us")
    assert [getattr(found, name) for name in ends] == [getattr(stamped, name) for name in ends]
    assert found.dispersions == pytest.approx(stamped.dispersions)
    for name in ("hours", "requests", "seconds"):
        assert np.array_equal(getattr(found.hourly, name), getattr(stamped.hourly, name))
    for width in (3600, 10_800):
        assert_frame_equal(found.rate(width), stamped.rate(width))
    if not summed.sampled_enough(found):
        return True
    ours, theirs = found.gaps, stamped.gaps
    for name in ("total", "span_us", "distinct_stamps", "largest_us", "largest_after_us", "step"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.variation == pytest.approx(theirs.variation)
    assert sorted(ours.sample_us) == sorted(theirs.sample_us)
    assert found.clock == stamped.clock
    return True


@settings(max_examples=12, deadline=None)
@given(
    batches=st.lists(st.lists(ARRIVAL, min_size=30, max_size=60), min_size=1, max_size=3),
    portions=st.lists(st.sampled_from([0, 30, 200]), min_size=3, max_size=3),
    start=st.integers(0, 3 * 3600),
    length=st.integers(3600, 11 * 3600),
)
def test_any_mix_of_summed_and_changed_hours_is_right(shared, batches, portions, start, length):
    """Whatever came when, late or in order, and wherever a range begins and ends."""
    for number, (batch, most) in enumerate(zip(batches, portions, strict=False)):
        counted = [None, True, False] * len(batch)
        rows = frame(batch, f"{number}", is_counted=counted[: len(batch)])
        shared.writer.append("request", rows).result()
        if most:
            shared.writer.run(lambda con, n=most: refresh(con, now=LATER, most_buckets=n)).result()
    same_either_way(shared.reader, scope(start, start + length))
    same_either_way(shared.reader, scope())


def test_late_and_deleted_rows_are_counted_again(database, random):
    """An hour whose rows changed is read from them until it was summed up again."""
    times = random.integers(0, HOURS * HOUR_MS, 300).tolist()
    database.writer.append("request", frame(times)).result()
    for change in ("none", "late", "deleted"):
        if change == "late":
            database.writer.append("request", frame(times[:9], "late")).result()
        if change == "deleted":
            gone = frame(times).head(20).select("request_id", pl.col("arrived_at").dt.epoch("us"))
            assert take_back(database.writer, gone.rows()).result() == 20
        assert same_either_way(database.reader, scope()) == (change != "none")
        refresh_due(database.writer, LATER, most_portions=100)
        assert same_either_way(database.reader, scope())
    assert summed.load_summed(database.reader, scope(), most=MOST).requests == 289


def test_hours_go_with_their_rows(database, random):
    """After retention the arrivals are those that are kept."""
    times = sorted(random.integers(0, HOURS * HOUR_MS, 300).tolist())
    database.writer.append("request", frame(times)).result()
    now = START + timedelta(days=90, hours=5)
    delete_old(database.writer, StoreSettings(request_retention_days=90), now)
    assert same_either_way(database.reader, scope())


def test_a_long_range_of_the_live_fleet_is_read_from_whole_hours(database, random, monkeypatch):
    """The view tells the same from hours and from rows, and of hours it reads no row."""
    monkeypatch.setattr(streams, "SUMMED_FROM_SECONDS", 0)
    monkeypatch.setattr(gaps, "MOST_FITTED_GAPS", MOST)
    times = random.integers(0, 300 * HOUR_MS, 1500).tolist()
    database.writer.append("request", frame(times)).result()
    asked = scope(high_seconds=300 * 3600)
    views = (workload_arrivals, workload_burstiness)
    of_rows = [view(database.reader, asked) for view in views]
    database.writer.run(lambda con: refresh(con, now=LATER, most_buckets=2000)).result()
    for view, before in zip(views, of_rows, strict=True):
        after = view(database.reader, asked)
        assert after.sentences == before.sentences
        assert_frame_equal(
            pl.DataFrame(list(after.measures.values())).drop("why"),
            pl.DataFrame(list(before.measures.values())).drop("why"),
        )
        for name, rows in before.frames.items():
            assert_frame_equal(after.frames[name], rows)
    database.writer.run(
        lambda con: con.execute("UPDATE rollup_arrival SET largest_gap_us = 1_000_000_000_000")
    ).result()
    changed = workload_arrivals(database.reader, asked).frames["sources"]
    assert changed["largest_gap_seconds"].to_list() == [1e6]
