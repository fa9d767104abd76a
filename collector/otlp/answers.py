"""What an OTLP sender is told, in the encoding that it used.

Source: OTLP specification 1.11, "OTLP/HTTP Response"; `google.rpc.Status`.
"""

from __future__ import annotations

from typing import Literal

Encoding = Literal["protobuf", "json"]
Signal = Literal["traces", "metrics", "logs"]

MEDIA_TYPES: dict[Encoding, str] = {
    "protobuf": "application/x-protobuf",
    "json": "application/json",
}
_REJECTED: dict[Signal, str] = {
    "traces": "rejectedSpans",
    "metrics": "rejectedDataPoints",
    "logs": "rejectedLogRecords",
}
_RPC_CODES = {400: 3, 408: 4, 413: 8, 415: 3, 429: 8, 500: 13, 503: 14}
_UNKNOWN = 2
_VARINT, _BYTES = 0, 2


def encoding_of(media_type: str) -> Encoding | None:
    """The encoding that a media type (without parameters, in lower case) means."""
    return next((name for name, told in MEDIA_TYPES.items() if told == media_type), None)


def success(encoding: Encoding, signal: Signal, rejected: int = 0, message: str = "") -> bytes:
    """An Export…ServiceResponse; without anything to tell, `partial_success` stays unset.

    Args:
        encoding: of the request.
        signal: names the field of the count.
        rejected: spans, data points or log records that were refused and must not come again.
        message: why; with nothing rejected it is a warning.
    """
    if encoding == "json":
        return _json_success(signal, rejected, message)
    if not rejected and not message:
        return b""
    partial = (_field(1, rejected) if rejected else b"") + (_text(2, message) if message else b"")
    return _tag(1, _BYTES) + _varint(len(partial)) + partial


def status(encoding: Encoding, http_status: int, message: str) -> bytes:
    """A google.rpc.Status."""
    code = _RPC_CODES.get(http_status, _UNKNOWN)
    if encoding == "json":
        import orjson

        return orjson.dumps({"code": code, "message": message})
    return _field(1, code) + _text(2, message)


def _json_success(signal: Signal, rejected: int, message: str) -> bytes:
    import orjson

    partial: dict[str, str] = {}
    if rejected:
        partial[_REJECTED[signal]] = str(rejected)  # int64 is a text in JSON
    if message:
        partial["errorMessage"] = message
    return orjson.dumps({"partialSuccess": partial} if partial else {})


def _field(number: int, value: int) -> bytes:
    return _tag(number, _VARINT) + _varint(value)


def _text(number: int, value: str) -> bytes:
    told = value.encode()
    return _tag(number, _BYTES) + _varint(len(told)) + told


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
