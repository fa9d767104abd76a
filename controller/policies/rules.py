"""Rules that a pool could follow, what each would have come to on its past; the cheapest that does.

A rule asks for the larger of two numbers: what its forecast says (a quantile of what followed
moments like this one, never more than `most_ahead`), and what the present rate needs. A fixed
number is the rule whose floor is that number. A pool that may go to zero has rules for its silences
too: a replica is kept, or asked for, while the next request is likely enough to be near.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from controller.capacity import Replica, all_staffed, most_per_second
from controller.numbers import Floats
from controller.policies import analogs, idle
from controller.policies.fluid import SUBSTEPS, missed, ready_of
from controller.policy import MOST_REPLICAS

NEIGHBOURS = (24, 60, 120)
LEVELS = (0.9, 0.95, 0.98, 1.0)
GAINS = (0.9, 1.0)
RATE_GAINS = (1.0, 1.15, 1.4)
FLOOR_SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# From which chance of a request on a silent pool is kept warm, and for which share of its wakings.
CHANCES, WAKINGS = (0.01, 0.03, 0.1, 0.3, 0.6), (0.5, 0.95)
# The same of rules that forecast while something comes.
WORTH_WITH_FORECAST = 0.1
# A target is kept for two decisions, so that chance does not start and stop replicas.
SETTLE_BINS = 2
# A rule that moves must save this share of what a fixed number costs.
WORTH_MOVING = 0.05
# Parts of the past over which misses are compared.
BLOCK_SECONDS, LEAST_BLOCKS = 1800.0, 6


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        floor: replicas at least.
        neighbours: moments that the forecast goes by; 0 does not forecast.
        level: quantile of what followed them.
        gain: on that quantile.
        most_ahead: replicas that the forecast may ask for.
        rate_gain: on the present rate.
        chance: of a request within a start-up, from which on a silent pool is kept warm, for
            the rate that the share `level` of its wakings had; 0 does not look at silences.
    """

    floor: float
    neighbours: int = 0
    level: float = 1.0
    gain: float = 1.0
    most_ahead: float = 0.0
    rate_gain: float = 1.0
    chance: float = 0.0

    @property
    def is_fixed(self) -> bool:
        """Whether it keeps one number, whatever comes."""
        return not self.neighbours and not self.rate_gain

    def told(self) -> list[float]:
        """As it is remembered."""
        made = [self.floor, self.neighbours, self.level, self.gain, self.most_ahead, self.rate_gain]
        return [*made, self.chance] if self.chance else made

    @classmethod
    def of(cls, told: Sequence[float]) -> Rule:
        """What `told` gave."""
        floor, neighbours, *rest = told
        return cls(floor, int(neighbours), *rest)


