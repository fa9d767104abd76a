"""Cutting a large export into pieces, so that decoding it never takes many times its size.

A few bytes of protobuf can be a message of hundreds of bytes in memory: 64 MiB of empty spans would
take some 17 GB. The outer levels of all three exports are built alike, so they are walked here by
hand, and the items are decoded a piece at a time.

    request  = repeated group (1)
    group    = resource (1), repeated scoped (2)
    scoped   = scope (1), repeated item (2): spans, metrics or log records
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from collector.otlp.model import OtlpDamaged

PIECE_BYTES = 256 << 10
MOST_ITEM_BYTES = 4 << 20
MOST_ITEMS = 200_000
_LENGTHS = {1: 8, 5: 4}
_VARINT, _BYTES, _GROUP, _END = 0, 2, 3, 4
_MOST_DEPTH = 90
_FIRST, _SECOND = 1, 2


class Piece(NamedTuple):
    """Some items of one instrumentation of one process.

    Attributes:
        resource: the encoded resource.
        scope: the encoded scope.
        scoped: encoded items, with their tags: a message of the scoped level without its scope.
    """

    resource: bytes
    scope: bytes
    scoped: bytes


def pieces(body: bytes) -> Iterator[Piece]:
    """The parts of an export, each of about `PIECE_BYTES` or a single item.

    Raises:
        OtlpDamaged: it is not protobuf of this shape, has more than `MOST_ITEMS` items or groups,
            or a single item above `MOST_ITEM_BYTES`.
    """
    view = memoryview(body)
    left = MOST_ITEMS
    for group in _messages(view, _FIRST):
        resource, scoped = _parts(group)
        for one in scoped:
            scope, items = _parts(one, tagged=True)
            left -= len(items) + 1
            if left < 0:
                raise _too_much(f"more than {MOST_ITEMS:,} items")
            for together in _gathered(items):
                yield Piece(resource, scope, together)
        left -= 1


def count_items(body: bytes) -> int:
    """How many items an export has.

    Raises:
        OtlpDamaged: as for `pieces`.
    """
    count = 0
    for group in _messages(memoryview(body), _FIRST):
        for one in _messages(group, _SECOND):
            count += sum(1 for _ in _messages(one, _SECOND))
    return count


def _gathered(items: list[memoryview]) -> Iterator[bytes]:
    together: list[memoryview] = []
    size = 0
    for item in items:
        if len(item) > MOST_ITEM_BYTES:
            raise _too_much(f"a single item of {len(item):,} bytes")
        if together and size + len(item) > PIECE_BYTES:
            yield b"".join(together)
            together, size = [], 0
        together.append(item)
        size += len(item)
    if together:
        yield b"".join(together)


def _parts(message: memoryview, *, tagged: bool = False) -> tuple[bytes, list[memoryview]]:
    """The first field (one that is there twice is merged, as protobuf does) and the second ones."""
    first: list[memoryview] = []
    second: list[memoryview] = []
    for number, start, inside, end in _fields(message):
        if number == _FIRST:
            first.append(message[inside:end])
        elif number == _SECOND:
            second.append(message[start if tagged else inside : end])
            if len(second) > MOST_ITEMS:
                raise _too_much(f"more than {MOST_ITEMS:,} items")
    return b"".join(first), second


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, _, inside, end in _fields(message):
        if number == wanted:
            yield message[inside:end]


def _fields(message: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Number, start, start of the content and end of every field that holds bytes.

    What lies in a group, a form of old that no field here has, is stepped over as unknown.
    """
    place, size = 0, len(message)
    groups: list[int] = []
    while place < size:
        start = place
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _BYTES:
            length, place = _varint(message, place)
            inside, place = place, place + length
            if place > size:
                raise _cut_off()
            if not groups:
                yield tag >> 3, start, inside, place
        elif kind == _VARINT:
            _, place = _varint(message, place)
        elif kind in _LENGTHS:
            place += _LENGTHS[kind]
        else:
            _step_into(groups, tag)
    if place > size or groups:
        raise _cut_off()


def _step_into(groups: list[int], tag: int) -> None:
    """Note that a group begins, or that the last one ends."""
    kind, number = tag & 7, tag >> 3
    if kind == _GROUP and len(groups) < _MOST_DEPTH:
        groups.append(number)
    elif kind != _END or not groups or groups.pop() != number:
        raise _cut_off()


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message) and shift < 64:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise _cut_off()


def _cut_off() -> OtlpDamaged:
    return OtlpDamaged("the body is no whole protobuf message", hint="send it again, whole")


def _too_much(what: str) -> OtlpDamaged:
    return OtlpDamaged(f"the export has {what}", hint="send smaller exports")
