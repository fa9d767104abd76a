"""What was not delivered yet, on disk: bounded, oldest dropped first and counted.

Promises:

* `append` gives `"disk"` only when the record is in the kernel: it outlives `kill -9` at any byte.
  It outlives a power cut once `sync` has run (`agent.spool_sync_seconds`).
* A record is handed out until it is acknowledged, in order, under the same `batch_id`, also after a
  restart. It may be handed out again after a crash: the server knows the id and changes nothing.
* More bytes or more age than allowed drop the oldest segment; a full disk drops the oldest segment
  and, when there is none, keeps the newest records in memory. Every record that goes undelivered is
  counted.

Ids are never used twice: each run begins a segment of its own, with a random name.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from collector.agent.cursor import Cursor
from collector.agent.framing import MOST_PAYLOAD_BYTES, Frame
from collector.agent.segment import SUFFIX, Segment
from collector.agent.settings import AgentSettings
from collector.drops import Drops
from store.clock import Clock
from store.errors import CollectError

DOOR = "agent"
TOO_OLD = "waited in the spool for longer than agent.spool_max_age_seconds"
TOO_MUCH = "the spool was full (agent.spool_max_bytes): the oldest went"
DISK_FULL = "the disk of the spool was full: the oldest went"
NO_ROOM = "neither disk nor memory had room"
CUT = "a record was cut short by a crash of the agent or the node"
DAMAGED = "a part of the spool was damaged on disk"
TOO_LARGE = "a record was larger than the spool takes"
_SEGMENTS = 16
_MOST_SEGMENT_BYTES = 4 << 20
_MEMORY_BYTES = 1 << 20

Kept = Literal["disk", "memory", "lost"]


@dataclass(frozen=True, slots=True)
class Record:
    """One thing to deliver.

    Args:
        batch_id: the same each time it is handed out, and of no other record.
        kind: see `collector.agent.wire`.
        rows: rows in it.
        at: when it was spooled, aware UTC.
        payload: the bytes.
    """

    batch_id: str
    kind: int
    rows: int
    at: datetime
    payload: bytes


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """How full the spool is.

    Args:
        records: records that wait.
        rows: rows in them.
        bytes: bytes on disk, delivered records of a segment in use included.
        oldest_at: when the first of them was spooled, aware UTC; None when nothing waits.
        in_memory: of `records`, those that the disk had no room for.
    """

    records: int
    rows: int
    bytes: int
    oldest_at: datetime | None
    in_memory: int


class Spool:
    """The spool in one folder. All methods belong to one thread.

    Args:
        folder: made when it is not there.
        settings: bounds.
        drops: counts what is lost.
        clock: the time.
    """

    def __init__(self, folder: Path, settings: AgentSettings, drops: Drops, clock: Clock) -> None:
        self.folder = folder
        self._settings = settings
        self._drops = drops
        self._clock = clock
        self._segment_bytes = min(_MOST_SEGMENT_BYTES, settings.spool_max_bytes // _SEGMENTS)
        self._segments: deque[Segment] = deque()
        self._memory: deque[Record] = deque()
        self._memory_made = 0
        self._number = 0
        self._writing: int | None = None
        self._reading: BinaryIO | None = None
        self._head: deque[tuple[Record, Frame]] = deque()
        self._lock: int | None = None
        self._cursor = Cursor(folder / "cursor")
        self._unsynced = False

    def open(self) -> Spool:
        """Take the folder and read what an earlier run left.

        Raises:
            CollectError: the folder cannot be used, or another agent uses it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._load()
        except BlockingIOError:
            raise CollectError(
                "another agent uses this spool", where=str(self.folder),
                hint="stop it, or give this one a folder of its own (agent.spool_folder)",
            ) from None  # fmt: skip
        except OSError as error:
            raise CollectError(
                f"the spool cannot be used ({error.strerror})", where=str(self.folder),
                hint="set agent.spool_folder to a folder that this user may write to",
            ) from error  # fmt: skip
        return self

    @property
    def most_payload_bytes(self) -> int:
        """Larger records are refused."""
        return min(self._settings.spool_max_bytes // 4, MOST_PAYLOAD_BYTES)

    def append(self, kind: int, rows: int, payload: bytes) -> Kept:
        """Keep a record; says where it is kept."""
        if len(payload) > self.most_payload_bytes:
            self._drops.add(DOOR, TOO_LARGE, max(rows, 1))
            return "lost"
        self._expire()
        kept = self._to_disk(kind, rows, payload)
        while self._bytes() > self._settings.spool_max_bytes and self._drop_oldest(TOO_MUCH):
            pass
        return "disk" if kept else self._to_memory(kind, rows, payload)

    def peek(self, most: int = 1, most_bytes: int = 1 << 20) -> tuple[Record, ...]:
        """The records to deliver next, in order; the same until `done` is called for them.

        Args:
            most: at most this many.
            most_bytes: no more once their payloads have this many bytes.

        Returns:
            At least one when something waits; fewer than there are at the end of a segment.
        """
        self._expire()
        while not self._head and self._segments:
            if not self._look(self._segments[0]):
                break
        if not self._head:
            return (self._memory[0],) if self._memory else ()
        self._read_ahead(most)
        told: list[Record] = []
        total = 0
        for record, _ in self._head:
            total += len(record.payload)
            if told and (len(told) == most or total > most_bytes):
                break
            told.append(record)
        return tuple(told)

    def done(self, record: Record) -> None:
        """A record was delivered or given up; it is not handed out again. In order."""
        if self._head and self._head[0][0] is record:
            segment = self._segments[0]
            segment.delivered(self._head.popleft()[1])
            self._cursor.write(segment.number, segment.name, segment.read_offset)
        elif self._memory and self._memory[0] is record:
            self._memory.popleft()

    def stats(self) -> SpoolStats:
        """How full it is."""
        first = self.peek()
        return SpoolStats(
            sum(segment.records for segment in self._segments) + len(self._memory),
            sum(segment.rows for segment in self._segments) + sum(r.rows for r in self._memory),
            self._bytes(),
            first[0].at if first else None,
            len(self._memory),
        )

    def unsynced(self) -> int | None:
        """A descriptor to fsync and close (in any thread) so that all is on disk; None = it is."""
        if self._writing is None or not self._unsynced:
            return None
        self._unsynced = False
        return os.dup(self._writing)

    def sync(self) -> None:
        """Wait until everything is on disk."""
        descriptor = self.unsynced()
        if descriptor is not None:
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Sync and let go; what is only in memory is lost, and counted. Safe twice."""
        for lost in self._memory:
            self._drops.add(DOOR, NO_ROOM, max(lost.rows, 1), lost.batch_id)
        self._memory.clear()
        with suppress(OSError):
            self.sync()
        self._stop_reading()
        self._stop_writing()
        if self._segments and not any(segment.records for segment in self._segments):
            for segment in self._segments:
                segment.path.unlink(missing_ok=True)
            self._segments.clear()
        self._cursor.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _load(self) -> None:
        told = self._cursor.read()
        self._number = told.number if told else 0
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            segment, flaws = Segment.load(path)
            for flaw in flaws:
                self._drops.add(DOOR, CUT if flaw == "cut" else DAMAGED, example=path.name)
            if segment is not None and told and segment.name == told.name:
                segment.skip_to(told.offset)
            read = told is not None and segment is not None and segment.number < told.number
            if segment is None or read or not segment.records:
                path.unlink(missing_ok=True)
                continue
            self._segments.append(segment)
            self._number = max(self._number, segment.number)

    def _to_disk(self, kind: int, rows: int, payload: bytes) -> bool:
        at = int(self._clock.now().timestamp() * 1e6)
        if self._short_of_disk():
            while len(self._segments) > 1 and self._drop_oldest(DISK_FULL):
                pass
        for _ in range(2):
            try:
                self._segment_for(len(payload)).add(self._descriptor(), kind, rows, at, payload)
            except OSError:
                if not self._drop_oldest(DISK_FULL):
                    return False
            else:
                self._unsynced = True
                return True
        return False

    def _to_memory(self, kind: int, rows: int, payload: bytes) -> Kept:
        """The disk takes nothing: the newest are kept here, a little of it."""
        self._memory_made += 1
        batch_id = f"{os.urandom(8).hex()}-m{self._memory_made}"
        self._memory.append(Record(batch_id, kind, rows, self._clock.now(), payload))
        while sum(len(record.payload) for record in self._memory) > _MEMORY_BYTES:
            lost = self._memory.popleft()
            self._drops.add(DOOR, NO_ROOM, max(lost.rows, 1))
        return "memory" if self._memory else "lost"

    def _segment_for(self, payload_bytes: int) -> Segment:
        """The segment to append to; a new one when there is none or it is full."""
        full = self._segments and self._segments[-1].size + payload_bytes > self._segment_bytes
        if self._writing is None or full:
            self.sync()
            self._stop_writing()
            segment, self._writing = Segment.create(self.folder, self._number + 1)
            self._number += 1
            self._segments.append(segment)
        return self._segments[-1]

    def _descriptor(self) -> int:
        assert self._writing is not None  # noqa: S101 - _segment_for has just made it
        return self._writing

    def _look(self, segment: Segment) -> bool:
        """Set the head from the first segment, or get past what is done or damaged in it.

        Returns:
            False when there is nothing to read in any segment.
        """
        if self._reading is None:
            self._reading = segment.path.open("rb")
        frame = segment.at(self._reading, segment.read_offset)
        if not isinstance(frame, Frame):
            return self._past(segment, damaged=frame is not None)
        if frame.payload is not None and frame.at_microseconds >= self._oldest_microseconds():
            self._head.append((_record(segment, segment.read_offset, frame, frame.payload), frame))
            return True
        reason = DAMAGED if frame.payload is None else TOO_OLD
        self._drops.add(DOOR, reason, max(frame.rows, 1), segment.path.name)
        segment.delivered(frame)
        return True

    def _read_ahead(self, most: int) -> None:
        """Fill the head from the same segment, up to a record that is not sound."""
        while len(self._head) < most and self._reading is not None:
            segment, offset = self._segments[0], self._head[-1][1].end
            frame = segment.at(self._reading, offset)
            if not isinstance(frame, Frame) or frame.payload is None:
                return
            self._head.append((_record(segment, offset, frame, frame.payload), frame))

    def _past(self, segment: Segment, *, damaged: bool) -> bool:
        """Leave a segment that has nothing more to read; False when it is the one in use."""
        if damaged and segment.records:
            self._drops.add(DOOR, DAMAGED, max(segment.rows, 1), segment.path.name)
        if damaged:
            segment.give_up()
        if self._writing is not None and segment is self._segments[-1]:
            return False
        self._remove_first()
        return True

    def _expire(self) -> None:
        limit = self._oldest_microseconds()
        while self._segments and self._segments[0].newest_microseconds < limit:
            if not self._segments[0].records or not self._drop_oldest(TOO_OLD):
                break
        while self._head and self._head[0][1].at_microseconds < limit:
            lost = self._head[0][0]
            self._drops.add(DOOR, TOO_OLD, max(lost.rows, 1), lost.batch_id)
            self.done(lost)

    def _oldest_microseconds(self) -> float:
        return (self._clock.now().timestamp() - self._settings.spool_max_age_seconds) * 1e6

    def _drop_oldest(self, reason: str) -> bool:
        """Give up the oldest segment, unless it is the one being written."""
        if not self._segments or (self._writing is not None and len(self._segments) == 1):
            return False
        lost = self._segments[0]
        self._drops.add(DOOR, reason, max(lost.rows, lost.records), lost.path.name)
        self._remove_first()
        return True

    def _remove_first(self) -> None:
        self._stop_reading()
        self._segments.popleft().path.unlink(missing_ok=True)

    def _bytes(self) -> int:
        return sum(segment.size for segment in self._segments)

    def _short_of_disk(self) -> bool:
        if not self._settings.spool_reserve_bytes:
            return False
        try:
            told = os.statvfs(self.folder)
        except OSError:
            return False
        return told.f_bavail * told.f_frsize < self._settings.spool_reserve_bytes

    def _stop_reading(self) -> None:
        self._head.clear()
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _stop_writing(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None


def _record(segment: Segment, offset: int, frame: Frame, payload: bytes) -> Record:
    at = datetime.fromtimestamp(frame.at_microseconds / 1e6, UTC)
    return Record(f"{segment.name}-{offset}", frame.kind, frame.rows, at, payload)
