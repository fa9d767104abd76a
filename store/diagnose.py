"""What is wrong with a store file and what to do about it, for `servescope doctor`.

Looks only: `store.repair` mends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from store import opening
from store.database import open_to_look
from store.errors import ServescopeError
from store.finding import Finding
from store.lake_diagnose import diagnose_lake
from store.migrate import latest_version, migrations
from store.settings import StoreSettings
from store.units import bytes_text, count_text

SPACE_WARN_BYTES = 1 << 30
SPACE_FAIL_BYTES = 100 << 20
# A checkpoint writes changed blocks anew before it frees the old ones.
SPACE_OF_STORE_RATIO = 0.5
_RESTORE = (
    "restore a backup, or move the file away and import your traces and exports again;"
    " what a live server scraped is only in this file"
)


def diagnose(path: Path, settings: StoreSettings, *, deep: bool = False) -> list[Finding]:
    """Look at a store file and everything beside it.

    Args:
        path: the database file; need not exist.
        settings: limits for the read-only look.
        deep: also read every value of every table, so that each block's checksum is verified.
    """
    findings = [*_folder(path), *_space(path)]
    if settings.lake:
        return [*findings, *diagnose_lake(settings)]
    try:
        opening.check_files(path)
    except ServescopeError as error:
        findings.append(Finding("fail", "file", error.message, error.hint))
        return [*findings, *_leftovers(path, held=False)]
    if not path.exists():
        fix = "nothing to do: the first import or `servescope up` makes it"
        return [*findings, Finding("note", "file", f"{path} does not exist yet", fix)]
    findings.append(_file(path))
    opened, held = _open(path, settings, deep=deep)
    return [*findings, *opened, *_leftovers(path, held=held)]


def _folder(path: Path) -> Iterator[Finding]:
    folder = path.parent
    if not folder.exists():
        yield Finding("note", "folder", f"{folder} does not exist yet", "it is made on first use")
    elif not folder.is_dir():
        yield Finding("fail", "folder", f"{folder} is not a folder", "choose another --store")
    elif not os.access(folder, os.W_OK | os.X_OK):
        fix = "change its permissions, or choose another place with --store"
        yield Finding("fail", "folder", f"{folder} cannot be written by this user", fix)
    else:
        yield Finding("ok", "folder", f"{folder} can be written")


def _space(path: Path) -> Iterator[Finding]:
    folder = next((parent for parent in path.absolute().parents if parent.is_dir()), Path("/"))
    free = shutil.disk_usage(folder).free
    size = path.stat().st_size if path.is_file() else 0
    text = f"{bytes_text(free)} free beside the store"
    fix = "free some space, or lower store.sample_retention_days and store.request_retention_days"
    if free < SPACE_FAIL_BYTES:
        yield Finding("fail", "disk space", text, fix)
    elif free < max(SPACE_WARN_BYTES, size * SPACE_OF_STORE_RATIO):
        yield Finding("warn", "disk space", text, fix)
    else:
        yield Finding("ok", "disk space", text)


def _file(path: Path) -> Finding:
    size = bytes_text(path.stat().st_size)
    release = opening.writing_release(path) or "an unknown release"
    return Finding("ok", "file", f"{path}, {size}, written by DuckDB {release}")


def _open(path: Path, settings: StoreSettings, *, deep: bool) -> tuple[list[Finding], bool]:
    """Findings inside the file, and whether somebody else holds it."""
    try:
        connection = open_to_look(path, settings)
    except duckdb.Error as error:
        return list(_unopened(error, path, settings)), opening.trouble(str(error)) == "locked"
    try:
        findings = [Finding("ok", "lock", "no other process holds the file")]
        findings += [_schema(connection), _content(connection)]
        if deep:
            findings += _blocks(connection)
    finally:
        connection.close()
    return findings, False


def _unopened(error: duckdb.Error, path: Path, settings: StoreSettings) -> Iterator[Finding]:
    text = str(error)
    kind = opening.trouble(text)
    explained = opening.explain(error, path)
    if kind == "locked":
        yield _lock(opening.holder(text, path))
    elif kind == "version":
        yield Finding("fail", "version", explained.message, explained.hint)
    elif kind == "log":
        yield Finding("fail", "log", explained.message, _log_fix(path, settings))
    elif kind == "other":
        fix = "see the message; if it stays unclear, report it"
        yield Finding("fail", "file", explained.message, fix)
    else:
        yield Finding("fail", "file", explained.message, _RESTORE)


def _lock(who: opening.Holder) -> Finding:
    text = f"the file is held{opening.holder_text(who)}"
    if who.url:
        return Finding("note", "lock", text, "use that server; commands go through it")
    stop = f"kill {who.pid}" if who.pid else "stop that process"
    return Finding("warn", "lock", text, f"wait for it or stop it ({stop}); never copy a held file")


def _log_fix(path: Path, settings: StoreSettings) -> str:
    """What is left without the log, and how to go on without it."""
    wal = opening.wal_path(path)
    left = _left_without_log(path, settings)
    return (
        f"{left}; the log holds the last {bytes_text(wal.stat().st_size)} of writing."
        f" To go on without it: mv '{wal}' '{wal}.damaged'"
    )


def _left_without_log(path: Path, settings: StoreSettings) -> str:
    # DuckDB looks for the log beside the name it is given: under a second name it finds none. A
    # symbolic link would not do, it is followed first.
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".doctor-") as folder:
            alias = Path(folder) / "without_log.duckdb"
            alias.hardlink_to(path)
            connection = open_to_look(alias, settings)
            try:
                return f"without its log the file has {_content(connection).text}"
            finally:
                connection.close()
    except (OSError, duckdb.Error):
        return "what the file has without its log cannot be told"


def _schema(connection: duckdb.DuckDBPyConnection) -> Finding:
    try:
        done = dict(connection.execute("SELECT version, content_hash FROM migration").fetchall())
    except duckdb.CatalogException:
        fix = "choose another --store; opening this one would add our tables to it"
        return Finding("fail", "schema", "a DuckDB file, but not one of ours", fix)
    known = {step.version: step for step in migrations()}
    newest, latest = max(done, default=0), latest_version()
    if newest > latest:
        text = f"schema version {newest}, this program knows up to {latest}"
        return Finding("fail", "schema", text, "upgrade servescope")
    changed = [known[v].name for v, h in done.items() if known[v].content_hash != h]
    if changed:
        fix = "use an unmodified servescope; migrations only ever move forward"
        text = f"migration {changed[0]} differs from the one this store was made with"
        return Finding("fail", "schema", text, fix)
    if newest < latest:
        text = f"schema version {newest}, {latest - newest} behind"
        return Finding("note", "schema", text, "nothing to do: the next start brings it up to date")
    return Finding("ok", "schema", f"schema version {newest}, up to date")


def _content(connection: duckdb.DuckDBPyConnection) -> Finding:
    rows: list[Any] = []
    for table, column in (("request", "arrived_at"), ("sample", "sampled_at")):
        try:
            row = connection.execute(f"SELECT count(*), max({column}) FROM {table}").fetchone()
        except duckdb.CatalogException:
            return Finding("note", "content", "none of our tables")
        rows.append(row)
    parts = [
        f"{count_text(rows[0][0])} requests" + (f" to {rows[0][1]}" if rows[0][0] else ""),
        f"{count_text(rows[1][0])} samples" + (f" to {rows[1][1]}" if rows[1][0] else ""),
    ]
    return Finding("ok", "content", ", ".join(parts))


def _blocks(connection: duckdb.DuckDBPyConnection) -> list[Finding]:
    names = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
    bad = []
    for (name,) in names:
        try:
            connection.execute(f'SELECT sum(hash(t)::HUGEINT) FROM "{name}" AS t').fetchall()
        except duckdb.Error as error:
            bad.append(f"{name} ({str(error).strip().splitlines()[0]})")
    if bad:
        fix = f"export what can be read (`servescope export`), then {_RESTORE}"
        return [Finding("fail", "blocks", f"cannot be read whole: {'; '.join(bad)}", fix)]
    return [Finding("ok", "blocks", f"all blocks of {len(names)} tables have their checksums")]


def _leftovers(path: Path, *, held: bool) -> Iterator[Finding]:
    """Files beside the store that nobody uses any more."""
    if held:
        return
    wal = opening.wal_path(path)
    if wal.exists() and wal.stat().st_size and path.exists():
        text = f"{wal.name}, {bytes_text(wal.stat().st_size)}: the last run did not close"
        yield Finding("note", "log", text, "nothing to do: it is read back at the next start")
    note = opening.server_file(path)
    if note.exists():
        text = f"{note.name} is left from a server that is gone"
        yield Finding("note", "leftovers", text, f"nothing to do, or: rm '{note}'")
    for folder, what in (
        (opening.spill_folder(path), "work files of a process that is gone"),
        (opening.incoming_folder(path), "uploads that were never imported"),
    ):
        size = _folder_bytes(folder)
        if size:
            text = f"{folder.name}: {bytes_text(size)} of {what}"
            yield Finding("warn", "leftovers", text, f"rm -r '{folder}'")


def _folder_bytes(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
