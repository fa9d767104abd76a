"""The door for Prometheus remote-write 1.0 and 2.0. Answers are plain text: senders log them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from collector.remote_write.body import MEDIA_TYPE, MOST_BYTES, TooLarge, Unpackable, message_of
from collector.remote_write.decode import V1, V2, BadBody
from collector.remote_write.door import NATIVE, Taken, describe
from servescope.api.access import SENDERS
from servescope.api.bodies import BodyRefused, BodyRules, Room, read_packed
from servescope.api.problems import FIXED_HEADERS
from servescope.remote_write_intake import RemoteWriteIntake
from store.errors import ServescopeError

PATH = "/write"
WRITTEN = "X-Prometheus-Remote-Write-"
_RULES = BodyRules(most_bytes=MOST_BYTES)
_MOST_REQUESTS = 256
_MOST_WAITING_BYTES = 256 << 20
_TYPES = (MEDIA_TYPE, f"{MEDIA_TYPE};proto={V1}", f"{MEDIA_TYPE};proto={V2}")


def router(intake: RemoteWriteIntake) -> APIRouter:
    """The door of one intake."""
    door = APIRouter(tags=["remote-write"], dependencies=[SENDERS])
    room = Room(_MOST_REQUESTS, _MOST_WAITING_BYTES)

    @door.post(
        PATH,
        status_code=204,
        openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
        responses=_RESPONSES,
    )
    async def post_write(request: Request) -> Response:
        """Samples from Prometheus or another sender; answered once they are durable.

        400 and 415 mean: never send this again; 429 and 5xx: send it later, nothing is doubled.
        """
        message = message_of(request.headers.get("content-type", ""))
        if message is None:
            return _text(415, f"the Content-Type must be one of: {', '.join(_TYPES)}")
        if request.headers.get("content-encoding", "").strip().lower() != "snappy":
            return _text(415, "the Content-Encoding must be snappy (the block format)")
        try:
            with room.entered() as hold:
                packed = await read_packed(request, _RULES, hold)
                taken = await asyncio.wrap_future(intake.submit(packed, message))
        except (BadBody, Unpackable) as error:
            return _text(400, str(error))
        except TooLarge as error:
            return _text(413, str(error))
        except ServescopeError as error:
            status = error.status if isinstance(error, BodyRefused) else 503
            return _text(status, str(error))
        return _answer(taken, message)

    return door


@asynccontextmanager
async def serving(intake: RemoteWriteIntake) -> AsyncIterator[None]:
    """Take in what was left from before; answer what is queued before the store closes."""
    intake.start()
    try:
        yield
    finally:
        await asyncio.to_thread(intake.close)


def _answer(taken: Taken, message: str) -> Response:
    refused = dict(taken.refused)
    if taken.histogram_count:
        refused[NATIVE] = taken.histogram_count
    headers = _written(taken.sample_count) if message == V2 else {}
    if refused:
        return _text(400, f"not taken: {describe(refused)}; the rest is stored", headers)
    return Response(status_code=204, headers=headers)


def _written(samples: int) -> dict[str, str]:
    """What a 2.0 sender must be told; without it, it takes the receiver for one of 1.0."""
    counts = {"Samples": samples, "Histograms": 0, "Exemplars": 0}
    return {f"{WRITTEN}{name}-Written": str(count) for name, count in counts.items()}


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    told = {**(FIXED_HEADERS.get(status) or {}), **(headers or {})}
    return PlainTextResponse(f"{text}\n", status, headers=told)


_CONTENT = {
    told: {"schema": {"type": "string", "format": "binary", "description": "a snappy block"}}
    for told in _TYPES
}
_RESPONSES: dict[int | str, dict[str, object]] = {
    204: {"description": "Taken, and durable"},
    400: {"description": "Not a message, or some samples are invalid (the rest is stored)"},
    413: {"description": "Too large"},
    415: {"description": "Another message or encoding"},
    429: {"description": "Too much at once; send it again"},
    503: {"description": "The store cannot take it now; send it again"},
}
