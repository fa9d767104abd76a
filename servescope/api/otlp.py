"""OTLP over HTTP: what exporters and collectors push. Not under /api/v1: the paths are OTLP's.

Answers follow the OTLP specification rather than this API's problem documents: a failure is a
`google.rpc.Status`, in the encoding of the request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from collector.otlp.answers import MEDIA_TYPES, Encoding, Signal, encoding_of, status, success
from collector.otlp.model import OtlpDamaged
from servescope.api.access import SENDERS
from servescope.api.bodies import BodyRefused, BodyRules, Room, media_type, read_packed, unpacker
from servescope.api.problems import FIXED_HEADERS
from servescope.otlp_intake import OtlpIntake, Receipt
from store.errors import ServescopeError, StoreError, WriterOverloaded

PATHS = ("/v1/traces", "/v1/metrics", "/v1/logs")
WAITING_BYTES = 256 << 20
DEFAULT_ENCODING: Encoding = "json"

Take = Callable[[Callable[[], bytes], Encoding], Awaitable[Receipt]]


def router(intake: OtlpIntake) -> APIRouter:
    """The three doors of one intake."""
    settings = intake.settings
    rules = BodyRules(settings.most_body_bytes, settings.body_seconds)
    # One export must fit, however small the room is beside it.
    room = Room(settings.most_waiting_requests, max(WAITING_BYTES, settings.most_body_bytes))
    doors = APIRouter(tags=["otlp"], prefix="/v1", dependencies=[SENDERS])

    @doors.post("/traces", openapi_extra=_body("ExportTraceServiceRequest"), responses=_RESPONSES)
    async def post_traces(request: Request) -> Response:
        """Spans; those of LLM requests become rows, answered once they are durable."""
        return await _answer(request, "traces", intake.traces, rules, room)

    @doors.post(
        "/metrics", openapi_extra=_body("ExportMetricsServiceRequest"), responses=_RESPONSES
    )
    async def post_metrics(request: Request) -> Response:
        """Metrics of engines and gateways, by the same names as on their pages."""
        return await _answer(request, "metrics", intake.metrics, rules, room)

    @doors.post("/logs", openapi_extra=_body("ExportLogsServiceRequest"), responses=_RESPONSES)
    async def post_logs(request: Request) -> Response:
        """Nothing is kept of logs; the answer says so in a way that they are not sent again."""
        return await _answer(request, "logs", intake.logs, rules, room)

    return doors


async def _answer(
    request: Request, signal: Signal, take: Take, rules: BodyRules, room: Room
) -> Response:
    encoding = encoding_of(media_type(request))
    if encoding is None:
        known = " or ".join(MEDIA_TYPES.values())
        return _failure(DEFAULT_ENCODING, 415, f"the Content-Type must be {known}")
    try:
        with room.entered() as hold:
            unpack = unpacker(request, rules)
            packed = await read_packed(request, rules, hold)
            receipt = await take(partial(unpack, packed, rules.most_bytes), encoding)
    except ServescopeError as error:
        return _failure(encoding, _status_of(error), str(error))
    body = success(encoding, signal, receipt.rejected, receipt.message)
    return Response(body, media_type=MEDIA_TYPES[encoding])


def _status_of(error: ServescopeError) -> int:
    """Which of them are worth sending again: 429 and 503, and no others. Source: OTLP 1.11."""
    if isinstance(error, BodyRefused):
        return error.status
    if isinstance(error, OtlpDamaged):
        return 400
    if isinstance(error, WriterOverloaded):
        return 429
    return 503 if isinstance(error, StoreError) else 500


def _failure(encoding: Encoding, code: int, message: str) -> Response:
    return Response(
        status(encoding, code, message),
        code,
        headers=FIXED_HEADERS.get(code),
        media_type=MEDIA_TYPES[encoding],
    )


def _body(message: str) -> dict[str, object]:
    return {"requestBody": {"required": True, "content": _content(message)}}


def _content(message: str) -> dict[str, object]:
    """Both encodings of a message."""
    return {
        MEDIA_TYPES["protobuf"]: {
            "schema": {"type": "string", "format": "binary", "title": message}
        },
        MEDIA_TYPES["json"]: {"schema": {"type": "object", "title": message}},
    }


_FAILURE: dict[str, object] = {
    "description": "A google.rpc.Status, in the encoding of the request",
    "content": _content("google.rpc.Status"),
}
_RESPONSES: dict[int | str, dict[str, object]] = {
    200: {
        "description": "Taken, and durable; what was not taken is counted in it",
        "content": _content("ExportServiceResponse"),
    },
    "4XX": _FAILURE,
    "5XX": _FAILURE,
}
