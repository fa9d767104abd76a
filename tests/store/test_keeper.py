"""A disk that is full or cannot be written: pages answer, no row is lost, no restart is needed."""

import os
import resource
import shutil
import signal
import subprocess
from datetime import datetime, timedelta

import polars as pl
import pytest

from store import keeper as keeping
from store.clock import WallClock
from store.condition import disk_trouble
from store.database import Database
from store.errors import StoreError, StoreFull, StorePaused, StoreReadOnly
from store.settings import StoreSettings

COUNT = "SELECT count(*) FROM request"


def rows(number, count=1500):
    return pl.DataFrame(
        {
            "request_id": [f"{number}-{i}" for i in range(count)],
            "arrived_at": [
                datetime(2026, 1, 1) + timedelta(microseconds=number * i) for i in range(count)
            ],
            "status": ["ok"] * count,
            "e2e_seconds": [(number * 7919 + i * i) % 10007 / 7 for i in range(count)],
        }
    )


def fill(database, first=0, last=2000):
    """Append until it is refused; gives what was acknowledged and the refusal."""
    taken = 0
    for number in range(first, last):
        try:
            taken += database.writer.append("request", rows(number)).result()
        except StoreError as error:
            return taken, error
    raise AssertionError("the disk never was full")


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch):
    """The keeper looks once by itself, then only when a test asks it to."""
    monkeypatch.setattr(keeping, "RETRY_SECONDS", 600.0)


@pytest.fixture
def small_files():
    """Lets no file grow beyond a size until told otherwise: a full disk for whoever is not root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size_bytes):
        wanted = before[0] if size_bytes is None else size_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (wanted, before[1]))

    yield limit
    limit(None)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 24 MiB of its own; needs the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not made or made.returncode:
        pytest.skip(f"cannot mount: {made.stderr.strip() if made else 'there is no mount'}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def opened(path, **settings):
    return Database.open(path, StoreSettings(disk_reserve_bytes=0, **settings), WallClock())


def check_round(database, make_room):
    """Full, answering, refusing; then room, and rows are taken by the same open store."""
    taken, refused = fill(database)
    assert isinstance(refused, StoreFull | StoreReadOnly)
    assert "\n" not in str(refused)
    database.keeper.mend()
    found = database.standing.now()
    assert found.state == "full"
    assert "free some space" in found.hint
    at_least = database.reader.scalar(COUNT)
    assert at_least >= taken
    with pytest.raises(StoreFull, match="nothing of this batch"):
        database.writer.append("request", rows(5000))
    make_room()
    assert database.keeper.mend()
    assert database.standing.now().state == "ok"
    assert not database.is_read_only
    again = sum(database.writer.append("request", rows(n)).result() for n in (5000, 5001))
    assert again == 3000
    assert database.reader.scalar(COUNT) == at_least + again


def test_a_disk_that_fills_up_and_is_freed(tmp_path, small_files):
    """In the log or at a checkpoint, whichever comes first."""
    with opened(tmp_path / "a.duckdb") as database:
        small_files(3_500_000)
        check_round(database, lambda: small_files(None))


def test_a_checkpoint_that_finds_the_disk_full(tmp_path, small_files):
    """DuckDB refuses everything then; the file is opened to read only until there is room."""
    with opened(tmp_path / "a.duckdb") as database:
        for number in range(100, 130):
            database.writer.append("request", rows(number)).result()
        small_files(300_000)
        with pytest.raises(StoreError):
            database.writer.run(lambda connection: connection.execute("CHECKPOINT")).result()
        database.keeper.mend()
        assert database.is_read_only
        assert database.standing.now().state == "full"
        small_files(None)
        check_takes_rows_again(database)


def check_takes_rows_again(database):
    before = database.reader.scalar(COUNT)
    assert before == 45_000
    assert database.keeper.mend()
    assert not database.is_read_only
    assert database.writer.append("request", rows(1)).result() == 1500
    assert database.reader.scalar(COUNT) == before + 1500


def test_a_real_disk_that_fills_up_and_is_freed(small_disk):
    """As above, with a file system that has no room."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (18 << 20))
    with opened(small_disk / "a.duckdb") as database:
        check_round(database, ballast.unlink)


def test_a_disk_that_turns_read_only_and_back(tmp_path, monkeypatch):
    """It answers, says what is wrong, and takes rows as soon as they can be written."""
    told = [os.strerror(30)]
    monkeypatch.setattr(keeping, "try_to_write", lambda _: told[0])
    with opened(tmp_path / "a.duckdb") as database:
        taken = database.writer.append("request", rows(1)).result()
        database.standing.failed(OSError(f"fsync: {told[0]}"))
        assert not database.keeper.mend()
        since = database.standing.now().since
        with pytest.raises(StoreReadOnly, match="Read-only"):
            database.writer.append("request", rows(2))
        assert database.reader.scalar(COUNT) == taken
        assert not database.keeper.mend()
        assert (database.standing.now().state, database.standing.now().since) == (
            "read_only", since,
        )  # fmt: skip
        told[0] = None
        assert database.keeper.mend()
        assert database.writer.append("request", rows(2)).result() == 1500


def test_the_sandbox_stays_shut_when_the_store_was_opened_again(tmp_path):
    """SQL reaches no file after that either."""
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with opened(tmp_path / "a.duckdb") as database:
        database.writer.append("request", rows(1)).result()
        database.reopen(read_only=False)
        with pytest.raises(StoreError, match="disabled"):
            database.reader.scalar(f"SELECT count(*) FROM read_csv('{secret}')")
        assert database.reader.scalar(COUNT) == 1500


def test_a_store_that_cannot_be_opened_again_says_so(tmp_path):
    """Neither pages nor senders get a crash, but why and what to do; mended, it goes on."""
    path = tmp_path / "a.duckdb"
    with opened(path) as database:
        database.writer.append("request", rows(1)).result()
        database.writer.run(lambda connection: connection.execute("CHECKPOINT")).result()
        whole = path.read_bytes()
        path.write_bytes(b"\0" * 20_000)
        database.standing.note("stopped", "something broke", "wait")
        database.keeper.mend()
        found = database.standing.now()
        assert (found.state, "not a store" in found.what) == ("stopped", True)
        with pytest.raises(StorePaused):
            database.reader.scalar(COUNT)
        with pytest.raises(StoreReadOnly):
            database.writer.append("request", rows(2))
        path.write_bytes(whole)
        assert database.keeper.mend()
        assert database.writer.append("request", rows(2)).result() == 1500


def test_what_the_words_of_an_error_mean():
    """A full disk can be freed; one that cannot be written is looked at; the rest is ours."""
    for number in (28, 122, 27):
        assert disk_trouble(f'Could not write file "x": {os.strerror(number)}')[0] == "full"
    for number in (30, 5):
        assert disk_trouble(f"fsync failed: {os.strerror(number)}")[0] == "read_only"
    assert disk_trouble("Constraint Error: duplicate key") is None
