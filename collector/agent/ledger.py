"""Losses that the server has not been told yet, on disk: a restart forgets none.

They travel in batches, but only while batches arrive: what is told in a batch that is itself lost
would be lost with it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import orjson

from collector.drops import Drop, Drops
from store.clock import Clock

_BUCKET_SECONDS = 600
_MOST = 1_000


class DropLedger:
    """Counts by ten minutes, door and reason.

    Args:
        path: the file.
        drops: where losses are counted first.
        clock: the time.
    """

    def __init__(self, path: Path, drops: Drops, clock: Clock) -> None:
        self._path = path
        self._drops = drops
        self._clock = clock
        self._waiting: dict[tuple[int, str, str], tuple[int, str]] = {}

    def load(self) -> None:
        """Read what an earlier run left; a damaged file is as none."""
        with suppress(OSError, ValueError, TypeError):
            for bucket, door, reason, count, example in orjson.loads(self._path.read_bytes()):
                self._add(int(bucket), Drop(str(door), str(reason), int(count), str(example)))

    def collect(self) -> None:
        """Note what was counted since the last time."""
        new = self._drops.take()
        bucket = int(self._clock.now().timestamp()) // _BUCKET_SECONDS * _BUCKET_SECONDS
        for drop in new:
            self._add(bucket, drop)
        if new:
            self._write()

    def take(self) -> tuple[tuple[datetime, Drop], ...]:
        """Everything that waits; call `told` once it is safe elsewhere."""
        zone = self._clock.now().tzinfo
        return tuple(
            (datetime.fromtimestamp(bucket, zone), Drop(door, reason, count, example))
            for (bucket, door, reason), (count, example) in sorted(self._waiting.items())
        )

    def told(self) -> None:
        """What was taken is safe."""
        if self._waiting:
            self._waiting = {}
            self._write()

    def _add(self, bucket: int, drop: Drop) -> None:
        key = (bucket, drop.door, drop.reason)
        if key not in self._waiting and len(self._waiting) >= _MOST:
            key = max(self._waiting)  # a long outage with many reasons: the newest takes the rest
        count, example = self._waiting.get(key, (0, ""))
        self._waiting[key] = (count + drop.count, example or drop.example)

    def _write(self) -> None:
        rows = [[*key, *told] for key, told in self._waiting.items()]
        aside = self._path.with_suffix(".new")
        with suppress(OSError):  # a full disk: they stay in memory
            aside.write_bytes(orjson.dumps(rows))
            os.replace(aside, self._path)
