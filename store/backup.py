"""A backup: the files of a snapshot as one stream, and that stream as a folder.

The stream is a tar archive whose last member, `manifest.json`, says what came before it, with
sizes and checksums; so a stream that was cut short is no backup.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import IO, Any

import duckdb

from store.errors import StoreDamaged, StoreError
from store.snapshot import FILE, Part, Snapshot

MANIFEST = "manifest.json"
SCHEMA = "servescope.backup/1"
CHUNK_BYTES = 1 << 20
SYNCED_BYTES = 16 << 20
"""Written at most before it is waited for: a commit of the store waits for what a backup has put
into the same file system's journal."""
_MOST_MANIFEST_BYTES = 64 << 20

Manifest = dict[str, Any]


def stream(snapshot: Snapshot, also: Mapping[str, Any] | None = None) -> Generator[bytes]:
    """The bytes of a backup; the snapshot is closed at the end, or when nobody reads on.

    Args:
        snapshot: open.
        also: what else the manifest says.

    Raises:
        StoreError: the snapshot was open for too long, or a file is shorter than it was.
    """
    try:
        files: list[Manifest] = []
        for part in snapshot.parts:
            yield from _member(part, snapshot, files)
        yield from _packed(MANIFEST, json.dumps(_manifest(snapshot, files, also), indent=1))
        yield b"\0" * (2 * tarfile.BLOCKSIZE)
    finally:
        snapshot.close()


def again(folder: Path) -> Generator[bytes]:
    """The bytes of a backup that lies in a folder, as `stream` made them.

    Raises:
        StoreDamaged: it is no backup, or a file of it is missing.
    """
    manifest = read_manifest(folder)
    for told in manifest["files"]:
        part = Part(told["name"], told["bytes"], path=folder / told["name"])
        files: list[Manifest] = []
        yield from _member(part, None, files)
        if not files:
            raise StoreDamaged("a file of the backup is missing", where=str(part.path))
    yield from _packed(MANIFEST, json.dumps(manifest, indent=1))
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def from_tar(file: Path) -> Generator[bytes]:
    """The bytes of a backup that is one file."""
    with file.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk


