"""What retention deletes, what it keeps, and that it does so in portions."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from store.clock import WallClock
from store.database import Database
from store.retention import checkpoint, delete_old, requests_kept_since
from store.settings import StoreSettings

NOW = datetime(2026, 6, 1, 12, 34, tzinfo=UTC)
SETTINGS = StoreSettings(sample_retention_days=30, request_retention_days=90)


@pytest.fixture
def database():
    with Database.open(None, SETTINGS, WallClock()) as opened:
        yield opened


def days_ago(*days):
    return [NOW.replace(tzinfo=None) - timedelta(days=day) for day in days]


def requests(*days, source_id=1):
    return pl.DataFrame(
        {
            "request_id": [f"d{day}" for day in days],
            "source_id": [source_id] * len(days),
            "arrived_at": days_ago(*days),
            "status": ["ok"] * len(days),
            "session_id": [f"s{int(day)}" for day in days],
        }
    )


def test_old_live_requests_go_and_traces_stay(database):
    """Only the live source is subject to retention; a trace is kept whatever its age."""
    database.writer.run(
        lambda con: con.execute(
            "INSERT INTO source VALUES (2, 't', 'trace', 'azure', 'utc', NULL, NULL, NULL, NULL,"
            " NULL, now()::TIMESTAMP)"
        )
    ).result()
    database.writer.append("request", requests(1, 89, 91, 200, 400)).result()
    database.writer.append("request", requests(1, 400, source_id=2)).result()
    deleted = delete_old(database.writer, SETTINGS, NOW, portion_rows=1)
    assert (deleted.request, deleted.session) == (3, 3)
    sql = "SELECT source_id, count(*) FROM request GROUP BY 1 ORDER BY 1"
    assert database.reader.frame(sql).rows() == [(1, 2), (2, 2)]
    assert delete_old(database.writer, SETTINGS, NOW).total == 0


def test_counts_of_deleted_requests_stay(database):
    """The roll-up of a deleted request was made before it went."""
    database.writer.append("request", requests(91, 200)).result()
    delete_old(database.writer, SETTINGS, NOW)
    sql = "SELECT sum(request_count)::BIGINT FROM rollup_10m WHERE quantity = 'arrival'"
    assert database.reader.scalar(sql) == 2
    late = requests(91).with_columns(request_id=pl.lit("late"))
    database.writer.append("request", late).result()
    assert delete_old(database.writer, SETTINGS, NOW).request == 1
    assert database.reader.scalar(sql) == 2


def test_old_samples_and_scrapes_go(database):
    """Samples and scrapes beyond their days are deleted, newer ones stay."""
    times = days_ago(1, 29, 31, 60)
    sample = pl.DataFrame({"sampled_at": times, "value": [1.0] * 4}).with_columns(
        target_id=pl.lit(1), signal=pl.lit("x"), kind=pl.lit("gauge"), unit=pl.lit(""),
        labels=pl.lit("{}"),
    )  # fmt: skip
    scrape = pl.DataFrame({"scraped_at": times}).with_columns(
        target_id=pl.lit(1), duration_seconds=pl.lit(0.1), outcome=pl.lit("ok")
    )
    database.writer.append("sample", sample).result()
    database.writer.append("scrape", scrape).result()
    deleted = delete_old(database.writer, SETTINGS, NOW)
    assert (deleted.sample, deleted.scrape) == (2, 2)


def test_none_keeps_everything(database):
    """Without limits nothing is deleted."""
    keep = StoreSettings(sample_retention_days=None, request_retention_days=None)
    database.writer.append("request", requests(4000)).result()
    assert delete_old(database.writer, keep, NOW).total == 0
    assert requests_kept_since(keep, NOW) is None


def test_a_checkpoint_empties_the_log(tmp_path):
    """After a checkpoint the rows are in the file itself."""
    path = tmp_path / "a.duckdb"
    with Database.open(path, SETTINGS, WallClock()) as database:
        database.writer.append("request", requests(1, 2)).result()
        wal = tmp_path / "a.duckdb.wal"
        assert wal.exists()
        checkpoint(database.writer)
        assert not wal.exists() or wal.stat().st_size == 0
        assert database.reader.scalar("SELECT count(*) FROM request") == 2


def test_a_grade_in_force_is_kept_however_old(database):
    """A signal that has been frozen for a year is frozen still; what it was before may go."""
    days = (400, 200, 100, 10, 300, 31)
    rows = pl.DataFrame(
        {
            "target_id": [1] * 4 + [2] * 2,
            "signal": [""] * 4 + ["requests_running"] * 2,
            "graded_at": days_ago(*days),
            "grade": ["fresh", "silent", "fresh", "idle", "fresh", "frozen"],
            "evidence": ["."] * 6,
        }
    )
    database.writer.append("signal_grade", rows).result()
    assert delete_old(database.writer, SETTINGS, NOW).signal_grade == 3
    left = database.reader.frame("SELECT graded_at FROM signal_grade ORDER BY 1").to_series()
    assert left.to_list() == days_ago(100, 31, 10)
    assert delete_old(database.writer, SETTINGS, NOW).total == 0
