"""A killed process loses no row that it had acknowledged, and doubles none."""

import random
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from store.clock import WallClock
from store.database import Database
from store.retention import checkpoint
from store.rollup import refresh_due
from store.settings import StoreSettings

SEED = 20260131
ROUNDS = 3
START = datetime(2026, 1, 1)
# The child writes batches of random size and prints the number of each one once it is durable; in
# between it refreshes roll-ups, deletes old samples and checkpoints, as a server does.
CHILD = """
import random, sys
from datetime import UTC, datetime
from pathlib import Path
sys.path.insert(0, {here!r})
from test_kill import batch
from store.clock import WallClock
from store.database import Database
from store.retention import checkpoint, delete_old
from store.rollup import refresh_due
from store.settings import StoreSettings
settings = StoreSettings(sample_retention_days=1, request_retention_days=None)
database = Database.open(Path({path!r}), settings, WallClock())
number = {first}
waiting = []
while True:
    waiting.append((number, database.writer.append("request", batch(number))))
    number += 1
    if len(waiting) > 3:
        done, future = waiting.pop(0)
        future.result()
        print(done, flush=True)
    if number % 7 == 0:
        refresh_due(database.writer, datetime.now(UTC))
    if number % 11 == 0:
        delete_old(database.writer, settings, datetime.now(UTC))
    if number % 13 == 0:
        checkpoint(database.writer)
"""


def batch(number):
    """Batch `number`: the same rows whoever makes it."""
    size = random.Random(number).randint(1, 400)  # noqa: S311 - reproducible
    return pl.DataFrame(
        {
            "request_id": [f"{number}-{i}" for i in range(size)],
            "arrived_at": [START + timedelta(seconds=number * 60 + i) for i in range(size)],
            "status": ["ok"] * size,
            "input_tokens": list(range(size)),
        }
    )


def run_and_kill(path, first, seconds):
    """Write batches from `first` on until the kill; gives the numbers that were acknowledged."""
    code = CHILD.format(here=str(Path(__file__).parent), path=str(path), first=first)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        acknowledged = [int(child.stdout.readline())]
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
        acknowledged += [int(line) for line in child.stdout.read().split()]
    return acknowledged


@pytest.mark.slow
def test_acknowledged_rows_survive_a_kill(tmp_path):
    """After each kill every acknowledged row is there once; a resend adds just what is missing."""
    path = tmp_path / "a.duckdb"
    chance = random.Random(SEED)  # noqa: S311 - reproducible
    acknowledged = []
    for _ in range(ROUNDS):
        first = max(acknowledged, default=-1) + 1
        acknowledged += run_and_kill(path, first, chance.uniform(0.0, 0.6))
        with Database.open(path, StoreSettings(), WallClock()) as database:
            lost = sum(database.writer.append("request", batch(n)).result() for n in acknowledged)
            assert lost == 0
            sent = sorted(set(acknowledged) | set(range(max(acknowledged) + 6)))
            before = database.reader.scalar("SELECT count(*) FROM request")
            added = sum(database.writer.append("request", batch(n)).result() for n in sent)
            total = sum(batch(n).height for n in sent)
            assert before + added == total
            sql = "SELECT count(*), count(DISTINCT request_key) FROM request"
            assert database.reader.frame(sql).row(0) == (total, total)
        acknowledged = sent
    with Database.open(path, StoreSettings(), WallClock()) as database:
        checkpoint(database.writer)
        refresh_due(database.writer, WallClock().now(), most_portions=1000)
        sql = "SELECT sum(request_count)::BIGINT FROM rollup_10m WHERE quantity = 'arrival'"
        assert database.reader.scalar(sql) == sum(batch(n).height for n in acknowledged)