def unpack(
    chunks: Iterable[bytes], folder: Path, told: Callable[[int], None] = lambda _: None
) -> Manifest:
    """Write the files of a stream into a folder and make sure that they are what was sent.

    Args:
        chunks: what `stream` gives.
        folder: empty, or not there yet.
        told: called with the bytes that are written so far.

    Returns:
        The manifest; it is written too.

    Raises:
        StoreDamaged: the stream is cut short or no backup, or a checksum differs.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found: dict[str, tuple[int, str]] = {}
    manifest: Manifest | None = None
    done = 0
    try:
        with tarfile.open(fileobj=_Stream(chunks), mode="r|", bufsize=CHUNK_BYTES) as archive:
            for member in archive:
                source = archive.extractfile(member)
                if source is None or not _is_ours(member.name):
                    raise StoreDamaged(f"this is no backup: it holds '{member.name[:80]}'")
                if member.name == MANIFEST:
                    manifest = json.loads(source.read(_MOST_MANIFEST_BYTES))
                    continue
                digest = _write(source, folder / member.name, partial(_plus, told, done))
                done += member.size
                found[member.name] = (member.size, digest)
    except (tarfile.TarError, ValueError) as error:
        raise StoreDamaged(f"this is no backup, or a part of one ({error})") from error
    _compare(manifest, found)
    assert manifest is not None  # noqa: S101 - `_compare` refuses that
    write_manifest(folder, manifest)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """What a backup in a folder says of itself.

    Raises:
        StoreDamaged: it says nothing.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        if manifest["schema"] == SCHEMA:
            return dict(manifest)
        error: Exception = ValueError(str(manifest["schema"]))
    except (OSError, ValueError, KeyError, TypeError) as found:
        error = found
    raise StoreDamaged(
        f"this is no backup of servescope ({type(error).__name__}: {error})",
        where=str(folder), hint="name the folder that holds manifest.json",
    ) from error  # fmt: skip


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Say in a folder what it holds; the folder and the manifest are on disk afterwards."""
    with os.fdopen(_private(folder / MANIFEST), "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    for place in [path for path in folder.rglob("*") if path.is_dir()] + [folder, folder.parent]:
        sync_folder(place)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest(
    snapshot: Snapshot, files: list[Manifest], also: Mapping[str, Any] | None
) -> Manifest:
    return {
        "schema": SCHEMA,
        "taken_at": snapshot.taken_at.astimezone(UTC).isoformat(),
        "servescope": metadata.version("servescope"),
        "duckdb": duckdb.__version__,
        **(also or {}),
        "files": files,
    }


def _member(part: Part, snapshot: Snapshot | None, files: list[Manifest]) -> Iterator[bytes]:
    """One file with its head; nothing where it has gone."""
    with ExitStack() as stack:
        try:
            descriptor = part.open(stack)
        except FileNotFoundError:
            return
        digest, at = hashlib.sha256(), 0
        yield _head(part.name, part.size_bytes)
        while at < part.size_bytes:
            # Not `read`: the descriptor of the store is shared by everybody who backs up.
            chunk = os.pread(descriptor, min(CHUNK_BYTES, part.size_bytes - at), at)
            if not chunk:
                raise StoreError("a file of the store became shorter meanwhile", where=part.name)
            digest.update(chunk)
            at += len(chunk)
            yield chunk
            if snapshot is not None:
                snapshot.check()
        yield b"\0" * (-at % tarfile.BLOCKSIZE)
        files.append({"name": part.name, "bytes": at, "sha256": digest.hexdigest()})


def _packed(name: str, text: str) -> Iterator[bytes]:
    data = text.encode()
    yield _head(name, len(data)) + data + b"\0" * (-len(data) % tarfile.BLOCKSIZE)


def _head(name: str, size_bytes: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


def _plus(told: Callable[[int], None], before: int, written: int) -> None:
    told(before + written)


def _write(source: IO[bytes], file: Path, told: Callable[[int], None]) -> str:
    """Copy, a little at a time; gives the checksum of what was written."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, done, synced = hashlib.sha256(), 0, 0
    with os.fdopen(_private(file), "wb", buffering=0) as sink:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[sink.write(view) :]
            done += len(chunk)
            if done - synced >= SYNCED_BYTES:
                os.fdatasync(sink.fileno())
                # Nobody reads it soon: pages of the store are worth more in memory.
                os.posix_fadvise(sink.fileno(), 0, done, os.POSIX_FADV_DONTNEED)
                synced = done
            told(done)
        os.fsync(sink.fileno())
    return digest.hexdigest()


def _compare(manifest: Manifest | None, found: Mapping[str, tuple[int, str]]) -> None:
    if manifest is None or manifest.get("schema") != SCHEMA:
        raise StoreDamaged("the backup is cut short", hint="take it again")
    named = {told["name"]: (told["bytes"], told["sha256"]) for told in manifest["files"]}
    if FILE not in named:
        raise StoreDamaged("the backup holds no store", hint="take it again")
    wrong = sorted(name for name in {*named, *found} if named.get(name) != found.get(name))
    if wrong:
        raise StoreDamaged(
            f"{len(wrong)} of {len(named)} files differ from what the backup says of them:"
            f" {', '.join(wrong[:3])}",
            hint="use another backup",
        )


def _is_ours(name: str) -> bool:
    """Whether a member may be written: below the folder, and named as `snapshot` names things."""
    path = PurePosixPath(name)
    is_inside = not path.is_absolute() and ".." not in path.parts
    return is_inside and (name == MANIFEST or path.parts[0].startswith(FILE))


def _private(file: Path) -> int:
    """A new file, for its owner only: what a store holds is nobody else's business."""
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


class _Stream(io.RawIOBase):
    """Chunks as a file that can only be read on."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, missing = [], size if size >= 0 else 1 << 62
        while missing:
            if not self._left:
                self._left = next(self._chunks, b"")
                if not self._left:
                    break
            parts.append(self._left[:missing])
            self._left = self._left[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)


def stamp(at: datetime) -> str:
    """An instant as a part of a name, which sorts by time."""
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
