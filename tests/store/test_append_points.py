"""Samples and histograms: each point once, whatever comes twice, late, or after a restart."""

import itertools
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import append_points
from store.clock import WallClock
from store.database import Database
from store.errors import InputError, StoreError
from store.settings import StoreSettings

START = datetime(2026, 1, 1)


def samples(points, **columns):
    """Rows of (series, second, value)."""
    return pl.DataFrame(
        {
            "target_id": 1,
            "signal": [f"s{series}" for series, _, _ in points],
            "kind": "gauge",
            "unit": "",
            "labels": "{}",
            "sampled_at": [START + timedelta(seconds=second) for _, second, _ in points],
            "value": [float(value) for _, _, value in points],
            **columns,
        },
        schema_overrides={"signal": pl.String, "sampled_at": pl.Datetime("us")},
    )


def histograms(points, **columns):
    rows = samples(points, **columns).drop("kind", "value")
    counts = [float(value) for _, _, value in points]
    return rows.with_columns(
        observation_count=pl.Series(counts, dtype=pl.Float64),
        observation_sum=pl.lit(None, pl.Float64),
        edges=pl.Series([[0.1, 1.0]] * len(points), dtype=pl.List(pl.Float64)),
        cumulative_counts=pl.Series([[0.0, c] for c in counts], dtype=pl.List(pl.Float64)),
    )


def stored(database, table="sample", value="value", target=1):
    rows = database.reader.frame(
        f"SELECT s.signal, p.sampled_at, p.{value} AS value FROM {table} AS p JOIN series AS s"
        " USING (series_id) WHERE s.target_id = $target",
        target=target,
    ).rows()
    assert len(rows) == len({row[:2] for row in rows}), "a point is there twice"
    return {(int(name[1:]), (at - START).total_seconds()): value for name, at, value in rows}


point = st.tuples(st.integers(0, 3), st.integers(0, 8), st.integers(0, 99))
batches = st.lists(st.one_of(st.lists(point, max_size=8), st.just("restart")), max_size=8)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """One store for all examples: to make a new one takes longer than to try one out."""
    return tmp_path_factory.mktemp("store") / "store.duckdb"


targets = itertools.count(1)


@settings(max_examples=60, deadline=None)
@given(batches, st.sampled_from(["sample", "histogram_sample"]))
def test_each_point_is_kept_once(file, told, table):
    """Resends, late points, repeats within a batch, and a new writer that remembers nothing."""
    rows = samples if table == "sample" else histograms
    value = "value" if table == "sample" else "observation_count"
    target = next(targets)
    expected = {}
    database = Database.open(file, StoreSettings(), WallClock())
    try:
        for batch in told:
            if batch == "restart":
                database.close()
                database = Database.open(file, StoreSettings(), WallClock())
                continue
            before = len(expected)
            for series, second, number in batch:
                expected.setdefault((series, float(second)), float(number))
            added = database.writer.append(table, rows(batch, target_id=target)).result()
            assert added == len(expected) - before
        assert stored(database, table, value, target) == expected
    finally:
        database.close()


def test_batches_of_one_commit_are_counted_each(database):
    """Who sends a batch learns how much of it was new, also when others were with it."""
    release = database.writer.run(lambda _: None)
    futures = [database.writer.append("sample", samples([(0, n, n), (1, 0, 0)])) for n in range(20)]
    release.result()
    assert [future.result() for future in futures] == [2, *[1] * 19]


def test_what_a_failed_transaction_taught_is_forgotten(database):
    """The next batch of the same series is stored under numbers that are really there."""

    def fail(connection):
        assert database.writer.append_in(connection, "sample", samples([(0, 1, 5)])) == 1
        raise InputError("no", hint="")

    with pytest.raises(InputError):
        database.writer.run(fail).result()
    assert database.writer.append("sample", samples([(0, 1, 7)])).result() == 1
    assert stored(database) == {(0, 1.0): 7.0}


def test_rows_inside_a_job_and_rows_beside_it_know_each_other(database):
    """An agent's batch and a scrape may bring the same point."""
    database.writer.append("sample", samples([(0, 1, 5)])).result()
    again = samples([(0, 1, 6), (0, 2, 6)])
    added = database.writer.run(lambda con: database.writer.append_in(con, "sample", again))
    assert added.result() == 1
    assert database.writer.append("sample", again).result() == 0


