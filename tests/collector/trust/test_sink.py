"""Grades reach the store with the scrapes, once, and outlive a restart of ours."""

from datetime import UTC, datetime, timedelta

import pytest

from collector.model import Sample, Scrape
from collector.sink import MemorySink, StoreSink
from collector.trust.grades import WHOLE_TARGET
from collector.trust.seeds import seeds_of
from collector.trust.sink import GradingSink
from store.clock import VirtualClock
from store.database import Database
from store.queries import trust
from store.settings import StoreSettings
from store.targets import register, remove

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as opened:
        yield opened


def grading(database):
    return GradingSink(
        StoreSink(database.writer),
        database.writer,
        lambda: seeds_of(trust.current(database.reader, NOW + timedelta(days=1)).to_dicts()),
        {1: "localhost:8000"}.get,
    )


def page(number, target_id=1, outcome="ok", **values):
    told = {"requests_running": 2 + number % 2, "generation_tokens_total": 100.0 * number, **values}
    samples = tuple(Sample(name, "{}", float(value)) for name, value in told.items())
    at = NOW + timedelta(seconds=5 * number)
    return Scrape(target_id, at, 0.01, outcome, samples=samples if outcome == "ok" else ())


def rows(database):
    return database.reader.scalar("SELECT count(*) FROM signal_grade")


async def test_changes_are_stored_with_the_scrapes(database):
    """Two signals and the target: three rows, and no more while all is well."""
    register(database.writer, "http://gpu-1:8000/metrics", NOW).result()
    sink = grading(database)
    for number in range(20):
        await sink.write([page(number)])
    assert rows(database) == 3
    assert database.reader.scalar("SELECT count(*) FROM scrape") == 20
    await sink.write([page(20, outcome="timeout")])
    found = trust.current(database.reader, NOW + timedelta(seconds=200)).to_dicts()
    assert {row["signal"]: row["grade"] for row in found} == {
        "": "silent", "generation_tokens_total": "fresh", "requests_running": "fresh",
    }  # fmt: skip
    before = trust.current(database.reader, NOW + timedelta(seconds=50)).to_dicts()
    assert {row["grade"] for row in before} == {"fresh"}
    changes, count = trust.history(
        database.reader, ["http://gpu-1:8000/metrics"], NOW, NOW + timedelta(hours=1)
    )
    assert (changes.height, count) == (4, 4)


async def test_a_batch_written_again_changes_nothing(database):
    """The scheduler writes a batch again when it does not know whether it was kept."""
    register(database.writer, "http://gpu-1:8000/metrics", NOW).result()
    sink = grading(database)
    batch = [page(1), page(2, outcome="timeout"), page(3)]
    await sink.write(batch)
    many = rows(database)
    await sink.write(batch)
    assert rows(database) == many


async def test_a_restart_of_ours_writes_nothing(database):
    """The next process knows what held."""
    register(database.writer, "http://gpu-1:8000/metrics", NOW).result()
    first = grading(database)
    for number in range(5):
        await first.write([page(number)])
    await first.aclose()
    many = rows(database)
    second = grading(database)
    for number in range(50, 60):
        await second.write([page(number)])
    assert rows(database) == many


class Broken:
    """A store that refuses the first grades."""

    def __init__(self, writer):
        self.writer = writer
        self.refusals = 2

    def append(self, table, frame):
        if table == "signal_grade" and self.refusals:
            self.refusals -= 1
            raise OSError("disk full")
        return self.writer.append(table, frame)


async def test_grades_that_could_not_be_written_are_written_later(database):
    """A change is said once, so it must not be lost with one failed write."""
    register(database.writer, "http://gpu-1:8000/metrics", NOW).result()
    sink = GradingSink(MemorySink(), Broken(database.writer))
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            await sink.write([page(1)])
    await sink.write([page(2)])
    assert rows(database) == 3


async def test_a_target_that_nobody_asks_any_more_is_stale(database):
    """A scrape loop that stopped shows when the others go on."""
    for name in ("gpu-1", "gpu-2"):
        register(database.writer, f"http://{name}:8000/metrics", NOW).result()
    sink = grading(database)
    for number in range(30):
        one = [page(number, 1)]
        await sink.write([*one, page(number, 2)] if number < 5 else one)
    found = trust.current(database.reader, NOW + timedelta(hours=1)).to_dicts()
    whole = {row["target_id"]: row["grade"] for row in found if row["signal"] == WHOLE_TARGET}
    assert whole == {1: "fresh", 2: "stale"}


async def test_one_engine_under_two_addresses_is_said(database):
    """localhost and 127.0.0.1: its tokens would be counted twice."""
    for name in ("localhost", "127.0.0.1", "gpu-2"):
        register(database.writer, f"http://{name}:8000/metrics", NOW).result()
    sink = grading(database)
    started = {"engine_start_unix_seconds": 1.75e9}
    for number in range(10):
        for target_id in (1, 2, 3):
            cpu = number * 3.0 + target_id / 10 if target_id < 3 else number * 7.0 + 50
            await sink.write([page(number, target_id, process_cpu_seconds_total=cpu, **started)])
    found = trust.current(database.reader, NOW + timedelta(hours=1)).to_dicts()
    whole = {row["target_id"]: row["grade"] for row in found if row["signal"] == WHOLE_TARGET}
    assert whole == {1: "fresh", 2: "two_scrapers", 3: "fresh"}
    evidence = [row["evidence"] for row in found if row["grade"] == "two_scrapers"]
    assert "same process as localhost:8000" in evidence[0]


async def test_grades_of_a_removed_target_are_not_current(database):
    """What is not watched any more has no grade now; its history stays."""
    register(database.writer, "http://gpu-1:8000/metrics", NOW).result()
    sink = grading(database)
    await sink.write([page(1)])
    gone = NOW + timedelta(minutes=1)
    remove(database.writer, "http://gpu-1:8000/metrics", gone).result()
    assert trust.current(database.reader, gone + timedelta(seconds=1)).is_empty()
    assert rows(database) == 3
