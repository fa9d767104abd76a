"""A journal beside the store: what was answered before it became rows is on disk, and comes back.

Records are appended to numbered segments and synced before the caller goes on; a segment is deleted
once nothing in it is needed. A record that a crash cut short was never answered: it is left out.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

_SUFFIX = ".segment"
_HEADER = struct.Struct("<IIB")  # checksum of the rest, length, length of the kind
_CHECKED_FROM = 4
SEGMENT_BYTES = 8 << 20


class Journal:
    """One folder of segments; all methods belong to one thread.

    Args:
        folder: made when it is not there; nobody else writes into it.
        segment_bytes: a segment is closed beyond this size.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._sizes: dict[int, int] = {}
        self._open: int | None = None
        self._current = 0

    def load(self) -> Iterator[tuple[int, str, bytes]]:
        """What an earlier run left: segment, kind, record; in the order of writing."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(self.folder.glob(f"{'[0-9]' * 12}{_SUFFIX}")):
            number = int(path.stem)
            self._current = max(self._current, number)
            data = path.read_bytes()
            self._sizes[number] = len(data)
            for kind, record in _records(data):
                yield number, kind, record

    @property
    def current(self) -> int:
        """The segment that is written, or was written last."""
        return self._current

    @property
    def size_bytes(self) -> int:
        """Size of all segments."""
        return sum(self._sizes.values())

    def add(self, records: Sequence[tuple[str, bytes]]) -> int:
        """Append records of a kind and wait until they are on disk.

        Returns:
            Their segment.

        Raises:
            OSError: the disk is full or broken; nothing of them counts.
        """
        if self._open is None or self._sizes[self._current] >= self._segment_bytes:
            self._next()
        if self._open is None:
            raise OSError("no segment is open")
        before = self._sizes[self._current]
        data = b"".join(_framed(kind, record) for kind, record in records)
        try:
            _write(self._open, data)
            os.fdatasync(self._open)
        except OSError:
            os.ftruncate(self._open, before)
            os.lseek(self._open, before, os.SEEK_SET)
            raise
        self._sizes[self._current] = before + len(data)
        return self._current

    def drop(self, number: int) -> None:
        """Delete a segment of which nothing is needed; the one being written is emptied later."""
        if number == self._current and self._open is not None:
            self._stop()
        self._path(number).unlink(missing_ok=True)
        self._sizes.pop(number, None)

    def close(self) -> None:
        """Let go; safe twice."""
        self._stop()

    def _next(self) -> None:
        self._stop()
        number = self._current + 1
        path = self._path(number)
        self._open = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._current = number
        self._sizes[number] = 0
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # a file that nobody finds after a power cut is no journal
        finally:
            os.close(folder)

    def _stop(self) -> None:
        if self._open is not None:
            os.close(self._open)
            self._open = None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:012d}{_SUFFIX}"


def _framed(kind: str, record: bytes) -> bytes:
    name = kind.encode()
    framed = _HEADER.pack(0, len(name) + len(record), len(name)) + name + record
    return zlib.crc32(framed[_CHECKED_FROM:]).to_bytes(4, "little") + framed[_CHECKED_FROM:]


def _records(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Whole records up to the first that is not."""
    at = 0
    while at + _HEADER.size <= len(data):
        checksum, length, name_length = _HEADER.unpack_from(data, at)
        end = at + _HEADER.size + length
        if end > len(data) or zlib.crc32(data[at + _CHECKED_FROM : end]) != checksum:
            return
        body = data[at + _HEADER.size : end]
        yield body[:name_length].decode(), body[name_length:]
        at = end


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
