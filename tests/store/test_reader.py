"""What reading promises: limits, no leaks, usable after an interruption."""

import threading
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from store.clock import WallClock
from store.database import Database
from store.errors import QueryTimeout, StoreError
from store.settings import StoreSettings

ENDLESS = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b"


@pytest.fixture
def database():
    settings = StoreSettings(concurrent_queries=2, query_limit_seconds=0.3)
    with Database.open(None, settings, WallClock()) as opened:
        yield opened


def test_threads_that_come_and_go_leave_no_cursors(database):
    """A hundred short-lived threads use as many cursors as there are slots."""
    for _ in range(100):
        thread = threading.Thread(target=database.reader.scalar, args=("SELECT 1",))
        thread.start()
        thread.join()
    assert database.reader.stats()["cursors"] == 2
    assert database.reader.stats()["queries"] == 100


def test_a_query_that_takes_too_long_is_stopped(database):
    """The limit stops it, it is counted, and the cursor answers the next question."""
    with pytest.raises(QueryTimeout):
        database.reader.frame(ENDLESS)
    assert database.reader.scalar("SELECT 42") == 42
    assert database.reader.stats()["queries_timed_out"] == 1
    assert database.reader.stats()["cursors"] == 2


def test_a_late_alarm_does_not_hit_the_next_query(database):
    """The limit of a finished query never stops the one after it on the same cursor."""
    for _ in range(50):
        assert database.reader.scalar("SELECT count(*) FROM range(1000)") == 1000
    assert database.reader.stats()["queries_timed_out"] == 0


def test_an_error_gives_its_slot_back(database):
    """Any number of wrong queries leave all slots free."""
    for _ in range(5):
        with pytest.raises(StoreError, match="no_such_table"):
            database.reader.frame("SELECT * FROM no_such_table")
    assert database.reader.stats()["queries_running"] == 0
    assert database.reader.scalar("SELECT 1") == 1


def test_closing_stops_what_runs():
    """A store that closes does not wait for a page that nobody will see."""
    database = Database.open(None, StoreSettings(query_limit_seconds=60), WallClock())
    seen = []

    def ask():
        try:
            database.reader.frame(ENDLESS)
        except StoreError as error:
            seen.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not database.reader.stats()["queries_running"]:
        thread.join(0.001)
    database.close()
    thread.join(10)
    assert "closed" in str(seen[0])
    with pytest.raises(StoreError, match="closed"):
        database.reader.scalar("SELECT 1")


def test_readers_and_the_writer_do_not_disturb_each_other():
    """Reads see whole commits while rows arrive."""
    with Database.open(None, StoreSettings(), WallClock()) as database:
        errors, stop = [], threading.Event()

        def ask():
            while not stop.is_set():
                rows = database.reader.scalar("SELECT count(*) FROM request")
                if rows % 10:
                    errors.append(rows)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for batch in range(20):
            frame = pl.DataFrame(
                {
                    "request_id": [f"{batch}-{i}" for i in range(10)],
                    "arrived_at": [datetime(2026, 1, 1)] * 10,
                    "status": ["ok"] * 10,
                }
            )
            assert database.writer.append("request", frame).result() == 10
        stop.set()
        for thread in threads:
            thread.join(10)
        assert not errors


def test_a_long_answer_comes_in_pieces_in_order(database):
    """Every row arrives once, in order, and a caller who stops half-way keeps no slot."""
    asked = "SELECT range AS n FROM range(400000)"
    pieces = [piece["n"] for piece in database.reader.batches(asked)]
    assert len(pieces) > 1
    assert np.concatenate(pieces).tolist() == list(range(400_000))
    for _ in range(5):
        started = database.reader.batches(asked)
        next(started)
        started.close()
    assert database.reader.stats()["queries_running"] == 0


def test_no_answer_for_a_page_fills_what_duckdb_holds_of_it(database):
    """DuckDB stands still for good where that happens in the middle of a UNION ALL."""
    held = "SELECT current_setting('streaming_buffer_size') AS held"
    assert database.reader.scalar(held) == "16.0 MiB"
    with database.reader.snapshot() as snapshot:
        assert snapshot.frame(held).item() == "16.0 MiB"


def test_a_long_answer_has_a_time_limit(database):
    """What never comes to an end is stopped while it streams."""
    endless = "SELECT range * 2 AS n FROM range(1000000000000) WHERE range % 1000003 = 1"
    with pytest.raises(QueryTimeout):
        for _ in database.reader.batches(endless):
            pass
    assert database.reader.scalar("SELECT 42") == 42
