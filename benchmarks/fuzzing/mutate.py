"""Bytes -> other bytes: cuts, copies, odd numbers, words of the format, odd values in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

MOST_BYTES = 1 << 16
_EDGES = (
    b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01",
    b"\xff\xff\xff\x7f", b"\r\n", b"\n", b"\xed\xa0\x80", b"\xc3", b"\xef\xbb\xbf", b'"', b"\\",
    b"-1", b"0", b"1e400", b"NaN", b"-Infinity", b"9" * 25, b"9" * 5000, b"[" * 3000, b"{", b"}",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**30, 0.5, -0.0,
    1e308, 1e-320, float("nan"), float("inf"), "", "a", "\0", "\ud800", "é" * 300, "x" * 5000, "0",
    "1e999", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59+23:59", "0001-01-01T00:00:00+14:00",
    "'; --", "../../etc/passwd", [], {}, [[]], [None], [{}], {"": None}, {"a": {"b": []}},
)  # fmt: skip


class Mutator:
    """Makes inputs out of seeds, the same ones from the same random numbers.

    Args:
        seeds: good inputs.
        words: pieces that the format is made of.
    """

    def __init__(self, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> None:
        self._seeds = list(seeds)
        self._words = (*words, *_EDGES)
        self._ways: tuple[Callable[[bytearray, Random], None], ...] = (
            self._flip, self._cut, self._copy, self._put, self._put, self._swap, self._number,
        )  # fmt: skip

    def fresh(self, random: Random) -> bytes:
        """One input."""
        seed = random.choice(self._seeds)
        return seed if random.random() < 0.01 else self.changed(seed, random)

    def changed(self, data: bytes, random: Random) -> bytes:
        """Another one like it."""
        if data[:1] in (b"{", b"[") and random.random() < 0.6:
            told = _odd_json(data, random)
            if told is not None:
                return told[:MOST_BYTES]
        found = bytearray(data)
        for _ in range(random.choice((1, 1, 2, 3, 6))):
            random.choice(self._ways)(found, random)
        return bytes(found[:MOST_BYTES])

    def _flip(self, data: bytearray, random: Random) -> None:
        if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)

    def _cut(self, data: bytearray, random: Random) -> None:
        if data:
            start = random.randrange(len(data))
            del data[start : start + random.choice((1, 2, 8, 64, len(data)))]

    def _copy(self, data: bytearray, random: Random) -> None:
        if data:
            start = random.randrange(len(data))
            piece = data[start : start + random.choice((1, 4, 16, 256))] * random.choice((1, 2, 40))
            at = random.randrange(len(data) + 1)
            data[at:at] = piece

    def _put(self, data: bytearray, random: Random) -> None:
        at = random.randrange(len(data) + 1)
        data[at : at + random.choice((0, 0, 1, 4))] = random.choice(self._words)

    def _swap(self, data: bytearray, random: Random) -> None:
        """A piece of another seed."""
        other = random.choice(self._seeds)
        start = random.randrange(len(other) + 1)
        at = random.randrange(len(data) + 1)
        data[at:] = other[start:]

    def _number(self, data: bytearray, random: Random) -> None:
        """A number within the text becomes another."""
        places = [at for at, byte in enumerate(data[:4096]) if 48 <= byte <= 57]
        if places:
            at = random.choice(places)
            data[at : at + 1] = random.choice((b"0", b"9" * 20, b"-1", b"1e309", b"0x1p4", b".5"))


def _odd_json(data: bytes, random: Random) -> bytes | None:
    """The document with a value, or a name, that nobody expects there; None where it is none."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    places: list[tuple[Any, Any]] = []
    waiting = [told]
    while waiting and len(places) < 2_000:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one))
        places += [(one, key) for key in keys]
        waiting += [one[key] for key in keys if isinstance(one[key], dict | list)]
    for _ in range(random.choice((1, 1, 2, 4))):
        if places:
            holder, key = random.choice(places)
            _change(holder, key, random)
    return json.dumps(told).encode("utf-8", "surrogatepass")


def _change(holder: Any, key: Any, random: Random) -> None:
    try:
        way = random.random()
        if way < 0.7:
            holder[key] = random.choice(VALUES)
        elif way < 0.85:
            holder.pop(key)
        elif isinstance(holder, dict):
            holder[random.choice(("", "\ud800", "x" * 300, "__class__"))] = holder.pop(key)
        else:
            holder += holder[:50]
    except (KeyError, IndexError):
        return  # an earlier change took it away
