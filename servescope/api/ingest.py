"""The door for request rows: gateways and benchmark tools that have rows and no spans."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from collector.request_rows.accept import Sorted, frame_of, sort_rows
from collector.request_rows.fields import (
    COUNTS,
    FLAGS,
    MEANINGS,
    REQUIRED,
    SECONDS,
    TOKENS,
    WEIGHTS,
)
from collector.request_rows.forms import FORMS, JSON, LINES, MOST_ROWS, BadForm, TooMany, rows_of
from servescope.api import negotiate, problems
from servescope.api.access import SENDERS
from servescope.api.bodies import (
    BodyRules,
    BodyTooLarge,
    BodyUnreadable,
    BodyUnsupported,
    Room,
    media_type,
    read_packed,
    unpacker,
)
from servescope.api.parameters import RuntimeDep, answers, only_known
from servescope.runtime import Runtime

DOOR = "requests"
PATH = "/requests"
RULES = BodyRules(most_bytes=32 << 20)
_MOST_REQUESTS = 32
_MOST_WAITING_BYTES = 128 << 20
_ANSWER = {
    "rows": 3, "added": 1, "duplicate": 1, "rejected": 1,
    "reasons": [{"reason": "status must be one of: ok, failed, refused, aborted", "rows": 1,
                 "first": [2]}],
}  # fmt: skip
_EXAMPLE = [
    {
        "request_id": "gw-7-000123", "arrived_at": "2026-01-31T12:00:00.250Z", "status": "ok",
        "tenant": "acme", "model": "llama-8b", "route": "chat", "input_tokens": 812,
        "output_tokens": 120, "ttft_seconds": 0.21, "tpot_seconds": 0.018, "e2e_seconds": 2.35,
    }
]  # fmt: skip


def router() -> APIRouter:
    """The door."""
    door = APIRouter(tags=["rows"], dependencies=[Depends(only_known), SENDERS])
    room = Room(_MOST_REQUESTS, _MOST_WAITING_BYTES)

    @door.post(PATH, responses=answers(_ANSWER), openapi_extra={"requestBody": _request_body()})
    async def post_requests(request: Request, runtime: RuntimeDep) -> Response:
        """Keep request rows of the live fleet. The answer comes when they are durable.

        A row that cannot be stored is left out and the answer says why; do not send it again. When
        no row could be stored the answer is a problem document with status 422. A row sent again
        under its `request_id` and `arrived_at` (or, without an id, with the same content) changes
        nothing.
        """
        form = media_type(request)
        if form not in FORMS:
            raise BodyUnsupported(f"rows come as one of: {', '.join(FORMS)}")
        with room.entered() as hold:
            unpack = unpacker(request, RULES)
            packed = await read_packed(request, RULES, hold)
            now = runtime.clock.now().astimezone(UTC).replace(tzinfo=None)
            found, frame = await run_in_threadpool(
                lambda: _read(form, unpack(packed, RULES.most_bytes), now)
            )
            _count(runtime, found)
            added = 0
            if frame is not None:
                added = await asyncio.wrap_future(runtime.database.writer.append("request", frame))
        return _answer(found, added)

    return door


def _read(form: str, body: bytes, now: Any) -> tuple[Sorted, Any]:
    try:
        rows = rows_of(form, body)
    except BadForm as error:
        raise BodyUnreadable(str(error)) from error
    except TooMany as error:
        raise BodyTooLarge(str(error)) from error
    found = sort_rows(rows, now)
    return found, frame_of(found.good) if found.good else None


def _count(runtime: Runtime, found: Sorted) -> None:
    for reason, (count, _) in found.rejected.items():
        runtime.drops.add(DOOR, reason, count)


def _answer(found: Sorted, added: int) -> Response:
    good, bad = len(found.good), found.rejected_count
    reasons = [
        {"reason": reason, "rows": count, "first": places}
        for reason, (count, places) in sorted(found.rejected.items(), key=lambda item: -item[1][0])
    ]
    if bad and not good:
        return problems.problem(
            422, "rows", f"none of the {bad:,} rows could be stored: {reasons[0]['reason']}",
            hint="mend the rows; sending them again as they are changes nothing",
            rows=bad, added=0, duplicate=0, rejected=bad, reasons=reasons,
        )  # fmt: skip
    return negotiate.document(
        {
            "rows": good + bad, "added": added, "duplicate": good - added, "rejected": bad,
            "reasons": reasons,
        }
    )  # fmt: skip


def _request_body() -> dict[str, Any]:
    row = {
        "type": "object",
        "required": list(REQUIRED),
        "additionalProperties": False,
        "properties": {name: _property(name, text) for name, text in MEANINGS.items()},
    }
    rows = {"type": "array", "maxItems": MOST_ROWS, "items": row}
    content: dict[str, Any] = {JSON: {"schema": rows, "example": _EXAMPLE}}
    for form in FORMS:
        if form != JSON:
            kind = "text" if form in (LINES, "application/jsonl") else "binary"
            content[form] = {"schema": {"type": "string", "format": kind}}
    return {"required": True, "content": content}


def _property(name: str, meaning: str) -> dict[str, Any]:
    kind: Any = "string"
    if name in TOKENS or name in COUNTS:
        kind = "integer"
    elif name in SECONDS or name in WEIGHTS:
        kind = "number"
    elif name in FLAGS:
        kind = "boolean"
    elif name == "arrived_at":
        kind = ["string", "number"]
    return {"type": kind, "description": meaning}
