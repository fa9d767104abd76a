"""Attempts on their way to the server: a line in the kernel, a batch in the spool, a row there.

    attempt -> journal (at once) -> spool (64 rows or a second) -> the server's door -> row

None is lost while the server is away, nor by `kill -9`: the journal and the spool lie on disk, and
a batch that is sent again is known at the door by its id. Only bounds lose rows (age and bytes of
the spool, a full disk), and each is counted and told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from collector.agent.delivery import Delivery, DeliveryState, otlp_payload
from collector.agent.ledger import DropLedger
from collector.agent.post import Poster
from collector.agent.spool import Spool
from collector.agent.wire import OTLP
from collector.drops import Drops
from controller.gateway.attempt import Attempt
from controller.gateway.journal import Journal
from controller.gateway.recording import RecorderSettings, server_poster
from controller.gateway.rows import Marks, row_of
from store.clock import Clock
from store.errors import CollectError

log = logging.getLogger(__name__)

DOOR = "gateway"
CUT = "a row was cut short by a crash of the gateway or the node"
BROKEN = "a row could not be made"
MOST_ROWS = 64
"""Rows in a batch: packing so many takes the loop about 0.3 ms."""
MOST_BYTES = 512 << 10
LAST_DELIVERY_SECONDS = 3.0
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 1


@dataclass(frozen=True, slots=True)
class RecorderState:
    """How rows stand.

    Attributes:
        recorded: rows since the start.
        waiting_rows: that the server does not have yet.
        spool_bytes: of them on disk.
        dropped: reason -> rows lost since the start.
        delivery: what became of the others.
    """

    recorded: int
    waiting_rows: int
    spool_bytes: int
    dropped: Mapping[str, int]
    delivery: DeliveryState


class GatewayDrops(Drops):
    """Losses under the gateway's own name: the spool was made for agents."""

    def add(self, door: str, reason: str, count: int = 1, example: str = "") -> None:
        """Count them."""
        mended = reason.replace("agent.", "gateway.").replace("the agent", "the gateway")
        super().add(DOOR, mended, count, example)


