"""How much of the prompts a prefix cache could have served: infinite, and of every LRU size.

A request's prompt is a chain of blocks, each named by a hash. A block counts as a hit only when all
blocks before it in the request hit too: an engine cannot use the middle of a prompt without its
beginning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Integers = npt.NDArray[np.int64]

LRU_SCHEMA = {
    "cache_blocks": pl.Int64,
    "cache_tokens": pl.Int64,
    "block_hit_ratio": pl.Float64,
    "token_hit_ratio": pl.Float64,
}
# Exact stack distances need about 100 bytes a reference.
MOST_REFERENCES = 5_000_000


@dataclass(frozen=True, slots=True)
class PrefixReuse:
    """Block references in order of arrival, and how deep each lies in an LRU stack.

    Attributes:
        needed_blocks: the smallest LRU cache, in blocks, in which the reference is a hit, one entry
            a reference; `never` where even an infinite cache misses.
        tokens: tokens of each block; None when the block size is unknown.
        unique_blocks: distinct blocks.
        never: the value of `needed_blocks` that means no cache helps.
        requests: requests with block hashes.
    """

    needed_blocks: Integers
    tokens: Integers | None
    unique_blocks: int
    never: int
    requests: int


def measure(rows: pl.DataFrame, block_tokens: int | None) -> PrefixReuse:
    """Reuse of a frame with source_id, input_tokens, block_hashes, in order of arrival.

    Hashes of different sources are different blocks. The last block of a prompt may be part-filled:
    its tokens are what the others leave of input_tokens.

    Args:
        rows: one row a request.
        block_tokens: tokens in a full block; None = unknown.
    """
    rows = rows.filter(pl.col("block_hashes").list.len() > 0)
    sizes = rows["block_hashes"].list.len().cast(pl.Int64).to_numpy()
    flat = rows.select("source_id", "block_hashes").explode("block_hashes")
    codes = _codes(flat)
    request = np.repeat(np.arange(sizes.size), sizes)
    never = codes.size + 1
    distances = stack_distances(codes)
    needed = np.where(distances < 0, never, distances + 1)
    # Running maximum within each request: lift every request above the one before it.
    lifted = np.maximum.accumulate(needed + request * (never + 1))
    needed = lifted - request * (never + 1)
    tokens = None if block_tokens is None else _tokens(rows, sizes, block_tokens)
    unique = int(codes.max()) + 1 if codes.size else 0
    return PrefixReuse(needed, tokens, unique, never, int(sizes.size))


def _codes(flat: pl.DataFrame) -> Integers:
    ranked = flat.select(pl.struct("source_id", "block_hashes").rank("dense").alias("code"))
    return ranked["code"].cast(pl.Int64).to_numpy() - 1


def _tokens(rows: pl.DataFrame, sizes: Integers, block_tokens: int) -> Integers:
    tokens = np.full(int(sizes.sum()), block_tokens, dtype=np.int64)
    last = np.cumsum(sizes) - 1
    known = rows["input_tokens"].cast(pl.Int64).fill_null(-1).to_numpy()
    rest = known - (sizes - 1) * block_tokens
    partial = (known >= 0) & (rest >= 1) & (rest < block_tokens)
    tokens[last[partial]] = rest[partial]
    return tokens


def stack_distances(codes: Integers) -> Integers:
    """Distinct other blocks referenced since the same block was last referenced; -1 = never before.

    A reference hits an LRU cache of c blocks exactly when 0 <= distance < c.

    With p(i) the previous place of block i, the distance is the number of j < i with p(j) <= p(i),
    less the p(i) + 1 places up to p(i), for which that holds trivially. Counting earlier smaller
    values is done bit by bit from the top: in each group of equal high bits, a one counts the zeros
    before it. N log N, all in whole-array steps.

    Source: Mattson et al., Evaluation techniques for storage hierarchies (1970), for the property;
    Bennett & Kruskal, LRU stack processing (1975), for the counting problem.
    """
    size = codes.size
    if size == 0:
        return np.empty(0, dtype=np.int64)
    order = np.argsort(codes, kind="stable")
    again = codes[order[1:]] == codes[order[:-1]]
    previous = np.full(size, -1, dtype=np.int64)
    previous[order[1:][again]] = order[:-1][again]
    ranks = np.empty(size, dtype=np.int64)
    ranks[np.argsort(previous, kind="stable")] = np.arange(size)
    smaller = earlier_smaller(ranks)
    return np.where(previous < 0, -1, smaller - previous - 1)


def earlier_smaller(ranks: Integers) -> Integers:
    """For each place of a permutation of 0..n-1, how many earlier places hold a smaller value."""
    size = ranks.size
    counts = np.zeros(size, dtype=np.int64)  # by value
    values = ranks
    for bit in range(max(1, (size - 1).bit_length()) - 1, -1, -1):
        is_one = (values >> bit) & 1
        zeros_before = np.cumsum(1 - is_one) - (1 - is_one)
        # A permutation fills each group: the group of values with these high bits starts at its
        # smallest value, in the array too.
        group = (values >> (bit + 1)) << (bit + 1)
        zeros_in_group = zeros_before - zeros_before[group]
        ones = is_one == 1
        counts[values[ones]] += zeros_in_group[ones]
        ones_in_group = np.arange(size) - group - zeros_in_group
        place = group + np.where(ones, (1 << bit) + ones_in_group, zeros_in_group)
        moved = np.empty_like(values)
        moved[place] = values
        values = moved
    return counts[ranks]


def hit_ratios(reuse: PrefixReuse) -> tuple[float | None, float | None]:
    """Share of blocks and of tokens an infinite cache serves; None when unknowable."""
    if reuse.needed_blocks.size == 0:
        return None, None
    hit = reuse.needed_blocks < reuse.never
    blocks = float(np.count_nonzero(hit)) / hit.size
    if reuse.tokens is None:
        return blocks, None
    return blocks, float(reuse.tokens[hit].sum()) / float(reuse.tokens.sum())


def lru_frame(reuse: PrefixReuse, block_tokens: int | None) -> pl.DataFrame:
    """cache_blocks, cache_tokens, block_hit_ratio, token_hit_ratio at sizes two to the octave.

    The last row is a cache that holds every distinct block: it equals an infinite one.
    """
    size = reuse.needed_blocks.size
    if size == 0:
        return pl.DataFrame(schema=LRU_SCHEMA)
    octaves = np.arange(2 * int(np.ceil(np.log2(max(2, reuse.unique_blocks)))))
    steps = np.unique(np.rint(2.0 ** (octaves / 2)).astype(np.int64))
    cache = np.append(steps[steps < reuse.unique_blocks], reuse.unique_blocks)
    order = np.argsort(reuse.needed_blocks, kind="stable")
    found = np.searchsorted(reuse.needed_blocks[order], cache, side="right")
    tokens = None
    if reuse.tokens is not None:
        served = np.concatenate(([0], np.cumsum(reuse.tokens[order])))
        tokens = served[found] / served[-1]
    return pl.DataFrame(
        {
            "cache_blocks": cache,
            "cache_tokens": cache * block_tokens if block_tokens is not None else None,
            "block_hit_ratio": found / size,
            "token_hit_ratio": tokens,
        },
        schema=LRU_SCHEMA,
    )
