"""What the doctor says about files that really are missing, held or damaged."""

import os
import shutil
import struct
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from store import opening
from store.clock import WallClock
from store.database import Database
from store.diagnose import diagnose
from store.errors import SchemaError, StoreDamaged, StoreError, StoreLocked
from store.retention import checkpoint
from store.settings import StoreSettings

SETTINGS = StoreSettings()


def rows(first, n):
    return pl.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(first, first + n)],
            "arrived_at": [datetime(2026, 1, 1)] * n,
            "status": ["ok"] * n,
            "e2e_seconds": [i / 7 for i in range(n)],
        }
    )


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """A store of 5,000 rows whose process was killed with 30 more in the log."""
    folder = tmp_path_factory.mktemp("crashed")
    rows(0, 5000).write_parquet(folder / "old.parquet")
    rows(5000, 30).write_parquet(folder / "new.parquet")
    code = f"""
import os
from pathlib import Path
import polars as pl
from store.clock import WallClock
from store.database import Database
from store.retention import checkpoint
from store.settings import StoreSettings
folder = Path({str(folder)!r})
database = Database.open(folder / "a.duckdb", StoreSettings(), WallClock())
database.writer.append("request", pl.read_parquet(folder / "old.parquet")).result()
checkpoint(database.writer)
database.writer.append("request", pl.read_parquet(folder / "new.parquet")).result()
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert (folder / "a.duckdb.wal").stat().st_size
    return folder


@pytest.fixture
def store(crashed, tmp_path):
    """A fresh copy of the crashed store."""
    for name in ("a.duckdb", "a.duckdb.wal"):
        shutil.copy(crashed / name, tmp_path / name)
    return tmp_path / "a.duckdb"


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def said(path, *, level=None, deep=False):
    """Findings as `subject: text | fix`, of one level or all that are not ok."""
    return [
        f"{f.subject}: {f.text} | {f.fix}"
        for f in diagnose(path, SETTINGS, deep=deep)
        if f.level == level or (level is None and f.level != "ok")
    ]


def refused(path, kind):
    """The one line that opening gives."""
    with pytest.raises(kind) as error:
        Database.open(path, SETTINGS, WallClock())
    text = str(error.value)
    assert "\n" not in text
    assert error.value.hint
    return text


def test_a_missing_store_is_no_problem(tmp_path):
    """Nothing there yet is a note with what makes it."""
    assert any("does not exist yet" in line for line in said(tmp_path / "a.duckdb", level="note"))
    assert not said(tmp_path / "a.duckdb", level="fail")


def test_a_crashed_store_is_fine_and_keeps_its_rows(store):
    """After a kill the log is read back; the doctor says so and changes nothing."""
    before = store.read_bytes()
    assert [line.split(":")[0] for line in said(store)] == ["log"]
    assert not said(store, level="fail", deep=True)
    assert store.read_bytes() == before
    with Database.open(store, SETTINGS, WallClock()) as database:
        assert database.reader.scalar("SELECT count(*) FROM request") == 5030


def test_a_held_file_names_its_holder(store):
    """Another process holds it: who, and the server's address when it left one."""
    opening.server_file(store).write_text('{"url": "http://127.0.0.1:1234", "pid": 1}')
    code = (
        "import sys; from pathlib import Path; from store.clock import WallClock\n"
        "from store.database import Database; from store.settings import StoreSettings\n"
        f"d = Database.open(Path({str(store)!r}), StoreSettings(), WallClock())\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout.readline() == b"open\n"
        line = next(line for line in said(store) if line.startswith("lock"))
        assert f"process {holder.pid} (" in line
        assert "python" in line
        assert "http://127.0.0.1:1234" in line
        assert f"process {holder.pid}" in refused(store, StoreLocked)
        holder.stdin.close()


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "empty"), (b"hello world\n" * 1000, "not a store"),
     (b"SQLite format 3\0" + bytes(5000), "not a store")],
)  # fmt: skip
def test_another_kind_of_file_is_left_alone(tmp_path, content, word):
    """A file that is no store is refused and not touched."""
    path = tmp_path / "a.duckdb"
    path.write_bytes(content)
    assert word in said(path, level="fail")[0]
    assert word in refused(path, StoreDamaged)
    assert path.read_bytes() == content


def test_a_folder_is_not_a_store(tmp_path):
    """A folder in the store's place is named as such."""
    assert "not a file" in refused(tmp_path, StoreDamaged)
    assert "not a file" in said(tmp_path, level="fail")[0]


