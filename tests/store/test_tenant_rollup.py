"""The roll-up of tenants gives the numbers of the rows, whatever came late or was deleted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from store import rollup
from store.errors import StoreError
from store.queries.fairness import first_tokens, flows, tenants
from store.queries.fairness_durations import durations
from store.queries.scope import Scope
from store.queries.tenant_rows import first_on_grid, parts
from store.queries.token_cost import Cost
from store.requests import take_back
from store.rollup import refresh, refresh_due

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=400)
HOURS = 20
ONE = st.tuples(
    st.integers(0, HOURS * 3600 * 1000),  # arrival, milliseconds
    st.sampled_from(["a", "b", "c", None]),
    st.sampled_from(["ok", "ok", "failed", "refused", "aborted"]),
    st.sampled_from([None, 0.0, 0.3, 29.7, 5000.0]),  # first token
    st.sampled_from([None, 0.0, 1e-5, 60.0, 7000.0]),  # after that
    st.sampled_from([None, 0.0, 0.1, 45.0]),  # queue
    st.sampled_from([None, 1, 700]),
    st.sampled_from([None, 0, 90]),
    st.sampled_from([None, True, False]),
)


def frame(rows, label="r"):
    def column(place):
        return [row[place] for row in rows]

    ends = [None if r[4] is None else (r[3] or 0.0) + r[4] for r in rows]
    at = [START.replace(tzinfo=None) + timedelta(milliseconds=row[0]) for row in rows]
    return pl.DataFrame(
        {
            "request_id": [f"{label}-{i}-{row[0]}" for i, row in enumerate(rows)],
            "arrived_at": at, "tenant": column(1), "status": column(2), "ttft_seconds": column(3),
            "e2e_seconds": ends, "queue_seconds": column(5), "input_tokens": column(6),
            "output_tokens": column(7), "is_counted": column(8),
        },
        schema_overrides={
            "arrived_at": pl.Datetime("us"), "tenant": pl.String, "ttft_seconds": pl.Float64,
            "e2e_seconds": pl.Float64, "queue_seconds": pl.Float64, "input_tokens": pl.Int64,
            "output_tokens": pl.Int64, "is_counted": pl.Boolean,
        },
    )  # fmt: skip


def plain(count=40, every_seconds=900):
    """Requests of two tenants, all served."""
    return frame([(i * every_seconds * 1000, "ab"[i % 2], "ok", 1.5, 100.0, 0.5, 100, 50, None)
                  for i in range(count)])  # fmt: skip


def scope(start_seconds=0, seconds=HOURS * 3600, **labels):
    first = START + timedelta(seconds=start_seconds)
    return Scope((1,), first, first + timedelta(seconds=seconds), **labels)


def summed(found):
    keys = [name for name in ("slot", "bin", "tenant", "status", "log_bin") if name in found]
    sums = [pl.col(name).cast(pl.Float64).sum() for name in found.columns
            if name not in [*keys, "longest_input"]]  # fmt: skip
    longest = [pl.col("longest_input").max()] if "longest_input" in found else []
    kept = found.group_by(keys).agg(*sums, *longest).sort(keys, nulls_last=True)
    # Half a minute in which as much began as ended has a row in one and none in the other.
    some = pl.any_horizontal(pl.col(name).abs() > 1e-6 for name in kept.columns if name not in keys)
    return kept.filter(some.fill_null(False))


def of_hours(asked):
    """The same from the next full hour on."""
    return replace(asked, start=asked.start + (START - asked.start) % timedelta(hours=1))


def same_either_way(database, asked, width_seconds=60.0):
    """The sums of the roll-up and of the rows; gives how many requests there were."""
    found = {
        use: (
            summed(tenants(database.reader, asked, Cost(), use=use).drop("log_bin")),
            summed(
                tenants(database.reader, asked, Cost(), use=use)
                .filter(pl.col("first_tokens") > 0)
                .select("tenant", "status", "log_bin", "first_tokens")
            ),
            # What happens after the range is of no use; the roll-up leaves it out.
            summed(
                flows(database.reader, asked, Cost(), ["a", "b"], width_seconds, use=use).filter(
                    pl.col("bin") < asked.seconds // width_seconds
                )
            ),
            summed(durations(database.reader, asked, use=use)),
            summed(first_tokens(database.reader, of_hours(asked), ["a", "b"], 7200.0, use=use)),
        )
        for use in ("rollup", "rows")
    }
    for rolled, rows in zip(found["rollup"], found["rows"], strict=True):
        assert_frame_equal(rolled, rows, abs_tol=1e-6, rel_tol=1e-9)
    return found["rows"][0]["requests"].sum()


@settings(max_examples=12, deadline=None)
@given(
    batches=st.lists(st.lists(ONE, max_size=25), min_size=1, max_size=3),
    start=st.integers(0, 4 * 120).map(lambda half_minutes: half_minutes * 30),
    width=st.sampled_from([30.0, 60.0, 900.0]),
    portions=st.lists(st.integers(0, 60), min_size=3, max_size=3),
    labels=st.sampled_from([{}, {"tenants": ("b", "c")}]),
)
def test_any_mix_of_counted_and_changed_hours_is_right(
    shared, batches, start, width, portions, labels
):
    """Rows of any kind, in any order, some of them late: roll-up and rows tell the same."""
    for number, (batch, portion) in enumerate(zip(batches, portions, strict=False)):
        if batch:
            shared.writer.append("request", frame(batch, f"{id(batch)}-{number}")).result()
        if portion:
            shared.writer.run(
                lambda con, most=portion: refresh(con, now=LATER, most_buckets=most)
            ).result()
    same_either_way(shared, scope(start, HOURS * 3600 - start, **labels), width)


def test_what_a_refresh_broken_off_leaves_is_true(database, monkeypatch):
    """Nothing is half counted: the hour stays as it was, and is counted by the next run."""
    database.writer.append("request", plain()).result()
    refresh_due(database.writer, LATER)
    database.writer.append("request", frame([(5000, "a", "ok", 1.0, 9.0, 0.5, 70, 7, None)]))
    broken = "SELECT no_such_column FROM request, {hours}"
    monkeypatch.setitem(rollup._BY_HOUR, "rollup_flow", broken)
    with pytest.raises(StoreError, match="rolled back"):
        refresh_due(database.writer, LATER)
    assert database.reader.scalar("SELECT sum(requests)::INTEGER FROM rollup_tenant") == 40
    assert same_either_way(database, scope()) == 41
    monkeypatch.undo()
    refresh_due(database.writer, LATER)
    assert database.reader.scalar("SELECT sum(requests)::INTEGER FROM rollup_tenant") == 41
    assert same_either_way(database, scope()) == 41


def test_what_an_import_takes_back_is_gone(database):
    """Rows that are deleted again leave the sums of their hour."""
    rows = plain()
    database.writer.append("request", rows).result()
    refresh_due(database.writer, LATER)
    first = rows.head(3).select("request_id", pl.col("arrived_at").dt.epoch("us")).rows()
    assert take_back(database.writer, first).result() == 3
    assert same_either_way(database, scope()) == 37
    refresh_due(database.writer, LATER)
    assert same_either_way(database, scope()) == 37
    assert database.reader.scalar("SELECT count(*) FROM rollup_dirty") == 0


def test_sums_outlive_the_rows_they_were_made_of(database):
    """After retention long ranges are told from what was counted."""
    database.writer.append("request", plain()).result()
    refresh_due(database.writer, LATER)
    database.writer.run(lambda con: con.execute("DELETE FROM request")).result()
    database.writer.append("request", plain(1)).result()
    refresh_due(database.writer, LATER, kept_since=START + timedelta(days=1))
    found = tenants(database.reader, scope(), Cost())
    assert found["requests"].sum() == 40
    assert found["first_tokens"].sum() == 40


def test_only_what_the_roll_up_knows_is_asked_of_it(database):
    """Other weights, other labels, short ranges and odd bins are of the rows."""
    database.writer.append("request", plain()).result()
    refresh_due(database.writer, LATER)
    asked = scope(seconds=HOURS * 3600 + 1200)
    found = parts(database.reader, asked)
    assert sum((high - low for low, high in found.rolled), timedelta()) == timedelta(hours=HOURS)
    assert sum((high - low for low, high in found.raw), timedelta()) == timedelta(minutes=20)
    for other in (
        parts(database.reader, asked, Cost(output_weight=1)),
        parts(database.reader, scope(models=("m",))),
        parts(database.reader, scope(seconds=3600)),
    ):
        assert not other.rolled
    database.writer.run(lambda con: con.execute("DELETE FROM rollup_flow")).result()
    assert flows(database.reader, asked, Cost(), ["a"], 45.0)["asked"].sum() > 0
    assert flows(database.reader, asked, Cost(), ["a"], 60.0)["asked"].sum() == 0


def test_a_range_begins_with_a_whole_bin():
    """Less than one is left out, and nothing where it begins with one."""
    assert first_on_grid(scope(30)) == scope(30)
    odd = Scope((1,), START + timedelta(microseconds=1), START + timedelta(days=1))
    assert first_on_grid(odd).start == START + timedelta(seconds=30)
