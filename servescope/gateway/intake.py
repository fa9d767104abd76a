"""Rows of gateways on their way into the store: each batch once, each request one row."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from collector.otlp.duplicates import Judgement
from collector.otlp.requests import GATEWAY_RANK, Request
from collector.request_rows.accept import Sorted, frame_of, sort_rows
from servescope.one_row import OneRow
from servescope.runtime import Runtime
from store import gateways
from store.errors import InputError
from store.gateways import GatewayBatch
from store.told import whole

DOOR = "gateway"
MOST_ROWS = 10_000
MOST_DROPS = 1_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
BATCH_ID = NAME
SPAN_FIELDS = ("span_id", "parent_id")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class KeptRows:
    """What became of a batch.

    Attributes:
        rows: in it.
        added: that are new.
        known: whether the batch was here before.
        rejected: rows that can never be stored.
        reasons: why, each with how many.
    """

    rows: int
    added: int
    known: bool
    rejected: int
    reasons: Mapping[str, int] = field(default_factory=dict)


def check_name(name: str) -> str:
    """A name that a gateway may have.

    Raises:
        InputError: it cannot be one.
    """
    if NAME.fullmatch(name) is None:
        raise InputError(
            f"'{name[:100]}' cannot name a gateway",
            hint="letters, digits, dots, hyphens and underscores; set gateway.name",
        )
    return name


class GatewayRows:
    """Takes batches of all gateways.

    Args:
        runtime: store, clock, counts of what is not taken.
        one_row: finds requests that others tell of, too.
    """

    def __init__(self, runtime: Runtime, one_row: OneRow) -> None:
        self._runtime = runtime
        self._one_row = one_row

    async def take(self, name: str, batch_id: str, body: bytes) -> KeptRows:
        """Keep an unpacked batch; returns when it is durable.

        Raises:
            InputError: it can never be kept.
            StoreError: it cannot be kept now.
        """
        runtime = self._runtime
        if BATCH_ID.fullmatch(batch_id) is None:
            raise InputError("a batch needs an id", hint="send it in the header Servescope-Batch")
        now = runtime.clock.now()
        async with self._one_row.order:
            read = await asyncio.to_thread(self._read, name, batch_id, body, now)
            self._one_row.note(read.judged)
            waiting = gateways.keep(runtime.database.writer, read.batch, now)
        added = await asyncio.wrap_future(waiting)
        await self._one_row.settle()
        reasons = {reason: count for reason, (count, _) in read.found.rejected.items()}
        for reason, count in reasons.items():
            runtime.drops.add(DOOR, reason, count if added is not None else 0)
        rows = len(read.found.good) + read.found.rejected_count
        return KeptRows(rows, added or 0, added is None, read.found.rejected_count, reasons)

    def _read(self, name: str, batch_id: str, body: bytes, now: datetime) -> _Read:
        told, drops = _parts(body, name)
        spans = [_span(row) for row in told]
        plain = [_without_span(row) for row in told]
        found = sort_rows(plain, now.astimezone(UTC).replace(tzinfo=None))
        ids = {
            row["request_id"]: span
            for row, span in zip(plain, spans, strict=True)
            if row and isinstance(row.get("request_id"), str)
        }
        requests = [
            request
            for row in found.good
            if (request := _request(row, *ids.get(row.get("request_id"), ("", "")))) is not None
        ]
        judged = self._one_row.judge(requests)
        # Others may have told of them before this process was there to remember it.
        started_ns = int(self._runtime.started_at.timestamp() * 1e9)
        late = [
            (str(one.row[0]), one.start_ns // 1000, one.end_ns // 1000, one.trace_id)
            for one in requests
            if one.start_ns < started_ns
        ]
        frame = frame_of(found.good) if found.good else None
        return _Read(found, judged, GatewayBatch(f"gateway:{name}", batch_id, frame, drops, late))


@dataclass(frozen=True, slots=True)
class _Read:
    found: Sorted
    judged: Judgement
    batch: GatewayBatch


def _parts(
    body: bytes, name: str
) -> tuple[list[Any], list[tuple[datetime, tuple[str, str, int, str]]]]:
    """Rows and losses of a body.

    Raises:
        InputError: it is not one.
    """
    try:
        told = orjson.loads(body)
        rows, lost = told["rows"], told.get("drops", [])
        drops = [
            (datetime.fromtimestamp(at, UTC), (f"{door}:{name}", reason, whole(count), example))
            for at, door, reason, count, example in lost
            if isinstance(reason, str) and isinstance(example, str) and count > 0
        ]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError) as error:
        raise InputError(
            f"the batch is damaged ({type(error).__name__}: {error})"[:300],
            hint="is it what `servescope gateway` sends?",
        ) from error
    if not isinstance(rows, list) or len(rows) > MOST_ROWS or len(drops) > MOST_DROPS:
        raise InputError(f"a batch is a list of at most {MOST_ROWS:,} rows")
    return [row if isinstance(row, dict) else None for row in rows], drops


def _span(row: Mapping[str, Any] | None) -> tuple[str, str]:
    """Span and parent of a row; "" where it tells none."""
    told = [(row or {}).get(name) for name in SPAN_FIELDS]
    span, parent = (one if isinstance(one, str) and _SPAN_ID.fullmatch(one) else "" for one in told)
    return span, parent


def _without_span(row: dict[str, Any] | None) -> dict[str, Any] | None:
    return row and {name: value for name, value in row.items() if name not in SPAN_FIELDS}


def _request(row: Mapping[str, Any], span_id: str, parent_id: str) -> Request | None:
    """A row as others may tell of it: only what reached an engine, and lies in a trace."""
    trace_id, at = row.get("trace_id"), row["arrived_at"]
    if not trace_id or not span_id or row["status"] == "refused" or not row.get("instance"):
        return None
    start_ns = (at.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND * 1000
    end_ns = start_ns + int((row.get("e2e_seconds") or 0.0) * 1e9)
    own: Sequence[Any] = (row["request_id"],)
    return Request(trace_id, span_id, parent_id, start_ns, end_ns, GATEWAY_RANK, tuple(own))


_MICROSECOND = datetime.resolution
