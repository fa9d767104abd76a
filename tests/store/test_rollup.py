"""Roll-ups give the numbers of the raw rows, whatever is dirty, and cost bounded portions."""

from datetime import UTC, datetime, timedelta
from itertools import count

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from store.queries.rollup import MOST_RAW_PIECES, counts, split
from store.queries.scope import Scope
from store.rollup import QUANTITIES, refresh, refresh_due

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=400)
EVERYTHING = ("arrival", *QUANTITIES)


def requests(minutes, **columns):
    n = len(minutes)
    frame = pl.DataFrame(
        {
            "request_id": [f"{m}-{i}" for i, m in enumerate(minutes)],
            "arrived_at": [START.replace(tzinfo=None) + timedelta(minutes=m) for m in minutes],
            "status": [("ok", "failed", "ok", "aborted")[i % 4] for i in range(n)],
            "model": [("a", "b", None)[i % 3] for i in range(n)],
            "tenant": [("x", "y")[i % 2] for i in range(n)],
            "route": [("r", None)[i % 2] for i in range(n)],
            "input_tokens": [i * 37 % 5000 for i in range(n)],
            "output_tokens": [i * 11 % 300 if i % 5 else None for i in range(n)],
            "ttft_seconds": [0.01 * (i % 50) if i % 3 else None for i in range(n)],
            "e2e_seconds": [0.5 + 0.1 * (i % 90) for i in range(n)],
            "is_counted": [
                (True, None, True, False)[i % 4] if i % 8 > 3 else None for i in range(n)
            ],
        },
        schema_overrides={"arrived_at": pl.Datetime("us")},
    )
    return frame.with_columns(**{name: pl.lit(each) for name, each in columns.items()})


def scope(start_minutes=0, end_minutes=10 * 1440, **labels):
    return Scope(
        (1,), START + timedelta(minutes=start_minutes), START + timedelta(minutes=end_minutes),
        **labels,
    )  # fmt: skip


def same_either_way(database, asked, bin_seconds, **options):
    rolled = counts(database.reader, asked, EVERYTHING, bin_seconds, use="rollup", **options)
    raw = counts(database.reader, asked, EVERYTHING, bin_seconds, use="raw", **options)
    assert_frame_equal(rolled, raw, check_exact=False)
    summed, from_rows = (
        counts(
            database.reader, asked, ("ttft",), bin_seconds, sums=("arrival", "input_tokens"),
            use=use, **options,
        )
        for use in ("rollup", "raw")
    )  # fmt: skip
    assert_frame_equal(summed, from_rows, check_exact=False)
    return raw


@pytest.mark.parametrize(
    ("asked", "bin_seconds", "by"),
    [
        (scope(), 600, None),
        (scope(), 3600, "model"),
        (scope(), None, "tenant"),
        (scope(), None, None),
        (scope(7, 9 * 1440 + 3), 1200, "route"),
        (scope(7, 9 * 1440 + 3, models=("a",)), 600, None),
        (scope(65, 9 * 1440 + 3, tenants=("x",)), 7200, None),
        (scope(7, 12), 600, None),
        (scope(models=("a",), tenants=("x",)), 3600, None),
        (scope(instances=("none",)), 3600, None),
    ],
)
def test_rollups_equal_the_raw_rows(database, asked, bin_seconds, by):
    """Every quantity, label and width has the same counts from either table."""
    minutes = [i * 13 % (9 * 1440) for i in range(1500)]
    database.writer.append("request", requests(minutes)).result()
    refresh_due(database.writer, LATER, most_portions=1000)
    assert database.reader.scalar("SELECT count(*) FROM rollup_dirty") == 0
    same_either_way(database, asked, bin_seconds, by=by)


@pytest.mark.parametrize(("use", "by"), [("raw", None), ("raw", "model"), ("rollup", "route")])
def test_sums_are_the_same_without_bins(database, use, by):
    """What needs no bins has the same number and sum as with them."""
    database.writer.append("request", requests([i * 13 % 9000 for i in range(500)])).result()
    refresh_due(database.writer, LATER, most_portions=1000)
    asked = ("input_tokens", "output_tokens", "ttft")
    options = {"by": by, "use": use}
    binned = counts(database.reader, scope(), ("arrival", *asked), 3600, **options)
    whole = counts(database.reader, scope(), ("arrival",), 3600, sums=asked, **options)
    keys = ["at", "status", "quantity", *([by] if by else [])]
    totals = binned.group_by(keys).agg(
        pl.col("requests").sum(), pl.when(pl.col("value_sum").count() > 0)
        .then(pl.col("value_sum").sum()).alias("value_sum"),
    )  # fmt: skip
    columns = [*keys, "requests", "value_sum"]
    assert_frame_equal(
        whole.select(columns).sort(keys), totals.select(columns).sort(keys), check_exact=False
    )
    assert set(whole["log_bin"]) == {0}


