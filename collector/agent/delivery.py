"""From the spool to the server: in order, at least once, and never faster than it wants.

2xx from a servescope server: the batch is durable there. 400, 413, 415, 422 from one: it will never
take the batch, so it is parked and counted. Everything else (429, 5xx, wrong token, nobody there,
whatever a proxy on the way refuses) is tried again, after what `Retry-After` says or after a pause
that doubles, with jitter so that a fleet does not come back all at once.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import orjson

from collector.agent.post import Answer, Poster, Unreachable
from collector.agent.settings import AgentSettings
from collector.agent.spool import DOOR, Record, Spool
from collector.agent.wire import (
    AGENT_HEADER,
    BATCH,
    BATCH_HEADER,
    BATCH_TYPE,
    SENT_HEADER,
    SERVER_HEADER,
)
from collector.drops import Drops
from store.clock import Clock

log = logging.getLogger(__name__)

POISON = frozenset((400, 413, 415, 422))
TOO_LARGE = 413
_MOST_RETRY_AFTER_SECONDS = 300.0
_MOST_PARKED = 20
_MOST_TOGETHER = 64
# Not a pause, but not done either.
_AT_ONCE_SECONDS = 1e-6
# Below the body that a server takes unless told otherwise (1 MiB).
_MOST_TOGETHER_BYTES = 900_000
_ASK_SERVER = " (is agent.server the address of a servescope server?)"
_PROXY_TOO_LARGE = ", but not from a servescope server (a proxy? let it take bodies of 1 MiB)"
_STRANGER = f", but not from a servescope server{_ASK_SERVER}"


@dataclass(slots=True)
class _Request:
    """Records that go in one body."""

    path: str
    headers: dict[str, str]
    records: list[Record]
    bodies: list[bytes]

    @property
    def ids(self) -> list[str]:
        return [record.batch_id for record in self.records]

    @property
    def body(self) -> bytes:
        return b"".join(self.bodies)


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
        posters: ways to the server, used at the same time.
        agent: this agent's name.
        settings: pauses.
        drops: counts what is parked.
        clock: the time.
        chance: a number in [0, 1), for jitter.
    """

    def __init__(
        self,
        spool: Spool,
        posters: Sequence[Poster],
        agent: str,
        settings: AgentSettings,
        drops: Drops,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._spool = spool
        self._posters = tuple(posters)
        self._path = f"/api/v1/agents/{quote(agent, safe='')}/batches"
        self._settings = settings
        self._drops = drops
        self._clock = clock
        self._chance = chance
        self._process = secrets.token_hex(8)
        self._began = clock.monotonic()
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
            if await self.attempt(records) > _AT_ONCE_SECONDS:
                return

    async def attempt(self, records: Sequence[Record]) -> float:
        """Try them once; gives the seconds to wait before the next attempt.

        What is delivered is done with up to the first that is not: order is the spool's.
        """
        requests = self._requests(records)
        pauses: dict[str, float] = {}
        waiting = list(reversed(requests))

        async def work(poster: Poster) -> None:
            while waiting and not any(pauses.values()):
                request = waiting.pop()
                pause_seconds = await self._send(poster, request)
                pauses.update(dict.fromkeys(request.ids, pause_seconds))

        await asyncio.gather(*(work(poster) for poster in self._posters[: len(requests)]))
        for record in records:
            if pauses.get(record.batch_id) != 0.0:
                break
            self._spool.done(record)
        return max(pauses.values())

    async def _send(self, poster: Poster, request: _Request) -> float:
        """One request; 0 when its records are done with, else how long to wait."""
        sent_at = f"{self._clock.now().timestamp():.6f}"
        headers = {
            **request.headers,
            BATCH_HEADER: ",".join(request.ids),
            SENT_HEADER: sent_at,
            AGENT_HEADER: f"{self._process} {self._clock.monotonic() - self._began:.3f}",
        }
        try:
            answer = await poster.post(request.path, headers, request.body)
        except Unreachable as why:
            return self._again(str(why), None)
        if 200 <= answer.status < 300:
            if not _is_receipt(request, answer):
                return self._again(f"HTTP {answer.status}{_STRANGER}", None)
            self._delivered(request.records)
            return 0.0
        is_final = answer.status in POISON and SERVER_HEADER.lower() in answer.headers
        if not is_final and answer.status != TOO_LARGE:
            return self._again(_refusal(answer), self._retry_after(answer))
        if len(request.records) > 1:
            # One of them is refused for good, or all are too large together: each goes alone until
            # all of these are through.
            self._alone = len(request.records)
            return _AT_ONCE_SECONDS
        if is_final:
            self._park(request.records[0], answer)
            return 0.0
        return self._again(_refusal(answer), None)

    def _next(self) -> tuple[Record, ...]:
        """What is tried next: many, or one while one of many was refused."""
        records = self._spool.peek(1 if self._alone else _MOST_TOGETHER, _MOST_TOGETHER_BYTES)
        self._alone = max(self._alone - 1, 0)
        return records

    def _requests(self, records: Sequence[Record]) -> list[_Request]:
        """Records that may share a body share one."""
        together: dict[tuple[str, ...], _Request] = {}
        for record in records:
            path, headers, body, joins = self._parts(record)
            key = (path, *headers.values()) if joins else (record.batch_id,)
            request = together.setdefault(key, _Request(path, headers, [], []))
            request.records.append(record)
            request.bodies.append(body)
        return list(together.values())

    def _parts(self, record: Record) -> tuple[str, dict[str, str], bytes, bool]:
        """Path, headers, body, and whether more of the same may follow in the same body.

        Members of gzip one behind the other unpack to one text, and messages of protobuf one behind
        the other are one message with the parts of all. Source: RFC 1952, 2.2; protobuf encoding,
        "Last One Wins". JSON documents are not.
        """
        if record.kind == BATCH:
            headers = {"Content-Type": BATCH_TYPE, "Content-Encoding": "gzip"}
            return self._path, headers, record.payload, True
        head, _, body = record.payload.partition(b"\n")
        told = orjson.loads(head)
        kind = told["headers"].get("Content-Type", "")
        return told["path"], told["headers"], body, kind == "application/x-protobuf"

    def _delivered(self, records: Sequence[Record]) -> None:
        state = self.state
        for record in records:
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


def _is_receipt(request: _Request, answer: Answer) -> bool:
    """Whether a servescope server took it; a proxy's page to log in comes with 200 as well."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    asked = request.headers.get("Content-Type", "")
    if asked != BATCH_TYPE:
        return kind == asked  # as OTLP demands
    with suppress(ValueError, TypeError):
        return "batches" in orjson.loads(answer.body)
    return False


def _refusal(answer: Answer) -> str:
    detail = ""
    with suppress(ValueError, TypeError, AttributeError):
        told = orjson.loads(answer.body)
        detail = str(told.get("detail") or "")
    text = f"HTTP {answer.status}" + (f": {detail}" if detail else "")
    if answer.status in (401, 403):
        text += " (is agent.token_file right?)"
    if answer.status == 404:
        text += _ASK_SERVER
    if answer.status in POISON and SERVER_HEADER.lower() not in answer.headers:
        text += _PROXY_TOO_LARGE if answer.status == TOO_LARGE else _STRANGER
    return " ".join(text.split())[:300]


def _changed(path: Path) -> float:
    return path.stat().st_mtime
