"""A backup is the store at one instant, whatever is written then; a restore is all or nothing."""

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from store import backup, restore, restoring, snapshot
from store.clock import WallClock
from store.database import Database
from store.errors import InputError, StoreDamaged, StoreError, StoreLocked
from store.settings import StoreSettings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def rows(number, count=500):
    return pl.DataFrame(
        {
            "request_id": [f"{number}-{i}" for i in range(count)],
            "arrived_at": [
                datetime(2026, 1, 1) + timedelta(seconds=number, microseconds=i)
                for i in range(count)
            ],
            "status": ["ok"] * count,
        }
    )


def add(database, numbers, count=500):
    for number in numbers:
        database.writer.append("request", rows(number, count)).result()


def opened(path):
    return Database.open(path, StoreSettings(), WallClock())


def counted(path):
    with opened(path) as database:
        return database.reader.scalar("SELECT count(*) FROM request")


def taken(database, folder):
    snap = snapshot.of_running(database, NOW)
    return backup.unpack(backup.stream(snap), folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a store and a backup of it, made once."""
    folder = tmp_path_factory.mktemp("made")
    path = folder / "live.duckdb"
    (folder / "live.duckdb.models" / "m").mkdir(parents=True)
    (folder / "live.duckdb.models" / "m" / "weights").write_bytes(b"w" * 3000)
    (folder / "live.duckdb.secret").write_text("abc")
    (folder / "live.duckdb.remote-write").mkdir()
    (folder / "live.duckdb.remote-write" / "000000000001.segment").write_bytes(b"s" * 10)
    with opened(path) as database:
        add(database, range(3))
        taken(database, folder / "backup")
    return folder


@pytest.fixture
def store(made, tmp_path):
    """A store of 1,500 requests with a model, a secret and a journal beside it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "live.duckdb"


@pytest.fixture
def kept(store):
    """A backup of it."""
    return store.with_name("backup")


def test_what_comes_during_a_backup_is_not_in_it_and_what_came_before_is(store, tmp_path):
    """Large and small writes, deletes and a checkpoint in the middle of it change nothing in it."""
    with opened(store) as database:
        add(database, range(3, 6))
        snap = snapshot.of_running(database, NOW)
        add(database, range(6, 9))
        add(database, [9], 150_000)
        deleting = "DELETE FROM request WHERE arrived_at < '2026-01-01 00:00:02'"
        database.writer.run(lambda connection: connection.execute(deleting)).result()
        with pytest.raises(StoreError, match="CHECKPOINT"):
            database.writer.run(lambda connection: connection.execute("CHECKPOINT")).result()
        backup.unpack(backup.stream(snap), tmp_path / "new")
        database.writer.run(lambda connection: connection.execute("CHECKPOINT")).result()
    assert restore.checked(tmp_path / "new").rows["request"] == 3000
    assert counted(store) == 3000 - 1000 + 1500 + 150_000


def test_nobody_can_open_the_store_after_a_backup_of_it(store, tmp_path):
    """Reading the file in the process that holds it does not give up its lock."""
    with opened(store) as database:
        taken(database, tmp_path / "new")
        code = f"import duckdb; duckdb.connect({str(store)!r})"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"lock" in other.stderr


def test_only_one_backup_at_a_time_and_the_next_one_works(store, tmp_path):
    """A stream that nobody reads to its end lets the next one begin."""
    with opened(store) as database:
        snap = snapshot.of_running(database, NOW)
        stream = backup.stream(snap)
        next(stream)
        with pytest.raises(StoreLocked, match="being taken"):
            snapshot.of_running(database, NOW)
        stream.close()
        assert taken(database, tmp_path / "new")["taken_at"] == NOW.isoformat()


def test_everything_that_belongs_to_a_store_comes_back(store, kept, tmp_path):
    """File, model, secret and journal, under the name of the new store."""
    new = tmp_path / "elsewhere" / "other.duckdb"
    done = restore.restore(kept, new, NOW)
    assert done.before is None
    assert done.contents.rows["request"] == 1500
    assert (new.parent / "other.duckdb.models" / "m" / "weights").read_bytes() == b"w" * 3000
    assert (new.parent / "other.duckdb.secret").stat().st_mode & 0o77 == 0
    assert (new.parent / "other.duckdb.remote-write" / "000000000001.segment").exists()
    assert counted(new) == 1500
    assert sorted(path.name for path in new.parent.iterdir() if "before" in path.name) == []


def test_a_restore_does_not_overwrite_a_store_without_a_word(store, kept):
    """It refuses; told to replace it moves what was there into a folder beside it."""
    with opened(store) as database:
        add(database, range(3, 5))
    with pytest.raises(InputError, match="a store already"):
        restore.restore(kept, store, NOW)
    done = restore.restore(kept, store, NOW, replace=True)
    assert counted(store) == 1500
    assert counted(done.before / store.name) == 2500
    assert (done.before / f"{store.name}.secret").exists()


def test_a_store_that_somebody_holds_is_not_replaced(store, kept):
    """The lock of another process is seen, on a damaged file too."""
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
            restore.restore(kept, store, NOW, replace=True)
    finally:
        other.communicate()
    assert counted(store) == 1500


def files_of(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("how", ["flip", "cut", "remove", "add"])
def test_a_backup_that_is_not_whole_is_refused_and_the_store_stays(store, kept, how):
    """A changed, shortened or missing file, or a manifest that speaks of others."""
    file = kept / "store.duckdb"
    if how == "flip":
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:-4096])
    elif how == "remove":
        (kept / "store.duckdb.secret").unlink()
    else:
        manifest = json.loads((kept / "manifest.json").read_text())
        manifest["files"][0]["sha256"] = "0" * 64
        (kept / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError):
        restore.restore(kept, store, NOW, replace=True)
    assert counted(store) == 1500
    assert not restoring.draft_folder(store).exists()


