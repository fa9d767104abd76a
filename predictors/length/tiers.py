"""Which tier answers: the cheap one decides whether the dear one is worth its time.

An encoder costs tens of milliseconds. It is asked where the cheap tier is unsure and a better
answer could change a decision; a prompt asked before is answered from the cache; what would come
too late is not waited for.

Source: the decision is SkipPredict's (Shahout, Mitzenmacher (2024), arXiv 2402.03564): a first,
cheap prediction, and the costly one only for jobs that need it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.distribution import Floats
from predictors.length.bins import Lengths
from predictors.length.spec import KEYS, PROMPT


class Tier(Protocol):
    """What a tier must be able to do."""

    def lengths(self, rows: pl.DataFrame) -> Lengths:
        """The distribution of each row."""
        ...


@dataclass(frozen=True, slots=True)
class TierSettings:
    """When the dear tier is asked.

    Attributes:
        short_tokens: below it an answer is short: a job that needs no care.
        sure_ratio: when the cheap tier gives "short" or "not short" at least this probability,
            it answers alone.
        deadline_seconds: of the dear tier for one call; a call expected to take longer is left.
        most_cached: distributions kept, by the hash of prompt, model and route.
    """

    short_tokens: float = 128.0
    sure_ratio: float = 0.9
    deadline_seconds: float = 0.025
    most_cached: int = 20_000


@dataclass(frozen=True, slots=True)
class TieredAnswer:
    """What `Tiers.lengths` gives.

    Attributes:
        lengths: one distribution a row.
        tier: (n,) 1 the cheap tier, 2 the dear one (now or from the cache).
    """

    lengths: Lengths
    tier: npt.NDArray[np.int8]


class Tiers:
    """The cheap and the dear tier as one. Not thread-safe: one owner.

    Args:
        cheap: answers every row.
        dear: answers where it is worth it; None where no encoder was named.
        settings: when.
        monotonic: a clock in seconds that never goes back (`store.clock.Clock.monotonic`).
    """

    def __init__(
        self,
        cheap: Tier,
        dear: Tier | None,
        monotonic: Callable[[], float],
        settings: TierSettings | None = None,
    ) -> None:
        self._cheap, self._dear = cheap, dear
        self._settings = settings or TierSettings()
        self._monotonic = monotonic
        self._cache: OrderedDict[bytes, Floats] = OrderedDict()
        self._seconds_per_row = 0.0
        self._skipped_calls = 0

    def lengths(self, rows: pl.DataFrame) -> TieredAnswer:
        """Answer every row, from the dear tier where it is worth it."""
        cheap = self._cheap.lengths(rows)
        tier = np.ones(rows.height, np.int8)
        if self._dear is None or not rows.height:
            return TieredAnswer(cheap, tier)
        shares = cheap.shares.copy()
        short = cheap.probability_within(self._settings.short_tokens)
        unsure = np.maximum(short, 1 - short) < self._settings.sure_ratio
        marks = _marks(rows)
        asked = [n for n in np.flatnonzero(unsure).tolist() if marks[n] not in self._cache]
        if asked and self._is_in_time(len(asked)):
            self._ask(self._dear, rows, asked, marks)
        for number in np.flatnonzero(unsure).tolist():
            found = self._cache.get(marks[number])
            if found is not None:
                self._cache.move_to_end(marks[number])
                shares[number], tier[number] = found, 2
        return TieredAnswer(Lengths(shares, cheap.most), tier)

    def _is_in_time(self, rows: int) -> bool:
        if rows * self._seconds_per_row <= self._settings.deadline_seconds:
            return True
        # One slow call must not shut the tier for ever: now and then it is tried again.
        self._skipped_calls += 1
        return self._skipped_calls % 100 == 0

    def _ask(self, dear: Tier, rows: pl.DataFrame, asked: list[int], marks: list[bytes]) -> None:
        start = self._monotonic()
        found = dear.lengths(rows[asked])
        seconds = (self._monotonic() - start) / len(asked)
        first = self._seconds_per_row == 0.0
        self._seconds_per_row += (1.0 if first else 0.2) * (seconds - self._seconds_per_row)
        for number, shares in zip(asked, found.shares, strict=True):
            self._cache[marks[number]] = shares
        while len(self._cache) > self._settings.most_cached:
            self._cache.popitem(last=False)


def _marks(rows: pl.DataFrame) -> list[bytes]:
    """What one answer may be used for again: the same prompt, model and route."""
    columns = [
        rows[name].cast(pl.String).fill_null("").to_list()
        if name in rows.columns
        else [""] * rows.height
        for name in (PROMPT, *KEYS)
    ]
    return [
        hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=16).digest()
        for parts in zip(*columns, strict=True)
    ]
