"""What was known of earlier loads when a load was asked for. Nothing later is ever looked at.

A load counts as a *miss* when it took over 1.4 times what the fast ones of its key take (their 15 %
quantile): most caches show themselves that way, whatever cache it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.base import AT, OUTCOME
from predictors.cold_start.spec import ALIKE_OF, ASKED, FLEET, INSTANCE, OWN
from predictors.distribution import Floats
from store.errors import PredictorError

REMEMBERED = 60
MISS_LOG = 0.35
LOW_SHARE = 0.15
NEVER = math.nan


@dataclass(slots=True)
class _Own:
    """Loads of one key, oldest first: when, logarithm of the seconds, gap before each."""

    at: list[float] = field(default_factory=list)
    log: list[float] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)

    def add(self, at: float, log: float) -> None:
        self.gap.append(at - self.at[-1] if self.at else NEVER)
        self.at.append(at)
        self.log.append(log)
        if len(self.at) > 2 * REMEMBERED:
            for kept in (self.at, self.log, self.gap):
                del kept[:REMEMBERED]


def with_history(
    loads: pl.DataFrame, key: str = INSTANCE, known_after_seconds: float | None = None
) -> pl.DataFrame:
    """`loads` by time, with the columns `OWN` and `FLEET` of `spec`.

    Args:
        loads: `at`, `key`, and `outcome` in seconds (null: still asked about).
        key: what shares a cache: a container, a host, a configuration. Earlier loads of the same
            key count at once, because it loads one thing at a time.
        known_after_seconds: loads of others count this long after their `at`; None: when they
            ended.

    Raises:
        PredictorError: a column is missing.
    """
    absent = [name for name in (AT, key) if name not in loads.columns]
    if absent:
        raise PredictorError(f"loads need the column {absent[0]!r} to have a history")
    if OUTCOME not in loads.columns:
        loads = loads.with_columns(pl.lit(None, pl.Float64).alias(OUTCOME))
    rows = loads.sort(AT, maintain_order=True)
    found = _described(rows, key, known_after_seconds)
    kept = rows.drop([name for name in (*OWN, *FLEET) if name in rows.columns])
    return kept.hstack(pl.DataFrame(found, schema=dict.fromkeys((*OWN, *FLEET), pl.Float64)))


def with_alike(loads: pl.DataFrame, key: str = INSTANCE) -> pl.DataFrame:
    """`loads` by time, with the columns `ALIKE` of `spec`: null where `ASKED` is not known.

    Args:
        loads: `at`, `key`, `outcome` in seconds, and what had to be loaded (`ASKED`).
        key: as in `with_history`.

    Raises:
        PredictorError: a column is missing.
    """
    absent = [name for name in ASKED if name not in loads.columns]
    if absent:
        raise PredictorError(f"loads need the column {absent[0]!r} to be compared with alike ones")
    rows = loads.sort(AT, maintain_order=True)
    parts = [pl.col(key), *(pl.col(name).cast(pl.Int8).cast(pl.String) for name in ASKED)]
    alike = with_history(
        rows.select(AT, OUTCOME, pl.concat_str(parts, separator="/").alias(key)), key
    )
    known = pl.all_horizontal(pl.col(name).is_not_null() for name in ASKED)
    found = alike.select(pl.col(own).alias(name) for name, own in ALIKE_OF.items())
    kept = rows.drop([name for name in ALIKE_OF if name in rows.columns]).hstack(found)
    return kept.with_columns(pl.when(known).then(pl.col(name)).alias(name) for name in ALIKE_OF)


def _described(rows: pl.DataFrame, key: str, known_after_seconds: float | None) -> Floats:
    at = rows[AT].dt.epoch("us").to_numpy() / 1e6
    seconds = rows[OUTCOME].cast(pl.Float64).fill_null(NEVER).to_numpy()
    names = rows[key].cast(pl.String).fill_null("").to_list()
    lag = seconds if known_after_seconds is None else np.full(len(at), known_after_seconds)
    fleet = _Fleet(at, at + np.nan_to_num(lag, nan=np.inf))
    made = np.empty((rows.height, len(OWN) + len(FLEET)))
    owns: dict[str, _Own] = {}
    for together in _instants(at):
        for number in together:
            own = owns.setdefault(names[number], _Own())
            made[number, : len(OWN)] = _of_own(own, at[number])
            made[number, len(OWN) :] = fleet.before(at[number])
        for number in together:
            if seconds[number] > 0:
                log = math.log(seconds[number])
                fleet.tell(number, log, *_against(owns[names[number]], log))
                owns[names[number]].add(at[number], log)
    return made


def _instants(at: Floats) -> Iterator[range]:
    """Rows of one instant know nothing of each other."""
    begin = 0
    for number in range(1, len(at) + 1):
        if number == len(at) or at[number] != at[begin]:
            yield range(begin, number)
            begin = number


def misses(logs: Floats) -> npt.NDArray[np.bool_]:
    """Which loads of one key were slow beside its fast ones."""
    return logs > np.quantile(logs, LOW_SHARE) + MISS_LOG


def _against(own: _Own, log: float) -> tuple[float, float]:
    """(1 when a miss else 0, logarithm of its ratio to earlier ones of its kind)."""
    if len(own.log) < 3:
        return NEVER, NEVER
    earlier = np.array(own.log[-REMEMBERED:])
    is_miss = log > np.quantile(earlier, LOW_SHARE) + MISS_LOG
    alike = earlier[misses(earlier) == is_miss][-8:]
    return float(is_miss), log - float(np.median(alike)) if len(alike) else NEVER


def _of_own(own: _Own, now: float) -> list[float]:
    count = len(own.log)
    if not count:
        return [0.0] + [NEVER] * (len(OWN) - 5) + [0.0] * 4
    at, log, gap = (np.array(kept[-REMEMBERED:]) for kept in (own.at, own.log, own.gap))
    missed = misses(log)
    last = [float(log[-back]) if len(log) >= back else NEVER for back in range(1, 5)]
    gaps = [float(now - at[-back]) if len(at) >= back else NEVER for back in range(1, 4)]
    recent = [
        float(np.median(log[-10:])), float(np.median(log)), float(np.quantile(log[-30:], 0.2)),
        float(np.quantile(log[-30:], 0.8)), float(log.min()),
    ]  # fmt: skip
    counts = [float((at > now - 60 * minutes).sum()) for minutes in (3, 6, 12, 30)]
    return [float(count), *last, *gaps, *recent, *_kinds(at, log, missed, now),
            *_at_gap(log, gap, missed, gaps[0]), *counts]  # fmt: skip


def _kinds(at: Floats, log: Floats, missed: npt.NDArray[np.bool_], now: float) -> list[float]:
    hits, slow = log[~missed], log[missed]
    newest = missed[-10:]
    return [
        float(np.median(hits[-6:])) if len(hits) else NEVER,
        float(np.median(slow[-3:])) if len(slow) else NEVER,
        float(((~newest).sum() + 0.6) / (len(newest) + 1.2)),
        float(now - at[missed][-1]) if len(slow) else NEVER,
        float(now - at[~missed][-1]) if len(hits) else NEVER,
    ]


def _at_gap(log: Floats, gap: Floats, missed: npt.NDArray[np.bool_], now_gap: float) -> list[float]:
    """What followed gaps like this one: a cache forgets with time."""
    near = np.nan_to_num(np.exp(-2 * np.log(np.maximum(gap, 1) / max(now_gap, 1)) ** 2))
    share = float((near @ missed + 0.25) / (near.sum() + 0.5))
    same = near[1:] * (missed[:-1] == missed[-1])
    after_same = float((same @ missed[1:] + 0.5 * share) / (same.sum() + 0.5))
    usual = float((near @ log + 0.5 * np.median(log[-10:])) / (near.sum() + 0.5))
    differs = np.flatnonzero(missed[::-1] != missed[-1])
    run = float(differs[0]) if len(differs) else float(len(missed))
    return [share, after_same, usual, run, float(missed[-1])]


class _Fleet:
    """Loads of everybody, by when they were known."""

    def __init__(self, at: Floats, known_at: Floats) -> None:
        self._order = np.argsort(known_at, kind="stable")
        self._known_at = known_at[self._order]
        self._at = at
        self._log, self._is_miss, self._ratio = (np.full(len(at), NEVER) for _ in range(3))
        self._last: tuple[float, list[float]] = (NEVER, [])

    def tell(self, number: int, log: float, is_miss: float, ratio: float) -> None:
        self._log[number], self._is_miss[number], self._ratio[number] = log, is_miss, ratio

    def before(self, now: float) -> list[float]:
        if self._last[0] != now:
            self._last = (now, [value for m in (8, 30, 80) for value in self._window(now, m)])
        return self._last[1]

    def _window(self, now: float, minutes: int) -> list[float]:
        low, high = np.searchsorted(self._known_at, [now - 60 * minutes, now], side="right")
        some = self._order[low:high]
        # A load known by now may share this instant: it has not been told yet, so it is NaN.
        some = some[np.isfinite(self._log[some]) & (self._at[some] < now)]
        log, missed, ratio = self._log[some], self._is_miss[some], self._ratio[some]
        return [
            float(len(some)), _median(ratio[missed == 1]), _median(ratio[missed == 0]),
            _median(log[missed == 1]), _mean(missed),
            float(np.quantile(log, 0.9)) if len(log) else NEVER,
        ]  # fmt: skip


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else NEVER


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NEVER