def test_a_late_point_after_a_restart_hides_no_newer_one(tmp_path):
    """What was newest is asked of the store, not taken from the first point that comes."""
    file = tmp_path / "store.duckdb"
    with Database.open(file, StoreSettings(), WallClock()) as database:
        database.writer.append("sample", samples([(0, 1, 1), (0, 9, 9)])).result()
    with Database.open(file, StoreSettings(), WallClock()) as database:
        assert database.writer.append("sample", samples([(0, 5, 5)])).result() == 1
        assert database.writer.append("sample", samples([(0, 9, 8), (0, 10, 10)])).result() == 1
        assert stored(database) == {(0, 1.0): 1.0, (0, 5.0): 5.0, (0, 9.0): 9.0, (0, 10.0): 10.0}


def test_more_series_than_are_remembered(database, monkeypatch):
    """The memory of series is bounded; what is forgotten is found in the store."""
    monkeypatch.setattr(append_points, "MOST_SERIES", 5)
    for second in range(3):
        batch = [(series, second, series) for series in range(12)]
        assert database.writer.append("sample", samples(batch)).result() == 12
        assert database.writer.append("sample", samples(batch[3:9])).result() == 0
    assert database.reader.scalar("SELECT count(*) FROM series") == 12


def test_labels_that_are_no_json_are_refused(database):
    """With nothing stored of the batch."""
    with pytest.raises(StoreError):
        database.writer.append("sample", samples([(0, 1, 1)], labels="{")).result()
    assert database.reader.scalar("SELECT count(*) FROM series") == 0


def test_empty_batches_change_nothing(database):
    """No rows, no series, no commit that counts."""
    assert database.writer.append("sample", samples([])).result() == 0
    assert database.writer.append("histogram_sample", histograms([])).result() == 0


def drops(database):
    return database.reader.frame("SELECT door, dropped_count, example FROM ingest_drop").rows()


def test_a_target_that_makes_new_series_without_end_is_bounded(tmp_path, monkeypatch):
    """Of a label that holds an id, what is known goes on, and the next hour is new."""
    monkeypatch.setattr(append_points, "MOST_NEW_SERIES", 10)
    with Database.open(tmp_path / "a.duckdb", StoreSettings(), WallClock()) as database:
        append = database.writer.append
        assert append("sample", samples([(n, 0, 1) for n in range(8)])).result() == 8
        other = samples([(n, 1, 1) for n in range(5)]).with_columns(target_id=pl.lit(2))
        many = samples([(n, 1, 2) for n in range(30)])
        assert append("sample", pl.concat([many, other])).result() == 10 + 5
        assert append("sample", samples([(n, 2, 3) for n in range(8)])).result() == 8
        assert append("sample", samples([(n, 3_600, 4) for n in range(40, 45)])).result() == 5
        assert database.reader.scalar("SELECT count(*) FROM sample") == 8 + 15 + 8 + 5
        [(door, count, example)] = drops(database)
        assert (door, count) == ("store", 20)
        assert example.startswith("target 1: s")


def test_series_of_before_a_restart_are_not_new(tmp_path, monkeypatch):
    """The bound is for what is met for the first time."""
    monkeypatch.setattr(append_points, "MOST_NEW_SERIES", 10)
    for second in range(3):
        with Database.open(tmp_path / "a.duckdb", StoreSettings(), WallClock()) as database:
            rows = samples([(n, second, 1) for n in range(10 * second + 10)])
            assert database.writer.append("sample", rows).result() == rows.height
            assert drops(database) == []


def test_labels_without_end_are_refused(tmp_path):
    """A prompt in a label is no name of a series."""
    with Database.open(tmp_path / "a.duckdb", StoreSettings(), WallClock()) as database:
        labels = ['{"model": "%s"}' % ("x" * size) for size in (10, 100_000)]
        rows = samples([(0, 0, 1), (1, 0, 1)], labels=labels)
        assert database.writer.append("sample", rows).result() == 1
        assert [count for _, count, _ in drops(database)] == [1]
