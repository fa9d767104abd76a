"""One file of the spool: appended to by one process run, read from the front, then deleted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from collector.agent.framing import (
    SEGMENT_HEADER_BYTES,
    Flaw,
    Frame,
    new_segment_header,
    pack,
    read_frame,
    segment_name,
)

SUFFIX = ".segment"


@dataclass(slots=True)
class Segment:
    """What waits in one file.

    Args:
        number: order among the segments; never used twice.
        name: random; a record is known to the server by name and offset.
        path: the file.
        size: bytes of header and whole records.
        read_offset: where the first record that was not delivered begins.
        records: records that wait.
        rows: rows in them.
        newest_microseconds: when the last one was spooled.
    """

    number: int
    name: str
    path: Path
    size: int = SEGMENT_HEADER_BYTES
    read_offset: int = SEGMENT_HEADER_BYTES
    records: int = 0
    rows: int = 0
    newest_microseconds: int = 0

    @classmethod
    def create(cls, folder: Path, number: int) -> tuple[Segment, int]:
        """A new file with its header, and the descriptor to append with.

        Raises:
            OSError: it cannot be made; nothing is left behind.
        """
        name, head = new_segment_header()
        path = folder / f"{number:016d}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, head, 0)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return cls(number, name, path), descriptor

    @classmethod
    def load(cls, path: Path) -> tuple[Segment | None, list[Flaw]]:
        """What a file of an earlier run holds, and what is wrong with it."""
        with path.open("rb") as file:
            name = segment_name(file.read(SEGMENT_HEADER_BYTES))
            if name is None:
                empty = path.stat().st_size < SEGMENT_HEADER_BYTES
                return None, [] if empty else ["damaged"]
            segment = cls(int(path.name.removesuffix(SUFFIX)), name, path)
            flaws = list(segment._take_in(file))
        if flaws:
            with suppress(OSError):  # or it is found, and counted, once more next time
                os.truncate(path, segment.size)
        return segment, flaws

    def add(self, descriptor: int, kind: int, rows: int, at_microseconds: int, body: bytes) -> None:
        """Append a record; after an error the file is as it was before.

        Raises:
            OSError: it could not be written.
        """
        frame = pack(kind, rows, at_microseconds, body)
        try:
            _write_all(descriptor, frame, self.size)
        except OSError:
            with suppress(OSError):  # what is left is a cut record, which reading finds
                os.ftruncate(descriptor, self.size)
            raise
        self.size += len(frame)
        self._count(rows, at_microseconds)

    def at(self, file: BinaryIO, offset: int) -> Frame | Flaw | None:
        """The record at `offset`; None behind the last one."""
        return read_frame(file, offset) if offset < self.size else None

    def delivered(self, frame: Frame) -> None:
        """Go on behind a record."""
        self.read_offset = frame.end
        self.records -= 1
        self.rows -= frame.rows

    def give_up(self) -> None:
        """Nothing more can be read."""
        self.read_offset, self.records, self.rows = self.size, 0, 0

    def skip_to(self, offset: int) -> None:
        """Take everything before `offset` as delivered; an offset inside a record: nothing."""
        kept = (self.read_offset, self.records, self.rows)
        with self.path.open("rb") as file:
            while self.read_offset < min(offset, self.size):
                frame = self.at(file, self.read_offset)
                if not isinstance(frame, Frame):
                    break
                self.delivered(frame)
        if self.read_offset != offset:
            self.read_offset, self.records, self.rows = kept

    def _take_in(self, file: BinaryIO) -> Iterator[Flaw]:
        """Count what is whole; the size ends before what is not."""
        while True:
            frame = read_frame(file, self.size)
            if frame is None:
                return
            if not isinstance(frame, Frame):
                yield frame
                return
            self.size = frame.end
            self._count(frame.rows, frame.at_microseconds)

    def _count(self, rows: int, at_microseconds: int) -> None:
        self.records += 1
        self.rows += rows
        self.newest_microseconds = max(self.newest_microseconds, at_microseconds)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        offset += written
        view = view[written:]
