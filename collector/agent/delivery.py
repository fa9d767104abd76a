"""From the spool to the server: in order, at least once, and never faster than it wants.

2xx: the batch is durable there. 400, 413, 415, 422: the server will never take it, so it is parked
and counted. Everything else (429, 5xx, wrong token, nobody there) is tried again, after what
`Retry-After` says or after a pause that doubles, with jitter so that a fleet does not come back all
at once.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from urllib.parse import quote

import orjson

from collector.agent.post import Answer, Poster, Unreachable
from collector.agent.settings import AgentSettings
from collector.agent.spool import DOOR, Record, Spool
from collector.agent.wire import BATCH, BATCH_HEADER, BATCH_TYPE, SENT_HEADER
from collector.drops import Drops
from store.clock import Clock

log = logging.getLogger(__name__)

POISON = frozenset((400, 413, 415, 422))
_MOST_RETRY_AFTER_SECONDS = 300.0
_MOST_PARKED = 20
_MOST_TOGETHER = 64
# Below the body that a server takes unless told otherwise (1 MiB).
_MOST_TOGETHER_BYTES = 900_000


@dataclass(slots=True)
class DeliveryState:
    """How delivery stands.

    Args:
        delivered: records that the server took since the start.
        delivered_rows: rows in them.
        delivered_bytes: bytes of their payloads.
        parked: records that it never will.
        attempts_failed: attempts that have to be repeated.
        problem: why the last attempt failed, one line; None when it went well.
    """

    delivered: int = 0
    delivered_rows: int = 0
    delivered_bytes: int = 0
    parked: int = 0
    attempts_failed: int = 0
    problem: str | None = None


class Delivery:
    """Sends what waits, until it is stopped.

    Args:
        spool: what waits.
        poster: to the server.
        agent: this agent's name.
        settings: pauses.
        drops: counts what is parked.
        clock: the time.
        chance: a number in [0, 1), for jitter.
    """

    def __init__(
        self,
        spool: Spool,
        poster: Poster,
        agent: str,
        settings: AgentSettings,
        drops: Drops,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._spool = spool
        self._poster = poster
        self._path = f"/api/v1/agents/{quote(agent, safe='')}/batches"
        self._settings = settings
        self._drops = drops
        self._clock = clock
        self._chance = chance
        self._arrived = asyncio.Event()
        self._failures = 0
        self._alone = 0
        self.state = DeliveryState()

    def wake(self) -> None:
        """Something was put into the spool."""
        self._arrived.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            self._arrived.clear()
            records = self._next()
            if not records:
                await self._arrived.wait()
                continue
            pause_seconds = await self.attempt(records)
            if pause_seconds > 0:
                await self._clock.sleep(pause_seconds)

    async def flush(self) -> None:
        """Send what waits now; ends with the first attempt that fails."""
        while records := self._next():
            if await self.attempt(records) > 0:
                return

    async def attempt(self, records: Sequence[Record]) -> float:
        """Try them once, in one request; gives the seconds to wait before the next attempt."""
        path, headers, body = self._request(records)
        try:
            answer = await self._poster.post(path, headers, body)
        except Unreachable as why:
            return self._again(str(why), None)
        if 200 <= answer.status < 300:
            for record in records:
                self._spool.done(record)
                self._delivered(record)
            return 0.0
        if answer.status not in POISON:
            return self._again(_refusal(answer), self._retry_after(answer))
        if len(records) == 1:
            self._park(records[0], answer)
        # One of them is refused for good: each goes alone until all of these are through.
        self._alone = max(self._alone, len(records))
        return 0.0

    def _next(self) -> tuple[Record, ...]:
        """What goes into the next request: batches together, an OTLP body alone."""
        most = 1 if self._alone else _MOST_TOGETHER
        records = self._spool.peek(most, _MOST_TOGETHER_BYTES)
        together = tuple(takewhile(lambda record: record.kind == BATCH, records))
        self._alone = max(self._alone - 1, 0)
        return together or records[:1]

    def _request(self, records: Sequence[Record]) -> tuple[str, dict[str, str], bytes]:
        ids = ",".join(record.batch_id for record in records)
        sent_at = f"{self._clock.now().timestamp():.6f}"
        common = {BATCH_HEADER: ids, SENT_HEADER: sent_at}
        if records[0].kind == BATCH:
            packed = {"Content-Type": BATCH_TYPE, "Content-Encoding": "gzip"}
            # Members of gzip one behind the other unpack to lines.
            return self._path, {**common, **packed}, b"".join(r.payload for r in records)
        head, _, body = records[0].payload.partition(b"\n")
        told = orjson.loads(head)
        return told["path"], {**common, **told["headers"]}, body

    def _delivered(self, record: Record) -> None:
        state = self.state
        state.delivered += 1
        state.delivered_rows += record.rows
        state.delivered_bytes += len(record.payload)
        if state.problem is not None:
            log.info("delivering_again", extra={"after_attempts": self._failures})
        state.problem, self._failures = None, 0

    def _again(self, why: str, retry_after_seconds: float | None) -> float:
        state, settings = self.state, self._settings
        if state.problem is None:
            log.warning("not_delivered", extra={"why": why})
        state.problem = why
        state.attempts_failed += 1
        doubled = settings.retry_min_seconds * 2.0 ** min(self._failures, 30)
        self._failures += 1
        if retry_after_seconds is not None:
            return retry_after_seconds * (1 + 0.1 * self._chance()) or settings.retry_min_seconds
        return min(doubled, settings.retry_max_seconds) * (0.5 + 0.5 * self._chance())

    def _retry_after(self, answer: Answer) -> float | None:
        """Seconds that the server asks for. Source: RFC 9110, 10.2.3."""
        told = answer.headers.get("retry-after", "").strip()
        if told.isdecimal():
            return min(float(told), _MOST_RETRY_AFTER_SECONDS)
        with suppress(ValueError, TypeError):
            until = email.utils.parsedate_to_datetime(told)
            seconds = (until - self._clock.now()).total_seconds()
            return min(max(seconds, 0.0), _MOST_RETRY_AFTER_SECONDS)
        return None

    def _park(self, record: Record, answer: Answer) -> None:
        """Out of the way, but not gone: the newest few stay in files for people to look at."""
        why = _refusal(answer)
        self._spool.done(record)
        self.state.parked += 1
        self._drops.add(
            DOOR, "the server refuses the batch for good; see parked/", record.rows, why
        )
        log.error("batch_parked", extra={"batch": record.batch_id, "why": why})
        folder = self._spool.folder / "parked"
        with suppress(OSError):
            folder.mkdir(exist_ok=True, mode=0o700)
            (folder / f"{record.batch_id}.batch").write_bytes(record.payload)
            kept = sorted(folder.glob("*.batch"), key=_changed)
            for path in kept[:-_MOST_PARKED]:
                path.unlink(missing_ok=True)


def otlp_payload(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """An OTLP body as a record: where it goes and how it came, then the body untouched."""
    return orjson.dumps({"path": path, "headers": dict(headers)}) + b"\n" + body


def server_time(answer: Answer) -> datetime | None:
    """The server's clock in a heartbeat's answer."""
    with suppress(ValueError, TypeError, KeyError):
        told = orjson.loads(answer.body)["server_time"]
        return datetime.fromisoformat(told)
    return None


def _refusal(answer: Answer) -> str:
    detail = ""
    with suppress(ValueError, TypeError, AttributeError):
        told = orjson.loads(answer.body)
        detail = str(told.get("detail") or "")
    text = f"HTTP {answer.status}" + (f": {detail}" if detail else "")
    if answer.status in (401, 403):
        text += " (is agent.token_file right?)"
    if answer.status == 404:
        text += " (is agent.server the address of a servescope server?)"
    return " ".join(text.split())[:300]


def _changed(path: Path) -> float:
    return path.stat().st_mtime