@dataclass(frozen=True, slots=True)
class Past:
    """What rules are judged on.

    Attributes:
        rates: (n,) requests a second in each bin.
        bin_seconds: length of a bin.
        startup_seconds: until a replica that is asked for serves.
        replica: what one can do.
        least: replicas the pool must have.
        most: replicas it may have.
        silences: bins of each silence that is known, older ones than the rates too.
    """

    rates: Floats
    bin_seconds: float
    startup_seconds: float
    replica: Replica
    least: float
    most: float
    silences: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.rates) * self.bin_seconds

    @property
    def capacity(self) -> float:
        """Requests a second of a replica."""
        return most_per_second(self.replica)

    @property
    def ahead_bins(self) -> int:
        """Bins that a decision must look ahead: a start-up, and the bin that goes on."""
        return math.ceil(self.startup_seconds / self.bin_seconds) + 2


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule and what it would have come to.

    Attributes:
        rule: that was tried.
        replicas: it would have had, on average.
        missed_ratio: share of the requests that would have missed, doubt included.
        wanted: (n,) replicas in each bin.
    """

    rule: Rule
    replicas: float
    missed_ratio: float
    wanted: Floats = field(default_factory=lambda: np.zeros(0), repr=False)


def needed(rates: Floats, past: Past) -> Floats:
    """Whole replicas for each rate, chance allowed for."""
    wanted = all_staffed(rates, past.capacity, past.replica.spread)
    wanted = np.minimum(wanted, float(MOST_REPLICAS))
    return np.asarray(np.ceil(wanted - 1e-9))


def ahead_of(past: Past, neighbours: int) -> Floats:
    """(n, neighbours) what followed the moments like each, itself and its surroundings left out."""
    moments = analogs.described(past.rates, past.bin_seconds)
    ahead = analogs.highest_ahead(past.rates, past.ahead_bins)
    apart = round(analogs.APART_SECONDS / past.bin_seconds)
    return np.asarray(analogs.foreseen(moments, ahead, moments[:-1], 0, neighbours, apart))


def ahead_now(past: Past, neighbours: int) -> Floats:
    """(neighbours,) what followed the moments like now; NaN where there are fewer."""
    moments = analogs.described(past.rates, past.bin_seconds)
    ahead = analogs.highest_ahead(past.rates, past.ahead_bins)
    found = analogs.foreseen(moments, ahead, moments[-1:], len(past.rates), neighbours, 0)
    return np.asarray(found[0])


def cheapest(past: Past, allowed_ratio: float, doubt: float) -> Judged:
    """The cheapest rule that misses no more than is allowed; else the one that misses least.

    What a rule missed on one past is chance in part: the more so, the fewer bursts it was missed
    in. So the mean over parts of the past counts with `doubt` times its standard error.

    Args:
        past: what it is judged on.
        allowed_ratio: share of the requests that may miss.
        doubt: standard errors.
    """
    best: Judged | None = None
    capacity = past.capacity
    for rule, wanted in sorted(courses(past), key=_price):
        ratio = _missed_ratio(past, capacity, wanted, allowed_ratio, doubt)
        found = Judged(rule, float(wanted.mean()), ratio, wanted)
        if ratio <= allowed_ratio:
            return found
        if best is None or ratio < best.missed_ratio:
            best = found
    return best or Judged(Rule(past.least), past.least, 1.0)


def _price(course: tuple[Rule, Floats]) -> float:
    """What a course costs; one that moves must save something to be worth its risk."""
    rule, wanted = course
    cost = float(wanted.sum())
    return cost if rule.is_fixed else cost * (1 + WORTH_MOVING)


def _missed_ratio(
    past: Past, capacity: float, wanted: Floats, allowed_ratio: float, doubt: float
) -> float:
    total = max(float(past.rates.sum()) * past.bin_seconds, 1e-9)
    blocks = max(round(past.seconds / BLOCK_SECONDS), LEAST_BLOCKS)
    startup = max(round(past.startup_seconds / past.bin_seconds * SUBSTEPS), 0)
    late = missed(
        past.replica, capacity, past.rates, ready_of(wanted, startup), past.bin_seconds, blocks,
        2 * allowed_ratio * total,
    )  # fmt: skip
    error = float(late.std(ddof=1)) * math.sqrt(blocks)
    return (float(late.sum()) + doubt * error) / total


def courses(past: Past) -> Iterator[tuple[Rule, Floats]]:
    """Every rule with the replicas that it would have wanted in each bin."""
    seen = np.concatenate([past.rates[:1], past.rates[:-1]])
    by_rate = {gain: needed(gain * seen, past) for gain in RATE_GAINS}
    peak = float(needed(np.array([past.rates.max()]), past)[0])
    yield from _by_floor(past, peak, by_rate)
    if past.least >= 1 or not len(past.silences):
        yield from _by_forecast(past, peak, by_rate)
        return
    silent = silences_of(past)
    yield from _by_silence(past, silent, by_rate)
    yield from _by_both(past, silent, _by_forecast(past, peak, by_rate))


def _by_floor(
    past: Past, peak: float, by_rate: Mapping[float, Floats]
) -> Iterator[tuple[Rule, Floats]]:
    for floor in [*sorted({float(math.ceil(peak * share)) for share in FLOOR_SHARES}), peak + 1]:
        yield Rule(floor, rate_gain=0.0), _within(past, np.full(len(past.rates), floor))
        for gain, now in by_rate.items():
            yield Rule(floor, rate_gain=gain), _within(past, np.maximum(now, floor))


def _by_forecast(
    past: Past, peak: float, by_rate: Mapping[float, Floats]
) -> Iterator[tuple[Rule, Floats]]:
    every = ahead_of(past, max(NEIGHBOURS))
    known = [n for n in NEIGHBOURS if not np.isnan(every[:, :n]).any()]
    for neighbours, (level, gain) in product(known, product(LEVELS, GAINS)):
        high = np.quantile(every[:, :neighbours], level, axis=1)
        ahead = needed(gain * high, past)
        for most, (rate_gain, now) in product((peak - 2, peak - 1, peak), by_rate.items()):
            rule = Rule(past.least, neighbours, level, gain, most, rate_gain)
            yield rule, _within(past, np.maximum(np.minimum(ahead, most), now))


@dataclass(frozen=True, slots=True)
class Silent:
    """The silences of a past, bin by bin.

    Attributes:
        bins: (n,) of silence before each.
        chance: (n,) of a request within a start-up, as the other silences tell it.
    """

    bins: Floats
    chance: Floats

    def awaited(self, worth: float) -> Floats:
        """(n,) 1 where the next request is awaited, else 0."""
        is_awaited = (self.bins > 0) & idle.is_awaited(self.chance, worth)
        return np.asarray(is_awaited, dtype=np.float64)


def silences_of(past: Past) -> Silent:
    """Nobody knew how long a silence would be that was not over."""
    silent, own = idle.silent_for(past.rates), idle.own_silence(past.rates)
    return Silent(silent, idle.chances(past.silences, silent, past.ahead_bins, own))


def _by_silence(
    past: Past, silent: Silent, by_rate: Mapping[float, Floats]
) -> Iterator[tuple[Rule, Floats]]:
    for level in WAKINGS:
        size = warm_size(past, level)
        for worth, (gain, now) in product(CHANCES, by_rate.items()):
            rule = Rule(past.least, level=level, rate_gain=gain, chance=worth)
            yield rule, _within(past, np.maximum(now, size * silent.awaited(worth)))


def _by_both(
    past: Past, silent: Silent, forecasts: Iterator[tuple[Rule, Floats]]
) -> Iterator[tuple[Rule, Floats]]:
    """Forecasts while something comes; in long silences all moments look alike to them."""
    is_alike = silent.bins * past.bin_seconds >= analogs.REACHES_SECONDS[-1]
    size = {level: warm_size(past, level) for level in LEVELS}
    for rule, wanted in forecasts:
        warm = size[rule.level] * silent.awaited(WORTH_WITH_FORECAST)
        both = np.where(is_alike, past.least, wanted)
        yield replace(rule, chance=WORTH_WITH_FORECAST), _within(past, np.maximum(both, warm))


def warm_size(past: Past, level: float) -> float:
    """Replicas for what a silence was followed by, in this share of the cases; at least one."""
    rates = idle.woken(past.rates, past.ahead_bins)
    if not len(rates):
        return 1.0
    return float(needed(np.array([np.quantile(rates, level)]), past).max(initial=1.0))


def _within(past: Past, wanted: Floats) -> Floats:
    settled = wanted.copy()
    for back in range(1, SETTLE_BINS):
        settled[back:] = np.maximum(settled[back:], wanted[:-back])
    return np.clip(settled, past.least, past.most)
