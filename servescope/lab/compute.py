"""Programs that need the processor, its caches and memory."""

from __future__ import annotations

import hashlib
import json
import random
import re
import string
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from servescope.lab.work import DONE, Piece, Place, Program, Told, Work

_PIECES = 8


def _told(work: Callable[[], Any]) -> Piece:
    def piece() -> Told:
        work()
        return DONE

    return piece


def _numbers(place: Place) -> np.random.Generator:
    return np.random.default_rng(place.seed)


def _dice(place: Place) -> random.Random:
    return random.Random(place.seed)  # noqa: S311 - an experiment, no secret


@contextmanager
def _matrix(place: Place) -> Iterator[Work]:
    random = _numbers(place)
    pairs = [random.standard_normal((2, size, size)) for size in range(256, 256 + 32 * _PIECES, 32)]
    yield Work([_told(partial(np.matmul, a, b)) for a, b in pairs])


@contextmanager
def _fourier(place: Place) -> Iterator[Work]:
    signals = [_numbers(place).standard_normal(1 << (15 + n % 3)) for n in range(_PIECES)]
    yield Work([_told(partial(np.fft.rfft, signal)) for signal in signals])


@contextmanager
def _stream(place: Place) -> Iterator[Work]:
    """Copies through 96 MB, a sixth at a time."""
    source = _numbers(place).standard_normal(12_000_000)
    target = np.empty_like(source)
    cuts = np.array_split(np.arange(len(source)), 6)
    parts = [slice(int(cut[0]), int(cut[-1])) for cut in cuts]
    yield Work([_told(partial(np.multiply, source[p], 1.5, out=target[p])) for p in parts])


@contextmanager
def _gather(place: Place) -> Iterator[Work]:
    """Reads 128 MB in no order."""
    table = np.arange(16_000_000, dtype=np.float64)
    random = _numbers(place)
    places = [random.integers(0, len(table), 400_000 + 50_000 * n) for n in range(_PIECES)]
    yield Work([_told(partial(table.take, some)) for some in places])


@contextmanager
def _cache(place: Place) -> Iterator[Work]:
    """Sorts numbers that fit into a core's own cache."""
    blocks = [_numbers(place).standard_normal(60_000 + 8_000 * n) for n in range(_PIECES)]
    yield Work([_told(partial(np.sort, block)) for block in blocks])


@contextmanager
def _sort(place: Place) -> Iterator[Work]:
    dice = _dice(place)
    lists = [[dice.random() for _ in range(8_000 + 2_000 * n)] for n in range(_PIECES)]
    yield Work([_told(partial(sorted, some)) for some in lists])


@contextmanager
def _json(place: Place) -> Iterator[Work]:
    dice = _dice(place)
    texts = [json.dumps([_record(dice) for _ in range(200 + 60 * n)]) for n in range(_PIECES)]

    def through(text: str) -> str:
        return json.dumps(json.loads(text))

    yield Work([_told(partial(through, text)) for text in texts])


@contextmanager
def _pack(place: Place) -> Iterator[Work]:
    texts = [_prose(_dice(place), 8_000 + 2_000 * n).encode() for n in range(_PIECES)]
    yield Work([_told(partial(zlib.compress, text, 6)) for text in texts])


@contextmanager
def _digest(place: Place) -> Iterator[Work]:
    blocks = [_numbers(place).bytes(3_000_000 + 500_000 * n) for n in range(_PIECES)]
    yield Work([_told(partial(hashlib.sha256, block)) for block in blocks])


@contextmanager
def _search(place: Place) -> Iterator[Work]:
    pattern = re.compile(r"\b([a-z]+)(?:ing|ed) (?:the|a) ([a-z]*[aeiou]{2}[a-z]*)\b")
    texts = [_prose(_dice(place), 12_000 + 3_000 * n) for n in range(_PIECES)]
    yield Work([_told(partial(pattern.findall, text)) for text in texts])


@contextmanager
def _torch(place: Place) -> Iterator[Work]:
    from predictors.inference_load import pieces

    yield Work([_told(piece) for piece in pieces(place.seed, _PIECES)])


@contextmanager
def _frames(place: Place) -> Iterator[Work]:
    import polars as pl

    random = _numbers(place)
    frames = [
        pl.DataFrame({"key": random.integers(0, 500, size), "value": random.standard_normal(size)})
        for size in range(100_000, 100_000 + 25_000 * _PIECES, 25_000)
    ]

    def summed(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.group_by("key").agg(pl.col("value").sum(), pl.len()).sort("key")

    yield Work([_told(partial(summed, frame)) for frame in frames])


def _record(dice: random.Random) -> dict[str, Any]:
    return {
        "id": dice.randrange(1 << 40),
        "name": "".join(dice.choices(string.ascii_letters, k=12)),
        "scores": [dice.random() for _ in range(5)],
        "tags": {word: dice.choice((True, False, None)) for word in ("a", "b", "c")},
    }


def _prose(dice: random.Random, words: int) -> str:
    known = ["".join(dice.choices("abdegilnorstu", k=dice.randint(2, 9))) for _ in range(400)]
    known += ["the", "a", "going", "needed", "queue", "looking", "sea"] * 20
    return " ".join(dice.choices(known, k=words))


def _needs(module: str, extra: str) -> str | None:
    return None if find_spec(module) else f"no {module} here: pip install 'servescope[{extra}]'"


COMPUTE = (
    Program("matrix", "numeric", "multiplies matrices (vector units)", _matrix),
    Program("fourier", "numeric", "Fourier transforms", _fourier),
    Program("stream", "memory", "copies 96 MB (memory bandwidth)", _stream),
    Program("gather", "memory", "reads 128 MB in no order (last-level cache)", _gather),
    Program("cache", "numeric", "sorts what fits into a core's cache", _cache),
    Program("sort", "python", "sorts Python lists", _sort),
    Program("json", "python", "reads and writes JSON", _json),
    Program("pack", "bytes", "compresses text", _pack),
    Program("digest", "bytes", "hashes bytes", _digest),
    Program("search", "python", "searches text by pattern", _search),
    Program("frames", "frames", "groups and sums a data frame", _frames),
    Program(
        "torch",
        "torch",
        "inference of a small transformer in torch",
        _torch,
        lambda: _needs("torch", "predict"),
    ),
)