def test_dirty_buckets_are_read_from_the_raw_rows(database):
    """Rows that came after the roll-up count at once."""
    database.writer.append("request", requests(list(range(0, 8000, 7)))).result()
    refresh_due(database.writer, LATER, most_portions=1000)
    before = same_either_way(database, scope(), 600)["requests"].sum()
    late = requests([3, 500, 500, 7000]).with_columns(request_id=pl.lit("late") + pl.col("model"))
    database.writer.append("request", late.with_columns(pl.col("request_id").fill_null("z")))
    database.writer.flush()
    assert database.reader.scalar("SELECT count(*) FROM rollup_dirty") == 3
    after = same_either_way(database, scope(), 600)["requests"].sum()
    assert after > before
    refresh_due(database.writer, LATER)
    assert same_either_way(database, scope(), 600)["requests"].sum() == after


@settings(max_examples=12, deadline=None)
@given(
    batches=st.lists(st.lists(st.integers(0, 600), max_size=30), min_size=1, max_size=4),
    start=st.integers(0, 300),
    length=st.integers(1, 400),
    width=st.sampled_from([600, 1800, 3600, None]),
    refreshed=st.lists(st.integers(0, 5), min_size=4, max_size=4),
)
def test_any_mix_of_clean_and_dirty_is_right(shared, batches, start, length, width, refreshed):
    """Whatever was counted when, roll-up and raw rows tell the same."""
    for batch, portion in zip(batches, refreshed, strict=False):
        frame = requests(batch)
        shared.writer.append("request", frame).result()
        if portion:
            shared.writer.run(
                lambda con, most=portion: refresh(con, now=LATER, most_buckets=most)
            ).result()
    same_either_way(shared, scope(start, start + length), width)


def test_a_refresh_takes_a_bounded_portion(database):
    """A backlog is worked off portion by portion, and says how much is left."""
    database.writer.append("request", requests(list(range(0, 1000, 10)))).result()
    done = database.writer.run(lambda con: refresh(con, now=LATER, most_buckets=30)).result()
    assert (done.buckets, done.buckets_left) == (30, 70)
    done = refresh_due(database.writer, LATER)
    assert (done.buckets, done.buckets_left) == (70, 0)
    assert refresh_due(database.writer, LATER).buckets == 0


@pytest.mark.parametrize(("portion_seconds", "buckets"), [(0.9, 4 * 36), (1.1, 36 + 18 + 36 + 36)])
def test_after_a_portion_that_held_up_appends_the_next_is_smaller(
    database, portion_seconds, buckets
):
    """A store with many requests an hour is rolled up in shorter steps, where that helps."""
    if database.writer.is_shared:
        pytest.skip("a lake's portions are larger, by the same rule")
    database.writer.append("request", requests(list(range(0, 2000, 10)))).result()
    stopwatch = count(step=portion_seconds).__next__
    done = refresh_due(database.writer, LATER, most_portions=4, stopwatch=stopwatch)
    assert (done.buckets, done.buckets_left) == (buckets, 200 - buckets)


def test_a_live_bucket_waits_until_it_is_over(database):
    """The ten minutes that go on are not counted again and again."""
    database.writer.append("request", requests([0, 5, 12])).result()
    done = refresh_due(database.writer, START + timedelta(minutes=13))
    assert (done.buckets, done.buckets_left) == (1, 0)
    assert database.reader.scalar("SELECT count(*) FROM rollup_dirty") == 1


def test_counts_outlive_the_rows_they_were_made_of(database):
    """After retention, an old roll-up is kept even when a straggler marks its bucket."""
    database.writer.append("request", requests(list(range(60)), is_counted=None)).result()
    refresh_due(database.writer, LATER)
    database.writer.run(lambda con: con.execute("DELETE FROM request")).result()
    database.writer.append("request", requests([5])).result()
    refresh_due(database.writer, LATER, kept_since=START + timedelta(days=1))
    sql = "SELECT sum(request_count)::BIGINT FROM rollup_10m WHERE quantity = 'arrival'"
    assert database.reader.scalar(sql) == 60


def test_short_ranges_and_scattered_dirt_are_read_raw(database):
    """Roll-ups are used where they save time, and only there."""
    database.writer.append("request", requests(list(range(0, 14_000, 10)))).result()
    with database.reader.snapshot() as snapshot:
        assert split(snapshot, scope(), 600).table == "rollup_10m"
        assert split(snapshot, scope(), 60).table is None
        assert split(snapshot, scope(end_minutes=700), 600).table is None
        assert split(snapshot, scope(instances=("i",)), 600).table is None
        assert split(snapshot, scope(tenants=("x",)), 3600).table == "rollup_1h"
    refresh_due(database.writer, LATER, most_portions=1000)
    scattered = requests([i * 60 for i in range(MOST_RAW_PIECES + 5)])
    database.writer.append("request", scattered.with_columns(request_id=pl.lit("s"))).result()
    with database.reader.snapshot() as snapshot:
        assert split(snapshot, scope(), 600).table is None


def test_an_empty_store_gives_an_empty_frame(database):
    """No rows: the right columns and nothing in them."""
    found = counts(database.reader, scope(), ("arrival",), 600, by="model")
    assert found.is_empty()
    assert found.columns == [
        "at", "status", "quantity", "log_bin", "requests", "value_sum", "model",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="speed"):
        counts(database.reader, scope(), ("speed",), 600)
