"""Why a store cannot be opened: who holds it, what is damaged, what to do. Connects to nothing."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from store.errors import SchemaError, StoreDamaged, StoreError, StoreLocked

Trouble = Literal["locked", "version", "log", "truncated", "not_a_store", "damaged", "other"]
MAGIC = b"DUCK"
_HEAD_BYTES = 88
_HOLDER = re.compile(r"PID (\d+)")
_VERSION = re.compile(r"version number (\d+)")
_DOCTOR = "run `servescope doctor --store FILE`; with --repair it saves what can be saved"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has the file open, as far as it can be seen.

    Attributes:
        pid: its number; None when DuckDB did not say.
        command: its command line; None when it cannot be read.
        url: where its server answers; None when it is not a server.
    """

    pid: int | None
    command: str | None
    url: str | None


def wal_path(path: Path) -> Path:
    """DuckDB's write-ahead log beside the database file."""
    return path.with_name(path.name + ".wal")


def incoming_folder(path: Path) -> Path:
    """Where a running server takes uploads from; the only folder its SQL may read."""
    return path.with_name(path.name + ".incoming")


def server_file(path: Path) -> Path:
    """Where a running server says how to reach it (JSON: url, pid, started_at)."""
    return path.with_name(path.name + ".server.json")


def spill_folder(path: Path) -> Path:
    """Where DuckDB puts work that is larger than memory."""
    return path.with_name(path.name + ".tmp")


def check_files(path: Path) -> None:
    """Refuse what DuckDB would accept in silence, or explain badly.

    Raises:
        StoreDamaged: the log is there and its database is not (opening would make an empty store
            and drop the log), or the path is no regular file, or another kind of file.
        StoreError: the file may not be written.
    """
    if not path.exists():
        if wal_path(path).exists() and wal_path(path).stat().st_size:
            raise StoreDamaged(
                f"the file is missing, but its log {wal_path(path).name} is there",
                where=str(path),
                hint="put the file back beside its log, or move the log away to begin anew",
            )
        return
    if not path.is_file():
        raise StoreDamaged("this is not a file", where=str(path), hint="choose another --store")
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreError(
            "the file may not be read and written by this user",
            where=str(path),
            hint="run as its owner, or change its permissions",
        )
    if head(path)[8:12] != MAGIC:
        raise StoreDamaged(
            "this is not a store" + (" (it is empty)" if not path.stat().st_size else ""),
            where=str(path),
            hint="choose another --store, or move this file away to begin anew",
        )


def head(path: Path) -> bytes:
    """The first bytes of the file: checksum, magic, storage version, writing release."""
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def writing_release(path: Path) -> str | None:
    """The DuckDB release that wrote the file, such as "v1.5.5"; None when it is not noted."""
    text = head(path)[52:].split(b"\0")[0].decode("ascii", "replace")
    return text if re.fullmatch(r"v[\w.+-]{1,31}", text) else None


def trouble(text: str) -> Trouble:
    """What kind of trouble an error message of DuckDB means."""
    for kind, signs in _SIGNS:
        if any(sign in text for sign in signs):
            return kind
    return "other"


_SIGNS: tuple[tuple[Trouble, tuple[str, ...]], ...] = (
    ("locked", ("Could not set lock", "Conflicting lock", "being used by another process",
                "different configuration")),
    ("version", ("Trying to read a database file with version number", "newer version of DuckDB")),
    ("log", ("WAL file",)),
    ("truncated", ("Could not read enough bytes",)),
    ("not_a_store", ("not a valid DuckDB database file", "sqlite_scanner")),
    ("damaged", ("Corrupt", "corrupt", "checksum", "Failed to deserialize")),
)  # fmt: skip


def explain(error: duckdb.Error, path: Path | None) -> StoreError:
    """The error of DuckDB as one of ours, with who, what and how to go on."""
    text = str(error)
    first = text.strip().splitlines()[0]
    kind = trouble(text)
    if kind == "locked":
        who = holder(text, path)
        wait = "wait until that process is done, or stop it first"
        ask = "use that server (its API and CLI answer meanwhile), or stop it first"
        return StoreLocked(
            f"the store is held{holder_text(who)}", where=str(path), hint=ask if who.url else wait
        )
    if kind == "version":
        number = _VERSION.search(text)
        return SchemaError(
            f"the file has storage version {number[1] if number else '?'},"
            f" which DuckDB {duckdb.__version__} cannot read",
            where=str(path),
            hint="use the servescope that wrote it, or export there and import here",
        )
    if kind == "other":
        return StoreError(first, where=str(path), hint="servescope doctor")
    words = {
        "log": "its write-ahead log is damaged",
        "truncated": "the file is shorter than it should be",
        "not_a_store": "this is not a store",
        "damaged": "the file is damaged",
    }
    return StoreDamaged(f"{words[kind]} ({first})", where=str(path), hint=_DOCTOR)


def holder(text: str, path: Path | None) -> Holder:
    """Who holds the file, from DuckDB's message, /proc and the server's own note."""
    found = _HOLDER.search(text)
    pid = int(found[1]) if found else None
    if "different configuration" in text:
        pid = os.getpid()
    return Holder(pid, command_line(pid), server_url(path))


def holder_text(who: Holder) -> str:
    """Who holds it, to be put behind "is held"."""
    process = f" by process {who.pid}" if who.pid else ""
    command = f" ({who.command})" if who.command else ""
    return process + command + (f", a server at {who.url}" if who.url else "")


def command_line(pid: int | None) -> str | None:
    """The command line of a process; None when it cannot be seen."""
    if pid is None:
        return None
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    text = " ".join(raw.replace(b"\0", b" ").decode(errors="replace").split())
    return text[:120] or None


def server_url(path: Path | None) -> str | None:
    """Where the server of this store answers; None when none left a note."""
    if path is None:
        return None
    try:
        url = json.loads(server_file(path).read_text("utf-8")).get("url")
    except (OSError, ValueError, AttributeError):
        return None
    return str(url) if url else None