def test_a_cut_file_is_called_cut(store):
    """A file that lost its end says what can still be done."""
    os.truncate(store, store.stat().st_size // 2)
    assert "shorter than it should be" in refused(store, StoreDamaged)
    assert "restore a backup" in said(store, level="fail")[0]


@pytest.mark.parametrize("at", [20, 5000])
def test_a_damaged_header_is_not_called_a_lock(store, at):
    """The word "block" in DuckDB's message does not make it a lock."""
    flip(store, at)
    assert "damaged" in refused(store, StoreDamaged)
    assert "damaged" in said(store, level="fail")[0]


def test_damage_in_the_middle_is_found_by_a_deep_look(store):
    """Every block is read; the table that cannot be read is named."""
    opening.wal_path(store).unlink()
    for at in range(12_288 + 100, store.stat().st_size, 262_144):
        flip(store, at)
    lines = said(store, level="fail", deep=True)
    assert lines
    assert "checksum" in " ".join(lines) or "damaged" in " ".join(lines)


def test_a_damaged_log_says_what_is_left_and_how_to_go_on(store):
    """Following the advice gives the store back without the last rows."""
    wal = opening.wal_path(store)
    flip(wal, wal.stat().st_size // 2)
    assert "log is damaged" in refused(store, StoreDamaged)
    line = said(store, level="fail")[0]
    assert "5,000 requests" in line
    subprocess.run(line.split("without it: ")[1], shell=True, check=True)  # noqa: S602
    with Database.open(store, SETTINGS, WallClock()) as database:
        assert database.reader.scalar("SELECT count(*) FROM request") == 5000


def test_a_log_without_its_file_is_not_thrown_away(store):
    """DuckDB would make an empty store and drop the log; we refuse."""
    store.unlink()
    assert "its log a.duckdb.wal is there" in refused(store, StoreDamaged)
    assert opening.wal_path(store).stat().st_size
    assert said(store, level="fail")


def checksum(data):
    """DuckDB's checksum of a block."""
    result = 5381
    for (word,) in struct.iter_unpack("<Q", data):
        result ^= word * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    return result


def test_a_newer_storage_version_asks_for_the_newer_program(store):
    """A file of a later DuckDB is not called damaged."""
    content = bytearray(store.read_bytes())
    header = content[8:4096]
    assert struct.unpack("<Q", content[:8])[0] == checksum(header)
    header[4:12] = struct.pack("<Q", 200)
    content[:4096] = struct.pack("<Q", checksum(header)) + header
    store.write_bytes(content)
    assert "storage version 200" in refused(store, SchemaError)
    assert "storage version 200" in said(store, level="fail")[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("INSERT INTO migration VALUES (99, 'x', 'y', 'z', now()::TIMESTAMP)", "version 99"),
        ("UPDATE migration SET content_hash = 'other' WHERE version = 1", "differs"),
        ("DELETE FROM migration WHERE version = (SELECT max(version) FROM migration)", "behind"),
        ("DROP TABLE migration", "not one of ours"),
    ],
)
def test_the_schema_is_compared_with_this_program(tmp_path, change, words):
    """Newer, changed, older and foreign schemas are told apart."""
    path = tmp_path / "a.duckdb"
    with Database.open(path, SETTINGS, WallClock()) as database:
        database.writer.run(lambda con: con.execute(change)).result()
    assert any(words in line for line in said(path) if line.startswith("schema"))


def test_leftovers_are_named(tmp_path):
    """Work files and uploads of a process that is gone are listed, with how to be rid of them."""
    path = tmp_path / "a.duckdb"
    with Database.open(path, SETTINGS, WallClock()) as database:
        checkpoint(database.writer)
    for folder in (opening.spill_folder(path), opening.incoming_folder(path)):
        folder.mkdir(exist_ok=True)
        (folder / "x").write_bytes(b"x" * 10_000)
    assert sum("rm -r" in line for line in said(path, level="warn")) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """A read-only folder gives one line, from the doctor and from opening."""
    tmp_path.chmod(0o500)
    try:
        assert "cannot be written" in said(tmp_path / "a.duckdb", level="fail")[0]
        assert "cannot be written" in refused(tmp_path / "a.duckdb", StoreError)
    finally:
        tmp_path.chmod(0o700)


def test_the_place_of_the_store_may_be_a_file(tmp_path):
    """A parent that is a file gives one line, too."""
    (tmp_path / "file").touch()
    assert "cannot create" in refused(Path(tmp_path / "file" / "a.duckdb"), StoreError)
