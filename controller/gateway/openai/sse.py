"""Looks through a stream of events as it passes: counts tokens, finds how it ended.

Only events that tell how it ends are parsed as JSON; in all others a pattern finds content. Inside
of a JSON text every quote is escaped, so the patterns cannot match what a model wrote.
"""

from __future__ import annotations

import re

import orjson

from controller.gateway.openai.usage import Told

MOST_LINE_BYTES = 64 << 10
"""Longer lines are passed on unread."""

_CONTENT = re.compile(
    rb'"(?:content|text|reasoning_content|reasoning|arguments|delta)"\s*:\s*"(?!")'
)
_TELLING = re.compile(
    rb'"finish_reason"\s*:\s*"|"(?:usage|timings|error)"\s*:\s*[{"]|data:\s*\[DONE\]'
)


class SseScanner:
    """One stream.

    Attributes:
        told: usage and reason of the end, as found.
        tokens: events with content so far, for each choice.
        is_done: the engine sent `[DONE]`.
    """

    __slots__ = ("_is_inside_long", "_tail", "is_done", "tokens", "told")

    def __init__(self) -> None:
        self.told = Told()
        self.tokens = 0
        self.is_done = False
        self._tail = bytearray()
        self._is_inside_long = False

    @property
    def tail(self) -> bytes:
        """What came after the last whole line."""
        return bytes(self._tail)

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """Take what came.

        Returns:
            what may be passed on, always whole lines, so that an error can follow if the engine
            stops in the middle of one; and how many tokens are in it.
        """
        end = data.rfind(b"\n") + 1
        if not end:
            self._tail += data
            return (self._long(), 0) if len(self._tail) > MOST_LINE_BYTES else (b"", 0)
        whole = bytes(self._tail) + data[:end] if self._tail else data[:end]
        self._tail = bytearray(data[end:])
        return whole, self._scan(whole)

    def _long(self) -> bytes:
        passed, self._tail = bytes(self._tail), bytearray()
        self._is_inside_long = True
        return passed

    def _scan(self, lines: bytes) -> int:
        if self._is_inside_long:
            # The rest of a line whose beginning nobody looked at.
            self._is_inside_long = False
            lines = lines[lines.index(b"\n") + 1 :]
        found = len(_CONTENT.findall(lines))
        self.tokens += found
        if _TELLING.search(lines):
            for line in lines.split(b"\n"):
                self._read(line)
        return found

    def _read(self, line: bytes) -> None:
        if not line.startswith(b"data:") or not _TELLING.search(line):
            return
        told = line[5:].strip()
        if told == b"[DONE]":
            self.is_done = True
            return
        try:
            self.told.read(orjson.loads(told))
        except orjson.JSONDecodeError:
            return
