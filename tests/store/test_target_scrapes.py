"""How targets stood last is read from few scrapes, and is what all of them tell."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import sample_rollup, targets
from store.clock import VirtualClock
from store.database import Database
from store.queries import target_scrapes, telemetry
from store.queries.slo import naive_utc
from store.settings import StoreSettings
from store.targets import Noted

NOW = datetime(2026, 2, 3, 12, 2, tzinfo=UTC)
URLS = ("a", "b", "c")


@pytest.fixture(scope="module")
def shared() -> Iterator[Database]:
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as opened:
        yield opened


def scraped(database, ids, told):
    """Scrapes as (target, minutes ago, whether it worked)."""
    rows = {
        (ids[place], NOW.replace(tzinfo=None) - timedelta(minutes=ago)): ok
        for place, ago, ok in told
    }
    frame = pl.DataFrame(
        [(number, at, "ok" if ok else "failed", 0.1, 7) for (number, at), ok in rows.items()],
        schema={"target_id": pl.Int32, "scraped_at": pl.Datetime("us"), "outcome": pl.String,
                "duration_seconds": pl.Float64, "sample_count": pl.Int32},
        orient="row",
    )  # fmt: skip
    database.writer.append("scrape", frame).result()


def from_all(database, end):
    at = naive_utc(end)
    return database.reader.frame(
        target_scrapes.TARGETS, end=at, recent=at - timedelta(minutes=10)
    )  # fmt: skip


told = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 3000), st.booleans()), max_size=25)


@settings(max_examples=25, deadline=None)
@given(before=told, after=told, back=st.sampled_from([0, 7, 400]))
def test_few_scrapes_tell_what_all_do(shared, before, after, back):
    """Silent or not, rolled up or late: the last success, the last scrape and its error agree."""
    shared.writer.run(clear).result()
    noted = targets.note(shared.writer, {url: Noted(NOW) for url in URLS}).result()
    ids = [noted[url] for url in URLS]
    scraped(shared, ids, before)
    sample_rollup.refresh_due(shared.writer, NOW)
    scraped(shared, ids, after)
    end = NOW - timedelta(minutes=back)
    assert telemetry.targets(shared.reader, end).equals(from_all(shared, end))


def clear(connection):
    for table in ("scrape", "rollup_target", "rollup_sample_state", "rollup_sample_dirty"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute(
        "INSERT INTO rollup_sample_state (rolled_until, targets_since) VALUES ($at, $at)",
        {"at": naive_utc(NOW.replace(minute=0) - timedelta(days=2))},
    )


def test_a_replica_that_died_weeks_ago_is_read_from_minutes(shared):
    """Of a target that still fails nothing is read but the bucket in which it last worked."""
    shared.writer.run(clear).result()
    noted = targets.note(shared.writer, {"a": Noted(NOW)}).result()
    scraped(shared, [noted["a"]], [(0, 2000.0, True), (0, 1.0, False)])
    sample_rollup.refresh_due(shared.writer, NOW)
    silent = pl.DataFrame({"target_id": [noted["a"]], "last_at": [naive_utc(NOW)]})
    with shared.reader.snapshot() as snapshot:
        found = target_scrapes.spans(snapshot, silent, naive_utc(NOW))
    assert sum((high - low for low, high in found), timedelta()) < timedelta(hours=1)


def test_a_success_that_is_told_late_is_found(shared):
    """An agent that was cut off sends what it scraped after the roll-up has gone over it."""
    shared.writer.run(clear).result()
    ids = [targets.note(shared.writer, {"a": Noted(NOW)}).result()["a"]]
    scraped(shared, ids, [(0, 2000.0, True), (0, 1.0, False)])
    sample_rollup.refresh_due(shared.writer, NOW)
    scraped(shared, ids, [(0, 1000.0, True)])
    found = telemetry.targets(shared.reader, NOW).filter(pl.col("url") == "a")
    assert found["last_success_at"][0] == naive_utc(NOW) - timedelta(minutes=1000)
