"""The roll-up of phases gives the numbers of the rows, whatever came late or was deleted."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from store.queries.phases import phase_sums_by_e2e, phase_sums_by_time
from store.queries.scope import Scope
from store.rollup import refresh, refresh_due

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=400)
HOURS = 20
SECONDS = st.sampled_from([None, 0.0, 0.3, 7.5])
ONE = st.tuples(
    st.integers(0, HOURS * 3600),  # arrival, seconds
    st.sampled_from(["ok", "ok", "ok", "failed"]),
    st.sampled_from([None, 0.0, 1e-5, 60.0, 7000.0]),  # whole duration
    SECONDS,  # first token
    st.sampled_from([None, -1.0, 0.0, 0.1, 45.0]),  # queue: a negative one is a bad stamp
    SECONDS,  # prefill
    SECONDS,  # decode
    st.sampled_from([None, True, False]),
    st.sampled_from(["a", "b", None]),
)
NUMBERS = ("e2e", "ttft", "queue", "prefill", "decode")


def frame(rows, label="r"):
    at = [START.replace(tzinfo=None) + timedelta(seconds=row[0]) for row in rows]
    latencies = {f"{name}_seconds": [row[2 + i] for row in rows] for i, name in enumerate(NUMBERS)}
    return pl.DataFrame(
        {
            "request_id": [f"{label}-{i}-{row[0]}" for i, row in enumerate(rows)],
            "arrived_at": at, "status": [row[1] for row in rows], **latencies,
            "is_counted": [row[7] for row in rows], "model": [row[8] for row in rows],
            "route": [row[8] for row in rows],
        },
        schema_overrides={
            "arrived_at": pl.Datetime("us"), "model": pl.String, "route": pl.String,
            "is_counted": pl.Boolean, **dict.fromkeys(latencies, pl.Float64),
        },
    )  # fmt: skip


def scope(low_seconds=0, high_seconds=HOURS * 3600 + 1, **labels):
    low, high = (START + timedelta(seconds=at) for at in (low_seconds, high_seconds))
    return Scope((1,), low, high, **labels)


def same_either_way(reader, asked, width=3600):
    """Both questions, from hours and from rows."""
    found = phase_sums_by_e2e(reader, asked, "rollup")
    assert_frame_equal(found, phase_sums_by_e2e(reader, asked, "rows"), check_exact=False)
    by_time = phase_sums_by_time(reader, asked, width, "rollup")
    assert_frame_equal(by_time, phase_sums_by_time(reader, asked, width, "rows"), check_exact=False)
    return found


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(ONE, min_size=8, max_size=15), min_size=1, max_size=3),
    st.lists(st.sampled_from([0, 4, 200]), min_size=3, max_size=3),
    st.integers(0, 9 * 3600),
    st.integers(1, 11 * 3600),
    st.sampled_from([{}, {"models": ("a",)}, {"routes": ("a", "b")}, {"models": ("none",)}]),
    st.sampled_from([3600, 10_800, 600]),
)
def test_any_mix_of_clean_and_dirty_hours_is_right(
    shared, batches, portions, start, length, labels, width
):
    """Whatever was counted when, and wherever a range begins and ends."""
    for number, (batch, most) in enumerate(zip(batches, portions, strict=False)):
        shared.writer.append("request", frame(batch, f"{number}")).result()
        if most:
            shared.writer.run(lambda con, n=most: refresh(con, now=LATER, most_buckets=n)).result()
    same_either_way(shared.reader, scope(start, start + length, **labels), width)
    same_either_way(shared.reader, scope(), width)


def test_late_and_deleted_rows_are_counted_again(database):
    """An hour whose rows changed is read from them until it was summed up again."""
    rows = [(i * 700, "ok", 10.0 + i % 7, 0.3, 0.1, None, None, None, "a") for i in range(100)]
    database.writer.append("request", frame(rows)).result()
    refresh_due(database.writer, LATER, most_portions=100)
    assert same_either_way(database.reader, scope())["requests"].sum() == 100
    database.writer.append("request", frame(rows[:3], "late")).result()
    assert same_either_way(database.reader, scope())["requests"].sum() == 103
    refresh_due(database.writer, LATER, most_portions=100)
    assert same_either_way(database.reader, scope())["requests"].sum() == 103


def test_a_long_range_is_read_from_whole_hours(database):
    """Rows of summed-up hours are not looked at; those at both ends are."""
    rows = [(i * 360, "ok", 9.0, 0.3, 0.1, None, None, None, "a") for i in range(HOURS * 10)]
    database.writer.append("request", frame(rows)).result()
    refresh_due(database.writer, LATER, most_portions=100)
    database.writer.run(lambda con: con.execute("DELETE FROM rollup_phase")).result()
    found = phase_sums_by_e2e(database.reader, scope(1800, HOURS * 3600 - 1800))
    assert found["requests"].to_list() == [10]
    short = phase_sums_by_e2e(database.reader, scope(1800, 10 * 3600))
    assert short["requests"].to_list() == [95]
    other = phase_sums_by_e2e(database.reader, scope(tenants=("nobody",)))
    assert other.is_empty()