def test_a_stream_that_is_cut_anywhere_is_no_backup(store, tmp_path):
    """Whatever is left of it, unpacking says so."""
    with opened(store) as database:
        whole = b"".join(backup.stream(snapshot.of_running(database, NOW)))
    for share in (0.0, 0.01, 0.5, 0.9, 0.99):
        part = whole[: int(len(whole) * share)]
        with pytest.raises(StoreDamaged):
            backup.unpack([part], tmp_path / "part")
        shutil.rmtree(tmp_path / "part", ignore_errors=True)


def test_names_that_lead_elsewhere_are_refused(tmp_path):
    """An archive may not write outside of its folder."""
    for name in ("../evil", "/root/evil", "store.duckdb/../../evil", "other"):
        chunk = backup._head(name, 0)
        with pytest.raises(StoreDamaged, match="no backup"):
            backup.unpack([chunk], tmp_path / "out")


class Killed(BaseException):
    """The process is gone."""


def killed_after(step, patched):
    """Let so many files be moved, then none; gives those that were."""
    moves = []

    def counting(real):
        def move(self, target):
            if len(moves) == step:
                raise Killed
            moves.append(self.name)
            return real(self, target)

        return move

    for name in ("rename", "replace"):
        patched.setattr(Path, name, counting(getattr(Path, name)))
    return moves


@pytest.mark.parametrize("step", range(12))
def test_a_killed_restore_leaves_the_old_store_or_the_new_one(tmp_path, monkeypatch, step):
    """Whichever move was the last: what has begun is finished by the next who opens."""
    store, draft = tmp_path / "a.duckdb", restoring.draft_folder(tmp_path / "a.duckdb")
    old, new = ("", ".wal", ".secret", ".models"), ("", ".wal", ".models", ".reports")
    draft.mkdir()
    for ending in old:
        (tmp_path / f"a.duckdb{ending}").write_text("old")
    for ending in new:
        (draft / f"store.duckdb{ending}").write_text("new")
    with monkeypatch.context() as patched:
        moves = killed_after(step, patched)
        with contextlib.suppress(Killed):
            restoring.switch(store, "store.duckdb", tmp_path / "before")
    assert len(moves) == min(step, 9)
    restoring.finish_restore(store)
    found = {ending: tmp_path / f"a.duckdb{ending}" for ending in restoring.ENDINGS}
    told = {ending: file.read_text() for ending, file in found.items() if file.exists()}
    assert told == dict.fromkeys(old, "old") if step == 0 else dict.fromkeys(new, "new")
    if step:
        before = {file.name: file.read_text() for file in (tmp_path / "before").iterdir()}
        assert before == {f"a.duckdb{ending}": "old" for ending in old}


def test_who_opens_a_store_finishes_a_restore_that_was_killed(store, kept, monkeypatch):
    """Nobody is given an empty store because the old one had just been moved away."""
    with opened(store) as database:
        add(database, range(3, 5))
    real = restoring._move_all
    monkeypatch.setattr(restoring, "_move_all", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        restore.restore(kept, store, NOW, replace=True)
    monkeypatch.setattr(restoring, "_move_all", real)
    assert counted(store) == 1500


def test_a_backup_of_a_store_that_no_server_holds(store, tmp_path):
    """Its log is in it, and nobody can write it meanwhile."""
    snap = snapshot.of_file(store, StoreSettings(), NOW)
    stream = backup.stream(snap)
    first = next(stream)
    code = f"import duckdb; duckdb.connect({str(store)!r})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"lock" in other.stderr
    backup.unpack([first, *stream], tmp_path / "new")
    assert restore.checked(tmp_path / "new").rows["request"] == 1500
    assert counted(store) == 1500


def test_users_and_tokens_come_back_although_somebody_writes_them(store, tmp_path):
    """They lie in SQLite, whose log must not be left behind."""
    with closing(sqlite3.connect(store.with_name(store.name + ".access"))) as users:
        users.execute("PRAGMA journal_mode=WAL")
        users.execute("CREATE TABLE who (name)")
        users.execute("INSERT INTO who VALUES ('ana')")
        users.commit()
        with opened(store) as database:
            taken(database, tmp_path / "new")
    restore.restore(tmp_path / "new", tmp_path / "other.duckdb", NOW)
    with closing(sqlite3.connect(tmp_path / "other.duckdb.access")) as users:
        assert users.execute("SELECT name FROM who").fetchall() == [("ana",)]
