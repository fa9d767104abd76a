"""A process that is killed while it takes remote-write loses nothing that it answered."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from collector.drops import Drops
from collector.remote_write.pages import SETTLE_SECONDS
from servescope.remote_write_intake import RemoteWriteIntake
from store.clock import VirtualClock
from store.database import Database
from store.settings import StoreSettings

HERE = Path(__file__).parent
NOW = datetime(2026, 1, 31, 12, 5, tzinfo=UTC)
PAGES = 40
# Sends pages in pieces and says which piece was answered; waits to be killed at the end.
CHILD = """
import sys
sys.path.insert(0, {here!r})
from test_remote_write_kill import intake, pieces, store
with store({path!r}) as database:
    taking = intake(database)
    for number, piece in enumerate(pieces()):
        taking.submit(piece, "prometheus.WriteRequest").result()
        print(number, flush=True)
    sys.stdin.read()
"""


def store(path):
    return Database.open(Path(path), StoreSettings(), VirtualClock(NOW))


def intake(database, clock=None):
    return RemoteWriteIntake(database, Drops(), clock or VirtualClock(NOW))


def pieces():
    """Forty pages, each in three requests that do not end with it."""
    sys.path.insert(0, str(HERE))
    from test_remote_write import NOW_MS, page, snappy, v1

    told = [one for number in range(PAGES) for one in page(NOW_MS + number * 5_000)]
    return [snappy(v1(told[start : start + 3])) for start in range(0, len(told), 3)]


@pytest.mark.parametrize("answered", [1, 7, 50, 92])
def test_what_was_answered_outlives_a_kill(tmp_path, answered):
    """After the kill the sender repeats what it got no answer for: every page is there once."""
    path = tmp_path / "s.duckdb"
    code = CHILD.format(here=str(HERE), path=str(path))
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    last = -1
    for line in child.stdout:
        last = int(line)
        if last >= answered:
            break
    os.kill(child.pid, signal.SIGKILL)
    last = max([last, *map(int, child.stdout.read().split())])
    child.wait()
    child.stdin.close()
    child.stdout.close()
    clock = VirtualClock(NOW)
    with store(path) as database:
        taking = intake(database, clock)
        for piece in pieces()[last + 1 :]:
            taking.submit(piece, "prometheus.WriteRequest").result()
        for _ in range(2):
            clock.advance(SETTLE_SECONDS + 1)
            taking.flush()
        taking.close()
        reader = database.reader
        assert reader.scalar("SELECT count(*) FROM sample") == PAGES
        assert reader.scalar("SELECT count(*) FROM scrape") == PAGES
        counts = "SELECT count(*) FROM histogram_sample WHERE cumulative_counts = [2, 5]"
        assert reader.scalar(counts) == PAGES
