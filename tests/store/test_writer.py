"""What the writer promises: durable, exactly once, in order, bounded."""

import threading
import uuid
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.clock import WallClock
from store.database import Database
from store.errors import InputError, StoreError, StoreFull, WriterOverloaded
from store.settings import StoreSettings

START = datetime(2026, 1, 1)


def requests(n, first=0, **columns):
    return pl.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(first, first + n)],
            "arrived_at": [START + timedelta(seconds=i) for i in range(first, first + n)],
            "status": ["ok"] * n,
            "input_tokens": [100 + i for i in range(n)],
            **columns,
        }
    )


def test_append_answers_with_the_rows_really_added(database):
    """A resend adds nothing and says so."""
    assert database.writer.append("request", requests(5)).result() == 5
    assert database.writer.append("request", requests(7)).result() == 2
    assert database.reader.scalar("SELECT count(*) FROM requests") == 7


def test_labels_are_kept_once_and_come_back(database):
    """Rows with the same labels share them; the view shows them."""
    database.writer.append("request", requests(4, model=["a", "a", "b", None])).result()
    rows = database.reader.frame("SELECT model, count(*) AS n FROM requests GROUP BY 1 ORDER BY 1")
    assert rows.rows() == [("a", 2), ("b", 1), (None, 1)]
    assert database.reader.scalar("SELECT count(*) FROM request_labels") == 3


def test_rows_without_an_id_are_known_by_content(database):
    """Equal rows without an id are one row; different ones are two."""
    frame = requests(2).drop("request_id")
    assert database.writer.append("request", frame).result() == 2
    assert database.writer.append("request", frame).result() == 0


def test_a_bad_batch_fails_alone(database):
    """One wrong batch does not take its neighbours down."""
    good = database.writer.append("request", requests(3))
    bad = database.writer.append(
        "request", requests(1, first=50).with_columns(status=pl.lit("nonsense"))
    )
    also_good = database.writer.append("request", requests(2, first=10))
    assert good.result() == 3
    with pytest.raises(StoreError):
        bad.result()
    assert also_good.result() == 2


def test_unknown_columns_and_tables_are_named(database):
    """A wrong name is refused with the known ones."""
    with pytest.raises(InputError, match="colour"):
        database.writer.append("request", requests(1, colour=["red"])).result()
    with pytest.raises(InputError, match="nothing"):
        database.writer.append("nothing", requests(1))


def test_a_full_queue_refuses_and_counts():
    """What does not fit is refused as a whole, never dropped in silence."""
    settings = StoreSettings(queue_batches=1)
    with Database.open(None, settings, WallClock()) as database:
        release = threading.Event()
        job = database.writer.run(lambda _: release.wait(5))
        with pytest.raises(WriterOverloaded):
            database.writer.append("request", requests(1))
        assert database.writer.stats().batches_refused == 1
        release.set()
        job.result()


def test_a_failing_job_changes_nothing(database):
    """A job that raises is rolled back and the writer goes on."""

    def work(connection):
        connection.execute("INSERT INTO request_labels (labels_id) VALUES (99)")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.writer.run(work).result()
    assert database.reader.scalar("SELECT count(*) FROM request_labels WHERE labels_id = 99") == 0
    assert database.writer.append("request", requests(1)).result() == 1


def test_samples_are_kept_once_per_series_and_time(database):
    """A scrape that is sent twice is stored once."""
    frame = pl.DataFrame(
        {
            "target_id": [1, 1],
            "signal": ["requests_running"] * 2,
            "kind": ["gauge"] * 2,
            "unit": ["requests"] * 2,
            "labels": ['{"engine":"0"}', '{"engine":"1"}'],
            "sampled_at": [START] * 2,
            "value": [3.0, 4.0],
        }
    )
    assert database.writer.append("sample", frame).result() == 2
    assert database.writer.append("sample", frame).result() == 0
    assert database.reader.scalar("SELECT count(*) FROM series") == 2


def test_rows_are_there_after_reopening(tmp_path):
    """What was acknowledged is read back by the next process."""
    path = tmp_path / "a.duckdb"
    with Database.open(path, StoreSettings(), WallClock()) as database:
        database.writer.append("request", requests(3)).result()
    with Database.open(path, StoreSettings(), WallClock()) as database:
        assert database.reader.scalar("SELECT count(*) FROM request") == 3
        assert database.writer.append("request", requests(3)).result() == 0


