"""Bytes of the spool: a segment is a header and framed records, each provable on its own.

A segment begins with `SSSPOOL1`, 16 hex digits drawn at random, and their CRC-32. A record is a
header (length, rows, time, kind, CRC-32 of the payload, CRC-32 of the header itself) and the
payload. Whatever a crash leaves behind, a record is either whole or known not to be: a cut one ends
the segment, one with a damaged payload is stepped over, a damaged header ends the segment.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Literal

MAGIC = b"SSSPOOL1"
_ID_BYTES = 8
_CRC = struct.Struct("<I")
_HEADER = struct.Struct("<IIQBI")
SEGMENT_HEADER_BYTES = len(MAGIC) + 2 * _ID_BYTES + _CRC.size
RECORD_HEADER_BYTES = _HEADER.size + _CRC.size
MOST_PAYLOAD_BYTES = 64 << 20

Flaw = Literal["cut", "damaged"]


@dataclass(frozen=True, slots=True)
class Frame:
    """A record as it lies in a segment.

    Args:
        kind: what the payload is; the spool does not look into it.
        rows: rows in it, for counting what is lost.
        at_microseconds: when it was spooled, since 1970 UTC.
        payload: None when it was left unread or is damaged.
        end: offset behind it.
        sound: whether the payload is what was written.
    """

    kind: int
    rows: int
    at_microseconds: int
    payload: bytes | None
    end: int
    sound: bool = True


def new_segment_header() -> tuple[str, bytes]:
    """A new random name, and the bytes that begin a segment of that name."""
    name = os.urandom(_ID_BYTES).hex()
    body = MAGIC + name.encode()
    return name, body + _CRC.pack(zlib.crc32(body))


def segment_name(head: bytes) -> str | None:
    """The name in the first bytes of a segment; None when they are cut or damaged."""
    body, check = head[: -_CRC.size], head[-_CRC.size :]
    whole = len(head) == SEGMENT_HEADER_BYTES and body.startswith(MAGIC)
    if not whole or _CRC.pack(zlib.crc32(body)) != check:
        return None
    return body[len(MAGIC) :].decode("ascii", "replace")


def pack(kind: int, rows: int, at_microseconds: int, payload: bytes) -> bytes:
    """The bytes of one record."""
    head = _HEADER.pack(len(payload), rows, at_microseconds, kind, zlib.crc32(payload))
    return head + _CRC.pack(zlib.crc32(head)) + payload


def read_frame(file: BinaryIO, offset: int) -> Frame | Flaw | None:
    """The record at `offset`; None at the end of the file, or why there is no further record."""
    file.seek(offset)
    head = file.read(RECORD_HEADER_BYTES)
    if not head:
        return None
    if len(head) < RECORD_HEADER_BYTES:
        return "cut"
    told, check = head[: _HEADER.size], head[_HEADER.size :]
    if _CRC.pack(zlib.crc32(told)) != check:
        return "damaged"
    length, rows, at_microseconds, kind, crc = _HEADER.unpack(told)
    if length > MOST_PAYLOAD_BYTES:
        return "damaged"
    payload = file.read(length)
    if len(payload) < length:
        return "cut"
    end = offset + RECORD_HEADER_BYTES + length
    sound = zlib.crc32(payload) == crc
    return Frame(kind, rows, at_microseconds, payload if sound else None, end, sound)
