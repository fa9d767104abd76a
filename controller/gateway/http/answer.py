"""An answer as a whole, and how heads are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

Pairs = Iterable[tuple[bytes, bytes]]

JSON = b"application/json"
HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
"""Headers that speak of one connection; source: RFC 9110 section 7.6.1."""

_PHRASES = {one.value: one.phrase.encode() for one in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body; length and connection are added where it is sent."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = JSON


def status_line(status: int) -> bytes:
    """The first line of an answer."""
    return b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b"Unknown"))


def header_lines(headers: Pairs) -> bytes:
    """Headers as they are sent, without the empty line at the end."""
    return b"".join(b"%b: %b\r\n" % pair for pair in headers)


def passed_on(headers: Sequence[tuple[bytes, bytes]], *but: bytes) -> list[tuple[bytes, bytes]]:
    """Headers that another connection may see.

    Args:
        headers: names in lower case.
        but: names that are left out as well.
    """
    kept = [pair for pair in headers if pair[0] not in HOP_BY_HOP and pair[0] not in but]
    named = {
        name.strip().lower()
        for key, value in headers
        if key == b"connection"
        for name in value.split(b",")
    }
    return [pair for pair in kept if pair[0] not in named] if named else kept