class SpoolingRecorder:
    """Keeps what is known of attempts. All methods belong to the event loop's thread.

    Args:
        settings: bounds.
        spool: where batches wait.
        delivery: takes them to the server.
        posters: its ways there, closed at the end.
        drops: counts what is lost; the spool's own.
        clock: the time.
        marks: tells what is in force.
    """

    def __init__(
        self,
        settings: RecorderSettings,
        spool: Spool,
        delivery: Delivery,
        posters: Sequence[Poster],
        drops: Drops,
        clock: Clock,
        marks: Callable[[], Marks] = Marks,
    ) -> None:
        self.identity = secrets.token_hex(8)
        self.drops = drops
        self._settings = settings
        self._spool, self._delivery, self._posters = spool, delivery, tuple(posters)
        self._clock, self._marks = clock, marks
        self._path = f"/api/v1/gateways/{quote(settings.name, safe='')}/rows"
        self._ledger = DropLedger(spool.folder / "drops.json", drops, clock)
        self._journal = Journal(spool.folder / "rows.open")
        self._lines: list[bytes] = []
        self._bytes = 0
        self._recorded = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._last: RecorderState | None = None

    def open(self) -> None:
        """Take the folder, and pack what an earlier run left.

        Raises:
            CollectError: it cannot be used, or another gateway uses it.
        """
        try:
            self._spool.open()
            self._lines, is_cut = self._journal.open()
        except CollectError as error:
            hint = (error.hint or "").replace("agent.", "gateway.")
            text = str(error.args[0]).replace("another agent", "another gateway")
            raise CollectError(text, where=error.where, hint=hint) from error
        except OSError as error:
            raise CollectError(
                f"the spool cannot be used ({error.strerror})", where=str(self._spool.folder),
                hint="set gateway.spool_folder to a folder that this user may write to",
            ) from error  # fmt: skip
        self._ledger.load()
        self.drops.add(DOOR, CUT, int(is_cut))
        self.flush()
        self._journal.empty()

    def start(self) -> None:
        """Deliver from now on."""
        work = (self._delivery.run, self._keep_flushing, self._keep_synced)
        self._tasks = [asyncio.create_task(self._keep_going(each)) for each in work]

    def record(self, attempt: Attempt) -> None:
        """Keep an attempt that is over: in the kernel when this returns."""
        try:
            line = orjson.dumps(row_of(attempt, self.identity, self._marks()))
        except Exception:
            # One row must never end the answer that it tells of.
            log.exception("row_not_made")
            self.drops.add(DOOR, BROKEN)
            return
        self._journal.add(line)
        self._lines.append(line)
        self._bytes += len(line)
        self._recorded += 1
        if len(self._lines) >= MOST_ROWS or self._bytes >= MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Pack what there is into the spool."""
        self._ledger.collect()
        # Losses are told once batches arrive: what goes with a batch may be lost with it.
        drops = self._ledger.take() if self._delivery.state.problem is None else ()
        if not self._lines and not drops:
            return
        lines, self._lines, self._bytes = self._lines, [], 0
        told = [[at.timestamp(), d.door, d.reason, d.count, d.example] for at, d in drops]
        body = b'{"rows":[%b],"drops":%b}' % (b",".join(lines), orjson.dumps(told))
        kept = self._spool.append(OTLP, len(lines), self._packed(body))
        self._journal.empty()
        if drops and kept == "disk":
            self._ledger.told()
        self._ledger.collect()
        self._delivery.wake()

    def state(self) -> RecorderState:
        """How rows stand; after the end, as they stood then."""
        if self._last is not None:
            return self._last
        waiting = self._spool.stats()
        dropped: dict[str, int] = {}
        for (_, reason), count in self.drops.totals().items():
            dropped[reason] = dropped.get(reason, 0) + count
        return RecorderState(
            self._recorded,
            waiting.rows + len(self._lines),
            waiting.bytes,
            dropped,
            self._delivery.state,
        )

    async def aclose(self) -> None:
        """Pack what there is, deliver it when the server answers, let go. Safe twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self.flush()
        if self._delivery.state.problem is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_DELIVERY_SECONDS):
                    await self._delivery.flush()
        self._last = self.state()
        for poster in self._posters:
            await poster.aclose()
        self._spool.close()
        self._ledger.collect()
        self._journal.close()

    def _packed(self, body: bytes) -> bytes:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        return otlp_payload(self._path, headers, packer.compress(body) + packer.flush())

    async def _keep_flushing(self) -> None:
        while True:
            await self._clock.sleep(self._settings.flush_seconds)
            self.flush()

    async def _keep_synced(self) -> None:
        while True:
            await self._clock.sleep(max(self._settings.sync_seconds, 0.1))
            descriptor = self._spool.unsynced()
            if descriptor is not None:
                await asyncio.to_thread(_sync, descriptor)

    async def _keep_going(self, work: Callable[[], Any]) -> None:
        """A fault of ours in one part must not end the others."""
        while True:
            try:
                await work()
            except Exception:
                log.exception("part_failed", extra={"part": getattr(work, "__qualname__", "?")})
            await self._clock.sleep(1.0)


def spooling_recorder(
    settings: RecorderSettings,
    clock: Clock,
    marks: Callable[[], Marks] = Marks,
    posters: Sequence[Poster] | None = None,
) -> SpoolingRecorder:
    """A recorder for a server; `open` and `start` it.

    Raises:
        ConfigError: the server's address is none.
    """
    drops, spool_settings = GatewayDrops(), settings.spool()
    spool = Spool(settings.folder, spool_settings, drops, clock)
    ways = (server_poster(settings),) if posters is None else posters
    delivery = Delivery(spool, ways, settings.name, spool_settings, drops, clock)
    return SpoolingRecorder(settings, spool, delivery, ways, drops, clock, marks)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
