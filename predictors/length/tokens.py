"""Texts as hashed words, many at once, without a loop over characters.

A word is a run of letters, digits and underscores; every other printed character is a word of its
own. Letters are lower-cased (ASCII); bytes beyond ASCII count as letters, so any language has
words. A word's hash is the same on every machine and in every process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

# What a prompt asks stands at its beginning or its end; the middle of a long one is material.
HEAD_CHARACTERS, TAIL_CHARACTERS = 3000, 1000
_MOST_BYTES = 4 * (HEAD_CHARACTERS + TAIL_CHARACTERS + 1)

_BASE = 0x9E3779B97F4A7C15
_SPACE, _LETTER, _MARK = 0, 1, 2


def _powers(base: int) -> Hashes:
    steps = np.full(_MOST_BYTES, base, np.uint64)
    steps[0] = 1
    return np.cumprod(steps, dtype=np.uint64)


def _classes() -> npt.NDArray[np.uint8]:
    kinds = np.full(256, _LETTER, np.uint8)
    for code in range(128):
        character = chr(code)
        if code <= 32 or code == 127:
            kinds[code] = _SPACE
        elif not (character.isalnum() or character == "_"):
            kinds[code] = _MARK
    return kinds


_POWERS, _INVERSE = _powers(_BASE), _powers(pow(_BASE, -1, 1 << 64))
_KINDS = _classes()
_LOWER = np.array([code + 32 if 65 <= code <= 90 else code for code in range(256)], np.uint8)
_MIX_ONE, _MIX_TWO = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT = np.uint64(29)


def cut(text: str | None) -> str:
    """The beginning and the end of a long text; "" for none."""
    if not text:
        return ""
    if len(text) <= HEAD_CHARACTERS + TAIL_CHARACTERS:
        return text
    return f"{text[:HEAD_CHARACTERS]}\n{text[-TAIL_CHARACTERS:]}"


@dataclass(frozen=True, slots=True)
class Words:
    """The words of n texts, one after the other.

    Attributes:
        hashes: (m,) of each word.
        text: (m,) which text it stands in, rising.
        place: (m,) of the word in its text, from 0.
        sizes: (n,) words of each text.
    """

    hashes: Hashes
    text: Ints
    place: Ints
    sizes: Ints

    def first(self, most: int) -> Words:
        """Only the first `most` words of each text."""
        return self._where(self.place < most)

    def last(self, most: int) -> Words:
        """Only the last `most` words of each text."""
        return self._where(self.place >= self.sizes[self.text] - most)

    def grams(self, longest: int) -> tuple[Hashes, Ints]:
        """(hash, text) of all runs of 1 to `longest` words."""
        hashes, texts = [self.hashes], [self.text]
        run = self.hashes
        for length in range(2, longest + 1):
            run = mixed(run[:-1] * _MIX_ONE + self.hashes[length - 1 :])
            inside = self.text[length - 1 :] == self.text[: len(run)]
            hashes.append(run[inside])
            texts.append(self.text[: len(run)][inside])
        return np.concatenate(hashes), np.concatenate(texts)

    def _where(self, kept: npt.NDArray[np.bool_]) -> Words:
        text = self.text[kept]
        sizes = np.bincount(text, minlength=len(self.sizes)).astype(np.int64)
        starts = np.cumsum(sizes) - sizes
        return Words(self.hashes[kept], text, np.arange(len(text)) - starts[text], sizes)


def mixed(hashes: Hashes) -> Hashes:
    """Hashes whose every bit depends on every bit."""
    return (hashes ^ (hashes >> _SHIFT)) * _MIX_TWO


def words(texts: Sequence[str]) -> Words:
    """The words of texts that `cut` has shortened."""
    bodies = [text.encode("utf-8", "replace") for text in texts]
    sizes = np.array([len(body) + 1 for body in bodies], np.int64)
    codes = np.frombuffer(b"\n".join([*bodies, b""]), np.uint8)
    starts = np.cumsum(sizes) - sizes
    kinds = _KINDS[codes]
    edge = np.ones(len(codes) + 1, np.bool_)
    edge[1:-1] = (kinds[1:] != kinds[:-1]) | (kinds[1:] == _MARK)
    bounds = np.flatnonzero(edge)
    begin, end = bounds[:-1], bounds[1:]
    real = kinds[begin] != _SPACE if len(codes) else np.zeros(0, np.bool_)
    begin, end = begin[real], end[real]
    text = np.searchsorted(starts, begin, side="right") - 1
    count = np.bincount(text, minlength=len(bodies)).astype(np.int64)
    first = np.cumsum(count) - count
    place = np.arange(len(text)) - first[text]
    return Words(_hashed(codes, starts, sizes, begin, end, text), text, place, count)


def _hashed(
    codes: npt.NDArray[np.uint8], starts: Ints, sizes: Ints, begin: Ints, end: Ints, text: Ints
) -> Hashes:
    inside = np.arange(len(codes)) - np.repeat(starts, sizes)
    terms = (_LOWER[codes].astype(np.uint64) + np.uint64(1)) * _POWERS[inside]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    found = (sums[end] - sums[begin]) * _INVERSE[begin - starts[text]]
    return mixed(mixed(found))


def hash_of(word: str) -> np.uint64:
    """The hash of one word.

    Raises:
        ValueError: it is not exactly one word.
    """
    found = words([word]).hashes
    if len(found) != 1:
        raise ValueError(f"{word!r} is {len(found)} words")
    return np.uint64(found[0])
