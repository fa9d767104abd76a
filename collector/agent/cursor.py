"""How far the spool was delivered: a few bytes written in place, provable by a checksum.

Losing it costs a resend, which the server knows; it is never worth an fsync.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BODY = struct.Struct("<Q16sQ")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Position:
    """Everything before `offset` of segment `number` (named `name`) was delivered."""

    number: int
    name: str
    offset: int


class Cursor:
    """The position in a file of its own.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read(self) -> Position | None:
        """The position; None when there is none, or its bytes are damaged."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return None
        body, check = data[: _BODY.size], data[_BODY.size :]
        if len(body) < _BODY.size or _CRC.pack(zlib.crc32(body)) != check:
            return None
        number, name, offset = _BODY.unpack(body)
        return Position(number, name.decode("ascii", "replace"), offset)

    def write(self, number: int, name: str, offset: int) -> None:
        """Note a position; a disk that takes nothing costs a resend after a restart."""
        body = _BODY.pack(number, name.encode(), offset)
        with suppress(OSError):
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o600)
            os.pwrite(self._descriptor, body + _CRC.pack(zlib.crc32(body)), 0)

    def close(self) -> None:
        """Let go; safe twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