def test_sql_on_a_server_store_cannot_reach_files(database, tmp_path):
    """The shared instance reads no file, writes none, and cannot be talked out of it."""
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for sql in (
        f"SELECT * FROM read_csv('{secret}')",
        f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
        "SET enable_external_access = true",
        f"ATTACH '{tmp_path}/other.duckdb'",
    ):
        with pytest.raises(StoreError):
            database.reader.frame(sql)


def test_two_processes_get_a_clear_word(tmp_path):
    """A second opener is told who holds the file."""
    import subprocess
    import sys

    path = tmp_path / "a.duckdb"
    with Database.open(path, StoreSettings(), WallClock()):
        code = (
            "from pathlib import Path\nfrom store.clock import WallClock\n"
            "from store.database import Database\nfrom store.settings import StoreSettings\n"
            f"Database.open(Path({str(path)!r}), StoreSettings(), WallClock())"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode != 0
    assert "StoreLocked" in answer.stderr


@pytest.fixture(scope="module")
def shared_database():
    with Database.open(None, StoreSettings(), WallClock()) as opened:
        yield opened


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=20), max_size=6))
def test_any_sequence_of_resends_stores_each_row_once(shared_database, batches):
    """Whatever is sent, in whatever portions, each identity is stored exactly once."""
    attempt = uuid.uuid4().hex
    added = 0
    for batch in batches:
        frame = pl.DataFrame(
            {
                "request_id": [f"{attempt}-{i}" for i in batch],
                "arrived_at": [START + timedelta(seconds=i) for i in batch],
                "status": ["ok"] * len(batch),
                "route": [attempt] * len(batch),
            },
            schema_overrides={"arrived_at": pl.Datetime("us"), "request_id": pl.String},
        )
        added += shared_database.writer.append("request", frame).result()
    wanted = len({i for batch in batches for i in batch})
    assert added == wanted
    sql = "SELECT count(*) FROM requests WHERE route = $attempt"
    assert shared_database.reader.scalar(sql, attempt=attempt) == wanted


def test_a_nearly_full_disk_refuses_rows_and_goes_on_reading(tmp_path):
    """Rows are refused before the disk is full: DuckDB itself would not survive that."""
    settings = StoreSettings(disk_reserve_bytes=1 << 62)
    with Database.open(tmp_path / "a.duckdb", settings, WallClock()) as database:
        with pytest.raises(StoreFull, match="free beside the store"):
            database.writer.append("request", requests(1)).result()
        assert database.writer.stats().batches_failed == 1
        assert database.writer.stats().stopped_by is None
        assert database.reader.scalar("SELECT count(*) FROM request") == 0


def test_only_what_changes_rows_makes_a_new_version(database):
    """Views are not computed anew for a resend, a flush or a checkpoint."""
    database.writer.append("request", requests(3)).result()
    before = database.writer.version()
    database.writer.append("request", requests(3)).result()
    database.writer.flush()
    assert database.writer.version() == before
    database.writer.append("request", requests(4)).result()
    assert database.writer.version() == before + 1


def test_requests_do_not_make_what_people_tell_look_new(database):
    """What happened is not asked for again because a request came in; because of an event it is."""
    database.writer.append("request", requests(3)).result()
    before = database.writer.told_version()
    database.writer.append("request", requests(4)).result()
    assert database.writer.told_version() == before
    database.writer.run(lambda con: con.execute("DELETE FROM event")).result()
    assert database.writer.told_version() == before + 1


def test_batches_that_are_written_together_are_counted_apart(database):
    """Overlapping batches in one commit: each row is added once, by the batch that came first."""
    release = threading.Event()
    job = database.writer.run(lambda _: release.wait(5))
    first = database.writer.append("request", requests(5))
    second = database.writer.append("request", requests(7))
    third = database.writer.append("request", requests(2, first=100))
    release.set()
    job.result()
    assert (first.result(), second.result(), third.result()) == (5, 2, 2)
    assert database.writer.stats().rows_duplicate == 5
