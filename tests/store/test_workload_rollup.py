"""The roll-up of workloads gives the numbers of the rows, whatever came late or was deleted."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from store.queries import lengths
from store.queries.scope import Scope
from store.queries.totals import attempted, by_outcome
from store.requests import take_back
from store.retention import delete_old
from store.rollup import refresh, refresh_due
from store.settings import StoreSettings

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=400)
HOURS = 20
TOKENS = st.sampled_from([None, 0, 1, 2, 3, 700, 65_535, 65_536, 2**31 - 1])
ONE = st.tuples(
    st.integers(0, HOURS * 3600 * 1000),  # arrival, milliseconds
    st.sampled_from(["a", "b", None]),
    st.sampled_from(["ok", "ok", "failed", "refused", "aborted"]),
    TOKENS,
    TOKENS,
    st.sampled_from([None, True, False]),
)


def frame(rows, label="r"):
    names = ("at", "tenant", "status", "input_tokens", "output_tokens", "is_counted")
    found = pl.DataFrame(rows, dict.fromkeys(names), orient="row", infer_schema_length=None)
    return found.select(
        pl.format(label + "-{}-{}", pl.int_range(pl.len()), "at").alias("request_id"),
        (pl.lit(START.replace(tzinfo=None)) + pl.duration(milliseconds="at")).alias("arrived_at"),
        pl.col("tenant", "status").cast(pl.String),
        pl.col("input_tokens", "output_tokens").cast(pl.Int64),
        pl.col("is_counted").cast(pl.Boolean),
    )


def plain(count=40, every_seconds=900):
    """Requests of two tenants, all served."""
    return frame([(i * every_seconds * 1000, "ab"[i % 2], "ok", 100, 50, None)
                  for i in range(count)])  # fmt: skip


def scope(start_seconds=0, seconds=HOURS * 3600, **labels):
    first = START + timedelta(seconds=start_seconds)
    return Scope((1,), first, first + timedelta(seconds=seconds), **labels)


def octave(tokens):
    return tokens.bit_length() - 1


def counted(reader, asked, use):
    """How often each input, output and pair of octaves occurs, and the tokens of pairs."""
    plan = lengths.parts(reader, asked, use)
    found = Counter()
    for piece in lengths.of_rows(reader, asked, plan.raw) if plan.raw else ():
        for given_, made in zip(*(column.tolist() for column in piece), strict=True):
            found["input", given_] += 1
            found["output", made] += 1
            if given_ >= 0 and made >= 0:
                add_pair(found, octave(given_), octave(made), 1, given_, made)
    if plan.rolled:
        for piece in lengths.of_hours(reader, asked, plan.rolled):
            for length, requests in zip(*(column.tolist() for column in piece), strict=True):
                found["output" if length % 2 else "input", length // 2] += requests
        for row in lengths.pairs_of_hours(reader, asked, plan.rolled).rows():
            add_pair(found, *row)
    return {key: n for key, n in found.items() if n and key[1:] != (-1,)}


def add_pair(found, input_octave, output_octave, *sums):
    for name, one in zip(("requests", "input_tokens", "output_tokens"), sums, strict=True):
        found[input_octave, output_octave, name] += one


def same_either_way(database, asked):
    """Outcomes and lengths of the roll-up and of the rows; gives how many requests there were."""
    rolled, rows = (
        by_outcome(database.reader, asked, use).sort(pl.all()) for use in ("rollup", "rows")
    )
    assert_frame_equal(rolled, rows)
    assert counted(database.reader, asked, "rollup") == counted(database.reader, asked, "rows")
    return rows["requests"].sum()


@settings(max_examples=10, deadline=None)
@given(
    batches=st.lists(st.lists(ONE, max_size=25), min_size=1, max_size=3),
    start=st.integers(0, 4 * 3600),
    portions=st.lists(st.integers(0, 60), min_size=3, max_size=3),
    labels=st.sampled_from([{}, {"tenants": ("b",)}]),
)
def test_any_mix_of_counted_and_changed_hours_is_right(shared, batches, start, portions, labels):
    """Rows of any kind, in any order, some of them late: roll-up and rows tell the same."""
    for number, (batch, portion) in enumerate(zip(batches, portions, strict=False)):
        if batch:
            shared.writer.append("request", frame(batch, f"{id(batch)}-{number}")).result()
        if portion:
            shared.writer.run(
                lambda con, most=portion: refresh(con, now=LATER, most_buckets=most)
            ).result()
    same_either_way(shared, scope(start, HOURS * 3600 - start, **labels))


def test_what_an_import_takes_back_is_gone(database):
    """Rows that are deleted again leave the counts of their hour."""
    rows = plain()
    database.writer.append("request", rows).result()
    refresh_due(database.writer, LATER)
    first = rows.head(3).select("request_id", pl.col("arrived_at").dt.epoch("us")).rows()
    assert take_back(database.writer, first).result() == 3
    assert same_either_way(database, scope()) == 37
    refresh_due(database.writer, LATER)
    assert same_either_way(database, scope()) == 37


def test_whole_hours_are_not_read_again(database):
    """Of a long range only the part of an hour at its end is read from the rows."""
    database.writer.append("request", plain()).result()
    refresh_due(database.writer, LATER)
    database.writer.run(
        lambda con: con.execute("UPDATE rollup_outcome SET requests = requests + 100")
    ).result()
    assert attempted(database.reader, scope()) == 40 + 100 * 20
    assert attempted(database.reader, scope(seconds=3600)) == 4
    assert attempted(database.reader, scope(tenants=("a",))) == 20 + 100 * 10
    assert lengths.parts(database.reader, scope()).rolled
    assert not lengths.parts(database.reader, scope(seconds=3600)).rolled
    assert not lengths.parts(database.reader, scope(routes=("x",))).rolled


def test_counts_go_with_the_rows_they_were_made_of(database):
    """After retention a workload is what is kept, as its arrivals are."""
    database.writer.append("request", plain()).result()
    now = START + timedelta(days=90, hours=5)
    assert delete_old(database.writer, StoreSettings(request_retention_days=90), now).request == 20
    assert same_either_way(database, scope()) == 20
