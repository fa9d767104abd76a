"""Series without any point left lose their rows; whatever is still told or shown keeps its own."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from store import retention, series_retention
from store.clock import VirtualClock
from store.database import Database
from store.errors import StoreError
from store.queries import telemetry
from store.retention import delete_old
from store.settings import StoreSettings
from store.targets import register

START = datetime(2026, 3, 1, tzinfo=UTC)
KEEP = StoreSettings(threads=1, sample_retention_days=5, sample_rollup_retention_days=20)


@pytest.fixture
def database():
    with Database.open(None, KEEP, VirtualClock(START)) as opened:
        register(opened.writer, "http://gpu-1:8000/metrics", START).result()
        yield opened


def tell(database, days, *names, kind="gauge"):
    """One point of each series, so many days after the start."""
    frame = pl.DataFrame(
        {
            "target_id": [1] * len(names),
            "signal": ["requests_running"] * len(names),
            "kind": [kind] * len(names),
            "unit": [""] * len(names),
            "labels": [f'{{"model": "{name}"}}' for name in names],
            "sampled_at": [(START + timedelta(days=days)).replace(tzinfo=None)] * len(names),
            "value": [1.0] * len(names),
        }
    )
    return database.writer.append("sample", frame).result()


def forget(database, days):
    return delete_old(database.writer, KEEP, START + timedelta(days=days))


def models(database):
    found = database.reader.frame("SELECT labels->>'model' AS model FROM series ORDER BY 1")
    return found["model"].to_list()


def test_a_series_goes_with_its_last_roll_up(database):
    """As long as a panel can show it, its labels are there; then they are not."""
    tell(database, 0, "old", "steady")
    for days in range(1, 31):
        tell(database, days, "steady")
    forget(database, 15)
    assert models(database) == ["old", "steady"]
    assert forget(database, 30).series == 1
    assert models(database) == ["steady"]


def test_a_label_that_holds_ids_leaves_nothing_behind(database):
    """What was told once goes in portions, and what comes afterwards is told again."""
    tell(database, 0, *(f"id-{number}" for number in range(500)))
    tell(database, 29, "steady")
    forget(database, 10)
    assert len(models(database)) == 501
    assert forget(database, 30).series == 500
    assert models(database) == ["steady"]
    assert tell(database, 30, "id-7", "steady") == 2
    assert models(database) == ["id-7", "steady"]
    at = START + timedelta(days=31)
    shown = telemetry.gauge_bins(
        database.reader, ["requests_running"], at - timedelta(days=3), at, 300
    )
    assert sorted(shown["model"]) == ["id-7", "steady", "steady"]


@pytest.fixture
def unused(database, monkeypatch):
    """Three series without any point left, one that is told."""
    tell(database, 0, "a", "b", "c")
    tell(database, 29, "steady")
    with monkeypatch.context() as patched:
        patched.setattr(retention.series_retention, "delete_unused", lambda *_: 0)
        forget(database, 30)
    return START + timedelta(days=30)


def test_portions_are_bounded(database, unused):
    """A million rows do not go in one transaction, so that appends get in between."""
    versions = database.writer.version()
    assert series_retention.delete_unused(database.writer, unused, portion_series=1) == 3
    assert database.writer.version() >= versions + 3
    assert models(database) == ["steady"]


def test_they_are_looked_for_once_a_day(database, unused):
    """Looking takes a while, and nobody is in a hurry."""
    assert series_retention.delete_unused(database.writer, unused) == 3
    tell(database, 0, "late")
    forget(database, 30.5)
    assert models(database) == ["late", "steady"]
    forget(database, 31.1)
    assert models(database) == ["steady"]


class Meanwhile:
    """A writer to which something else happens after the first piece of work."""

    def __init__(self, writer, happens):
        self.writer = writer
        self.happens = [happens]

    @property
    def points(self):
        return self.writer.points

    def run(self, work, **options):
        done = self.writer.run(work, **options)
        done.result()
        if self.happens:
            self.happens.pop()()
        return done


@pytest.mark.parametrize("days", [2, 29.9])
def test_what_is_told_meanwhile_stays(database, unused, days):
    """A point that comes while series are looked through keeps its own, however old it is."""
    writer = Meanwhile(database.writer, lambda: tell(database, days, "b", "new"))
    assert series_retention.delete_unused(writer, unused) == 2
    assert models(database) == ["b", "new", "steady"]
    orphans = "SELECT count(*) FROM sample ANTI JOIN series USING (series_id)"
    assert database.reader.scalar(orphans) == 0


def test_nothing_goes_when_the_memory_was_lost(database, unused):
    """After a rollback nobody knows what was told meanwhile: the next day will do."""

    def fails():
        with pytest.raises(StoreError):
            database.writer.run(lambda con: con.execute("SELECT no_such_thing")).result()

    assert series_retention.delete_unused(Meanwhile(database.writer, fails), unused) == 0
    assert models(database) == ["a", "b", "c", "steady"]
    assert series_retention.delete_unused(database.writer, unused + timedelta(days=1)) == 3
