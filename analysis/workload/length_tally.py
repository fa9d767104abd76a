"""Lengths counted as they stream by: each value, each pair of octaves, the totals. All exact.

What the store has counted by the hour is added up, the rest is counted here. Memory does not grow
with the number of requests, and the time does not depend on how many different pairs of lengths
there are, which a database has to group by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.workload.lengths import Lengths, Values, pooled
from store.queries.lengths import CountedPiece, LengthPiece, Tokens

# Below this a value is its own place in an array; the few above are counted apart.
_DENSE_TOKENS = 1 << 17
_CODES = 64
# Codes of a pair: 0 unknown, 1 zero tokens, k + 2 the octave k.
_ZERO_CODE = 1


@dataclass(frozen=True, slots=True)
class LengthCounts:
    """All lengths of one source, or of several.

    Attributes:
        input: of attempted requests of known input.
        output: of successful requests of known output.
        pairs: successful requests of two known lengths by the octaves of both, as codes.
        requests: successful requests of which both lengths are known.
        input_tokens: of those, in all.
        output_tokens: likewise.
    """

    input: Lengths
    output: Lengths
    pairs: Values
    requests: int
    input_tokens: int
    output_tokens: int

    def octaves(self) -> pl.DataFrame:
        """input_octave, output_octave (-1: zero tokens), requests; by both."""
        known = self.pairs[_ZERO_CODE:, _ZERO_CODE:]
        rows, columns = np.nonzero(known)
        return pl.DataFrame(
            {
                "input_octave": rows - _ZERO_CODE,
                "output_octave": columns - _ZERO_CODE,
                "requests": known[rows, columns],
            }
        )


def tally(pieces: Iterable[LengthPiece]) -> LengthCounts:
    """Count lengths.

    Args:
        pieces: input and output tokens of the same requests, -1 = not known, a stretch at a time.
    """
    inputs, outputs, octaves = _Counter(), _Counter(), _octave_codes()
    pairs = np.zeros(_CODES * _CODES, dtype=np.int64)
    requests = input_tokens = output_tokens = 0
    for piece in pieces:
        given, made = piece
        inputs.add(given)
        outputs.add(made)
        codes = _coded(given, octaves).astype(np.intp) * _CODES + _coded(made, octaves)
        pairs += np.bincount(codes, minlength=pairs.size)
        unknown = np.flatnonzero((given < 0) | (made < 0))
        requests += given.size - unknown.size
        input_tokens += _total(given) - _total(given[unknown])
        output_tokens += _total(made) - _total(made[unknown])
    square = pairs.reshape(_CODES, _CODES)
    square[0], square[:, 0] = 0, 0
    return LengthCounts(
        inputs.lengths(), outputs.lengths(), square, requests, input_tokens, output_tokens
    )


def tally_counted(pieces: Iterable[CountedPiece], pairs: pl.DataFrame) -> LengthCounts:
    """Lengths that the store has counted, put together.

    Args:
        pieces: as `store.queries.lengths.of_hours` gives.
        pairs: as `store.queries.lengths.pairs_of_hours` gives.
    """
    counter = _Counter()
    for lengths, requests in pieces:
        counter.add(lengths, requests)
    both = counter.lengths()
    is_output = both.values % 2 == 1
    inputs, outputs = (
        Lengths(both.values[mine] // 2, both.counts[mine]) for mine in (~is_output, is_output)
    )
    square = _no_pairs()
    codes = pairs.select(pl.col("input_octave", "output_octave").cast(pl.Int64) + _ZERO_CODE + 1)
    square[codes["input_octave"], codes["output_octave"]] = pairs["requests"]
    known = (int(pairs[name].sum()) for name in ("requests", "input_tokens", "output_tokens"))
    return LengthCounts(inputs, outputs, square, *known)


def merged(parts: Sequence[LengthCounts]) -> LengthCounts:
    """The lengths of several sources together."""
    return LengthCounts(
        pooled([part.input for part in parts]),
        pooled([part.output for part in parts]),
        np.sum([part.pairs for part in parts], axis=0, initial=0) if parts else _no_pairs(),
        sum(part.requests for part in parts),
        sum(part.input_tokens for part in parts),
        sum(part.output_tokens for part in parts),
    )


class _Counter:
    """How often each number of tokens occurs."""

    def __init__(self) -> None:
        self._dense = np.zeros(_DENSE_TOKENS + 1, dtype=np.int64)
        self._sparse: list[Lengths] = []

    def add(self, tokens: Tokens | Values, requests: Tokens | None = None) -> None:
        """Count a stretch; -1 is not known, and None is one request for each."""
        if tokens.size and int(tokens.max()) >= _DENSE_TOKENS:
            large = tokens >= _DENSE_TOKENS
            values, place = np.unique(tokens[large].astype(np.int64), return_inverse=True)
            counts = _counted(place, None if requests is None else requests[large])
            self._sparse.append(Lengths(values, counts))
            tokens = tokens[~large]
            requests = None if requests is None else requests[~large]
        found = _counted(tokens + 1, requests)
        self._dense[: found.size] += found

    def lengths(self) -> Lengths:
        """What was counted, by length."""
        known = self._dense[1:]
        values = np.flatnonzero(known)
        return pooled([Lengths(values, known[values]), *self._sparse])


def _counted(places: npt.NDArray[Any], requests: Tokens | None) -> Values:
    """How often each place occurs; sums of whole numbers are exact below 2^53."""
    return np.bincount(places, weights=requests).astype(np.int64)


def _octave_codes() -> npt.NDArray[np.uint8]:
    """The code of every small number of tokens; the last place answers for -1."""
    codes = np.frexp(np.arange(_DENSE_TOKENS + 1, dtype=np.float64))[1] + _ZERO_CODE
    codes[-1] = 0
    return codes.astype(np.uint8)


def _coded(tokens: Tokens, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if tokens.size and int(tokens.max()) >= _DENSE_TOKENS:
        # The exponent of a float is the octave, exactly; only slower than looking it up.
        exponents = np.frexp(tokens.astype(np.float64))[1] + _ZERO_CODE
        return np.where(tokens < 0, 0, exponents).astype(np.uint8)
    return codes[tokens]


def _total(tokens: Tokens) -> int:
    return int(tokens.sum(dtype=np.int64))


def _no_pairs() -> Values:
    return np.zeros((_CODES, _CODES), dtype=np.int64)
