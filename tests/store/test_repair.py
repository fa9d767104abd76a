"""Damage of all kinds is mended, or refused with a clear word; what was there is kept."""

import os
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from store import repair
from store.clock import VirtualClock
from store.contents import contents
from store.database import Database
from store.errors import StoreDamaged, StoreError, StoreLocked
from store.settings import StoreSettings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
WRITE_AND_DIE = """
import os, sys
from pathlib import Path
import polars as pl
from datetime import datetime, timedelta
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings
database = Database.open(Path(sys.argv[1]), StoreSettings(), WallClock())
for number in range(100, 105):
    database.writer.append("request", pl.DataFrame({
        "request_id": [f"{number}-{i}" for i in range(300)],
        "arrived_at": [datetime(2026, 1, 2) + timedelta(seconds=number, microseconds=i)
                       for i in range(300)],
        "status": ["ok"] * 300})).result()
os._exit(0)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of 6,000 requests in the file and 1,500 in its log, as a crash leaves it."""
    path = tmp_path_factory.mktemp("made") / "a.duckdb"
    with Database.open(path, StoreSettings(), VirtualClock(NOW)) as database:
        for number in range(3):
            frame = pl.DataFrame(
                {
                    "request_id": [f"{number}-{i}" for i in range(2000)],
                    "arrived_at": [
                        datetime(2026, 1, 1) + timedelta(minutes=number * 30, milliseconds=i)
                        for i in range(2000)
                    ],
                    "status": ["ok"] * 2000,
                    "e2e_seconds": [(number * 7919 + i * i) % 10007 / 7 for i in range(2000)],
                }
            )
            database.writer.append("request", frame).result()
    subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(path)], check=True)
    return path.parent


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "a.duckdb"


def log_of(store):
    return store.with_name(store.name + ".wal")


def mended(store):
    """What was done, and the folder of what is kept."""
    task = repair.Repair(store, StoreSettings(), VirtualClock(NOW))
    return [(step.subject, step.do(task.kept)) for step in task.steps()], task.kept


def flip(file, at):
    data = bytearray(file.read_bytes())
    data[at] ^= 0x10
    file.write_bytes(data)


def test_a_store_that_is_well_is_left_alone(store):
    """Nothing is told, nothing is moved."""
    before = store.read_bytes()
    assert mended(store)[0] == []
    assert store.read_bytes() == before


def test_of_a_damaged_log_the_whole_part_is_kept(store):
    """Everything before the damage is there again; the old log lies beside."""
    whole = log_of(store).read_bytes()
    flip(log_of(store), len(whole) // 2)
    damaged = log_of(store).read_bytes()
    ((subject, said),), kept = mended(store)
    assert subject == "log"
    rows = contents(store).rows["request"]
    assert 6000 < rows < 7500
    assert str(rows) in "".join(filter(str.isdigit, said))
    assert (kept / log_of(store).name).read_bytes() == damaged


def test_of_a_damaged_block_the_other_columns_are_kept(store, made):
    """A column that may be unknown is unknown; nothing else is lost."""
    at, dice = datetime(2026, 1, 3), random.Random(1)  # noqa: S311
    frame = pl.DataFrame(
        {
            "request_id": [f"x-{i}" for i in range(40_000)],
            "arrived_at": [at + timedelta(milliseconds=i) for i in range(40_000)],
            "status": ["ok"] * 40_000,
            "e2e_seconds": [dice.random() for _ in range(40_000)],
        }
    )
    with Database.open(store, StoreSettings(), VirtualClock(NOW)) as database:
        database.writer.append("request", frame).result()
        database.writer.run(lambda c: c.execute("CHECKPOINT"), changes=False).result()
        block = database.reader.scalar(
            "SELECT any_value(block_id) FROM pragma_storage_info('request')"
            " WHERE column_name = 'e2e_seconds' AND segment_type = 'DOUBLE' AND persistent"
            " AND block_id NOT IN (SELECT block_id FROM pragma_storage_info('request')"
            " WHERE column_name <> 'e2e_seconds')"
        )
    flip(store, 3 * 4096 + int(block) * 262_144 + 5000)
    assert contents(store).unreadable
    (step, *_), kept = mended(store)
    assert step[0] == "blocks"
    assert "something unknown" in step[1]
    found = contents(store)
    assert (found.rows["request"], found.unreadable) == (47_500, {})
    assert (kept / store.name).exists()
    with Database.open(store, StoreSettings(), VirtualClock(NOW)) as database:
        assert database.reader.scalar("SELECT count(DISTINCT request_key) FROM request") == 47_500


def test_sums_that_differ_from_their_rows_are_counted_again(store):
    """Where all rows are there; the first bucket of a source may have been cut by retention."""
    from store import rollup

    with Database.open(store, StoreSettings(), VirtualClock(NOW)) as database:
        rollup.refresh_due(database.writer, NOW)
        spoil = "UPDATE rollup_sum SET request_count = request_count + 1 WHERE quantity = 'arrival'"
        database.writer.run(lambda connection: connection.execute(spoil)).result()
    ((subject, said),), _ = mended(store)
    assert (subject, said.split()[0]) == ("roll-ups", "3")
    assert mended(store)[0] == []


def test_leftovers_are_moved_away(store):
    """A note of a server that is gone, spilled work, uploads."""
    store.with_name("a.duckdb.server.json").write_text("{}")
    (store.parent / "a.duckdb.tmp").mkdir()
    (store.parent / "a.duckdb.tmp" / "x").write_text("x")
    done, kept = mended(store)
    assert [subject for subject, _ in done] == ["leftovers"] * 2
    assert sorted(path.name for path in kept.iterdir()) == ["a.duckdb.server.json", "a.duckdb.tmp"]


def test_a_store_that_is_held_is_not_touched(store):
    """Not even its leftovers."""
    code = (
        f"import duckdb, sys; c = duckdb.connect({str(store)!r});"
        "print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(StoreLocked):
            mended(store)
    finally:
        other.communicate()


def test_a_log_without_its_file_is_refused(store):
    """An empty store is not made of it."""
    store.unlink()
    with pytest.raises(StoreDamaged, match="missing"):
        mended(store)


CASES = int(os.environ.get("SERVESCOPE_REPAIR_CASES", "3"))


@pytest.mark.parametrize("seed", range(CASES))
def test_whatever_is_cut_or_flipped_is_mended_or_refused(store, seed):
    """Never a crash without words; what is mended reads whole, what is refused is as it was."""
    dice = random.Random(seed)  # noqa: S311
    file = dice.choice([store, store, log_of(store)])
    size = file.stat().st_size
    if dice.random() < 0.4:
        os.truncate(file, dice.randrange(size))
    else:
        flip(file, dice.randrange(size))
    before = file.read_bytes()
    refused = None
    try:
        mended(store)
    except StoreError as error:
        refused = error
    if refused is not None:
        assert refused.hint
        assert file.read_bytes() == before
        return
    found = contents(store)
    assert found.unreadable == {}
    assert found.rows["request"] <= 7500
