"""Measures live how far apart the service of tenants is that wait at the same time.

For each two tenants, from when both wait until one does not: the difference of what they had, its
highest less its lowest point. That is the greatest difference over any part of the time, which is
what VTC's bound is about. Looked at when somebody begins or ends to wait, and every second.

    meter = FairnessMeter(); meter.promise(bound(line, capacity))
    gate = Gate(Policies(Metered(line, meter), way)); meter.read(now)

A bound holds for a part of the time in which it was true: a pair is judged by the largest limit
there was since both began to wait, and not at all where there was none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT, Line, LineSpec, Room

MOST_COMPARED = 64
MOST_KEPT = 10_000
EVERY_SECONDS = 1.0


def _nothing() -> None:
    return


def _unseen(ask: Ask) -> None:
    return


@dataclass(slots=True)
class _Pair:
    """Difference of two tenants' service: when both began to wait, lowest and highest since.

    `limit` is the largest there was meanwhile; infinite where there was none.
    """

    start: float
    limit: float
    low: float = 0.0
    high: float = 0.0

    def at(self, difference: float) -> float:
        """Take note; gives how far apart they were at most."""
        since = difference - self.start
        if since > self.high:
            self.high = since
        elif since < self.low:
            self.low = since
        return self.high - self.low


@dataclass(frozen=True, slots=True)
class Fairness:
    """What the meter shows.

    Attributes:
        at: seconds.
        service: by tenant, over weight, since the meter started; of those that are known still.
        waiting_since: by tenant that waits.
        apart: the greatest difference of two that wait now; None where no two do.
        between: which two.
        greatest: since the line in force began, of any two; None where no two ever waited.
        limit: the bound; None where the line has none, or nobody told it.
        breaches: times that a pair came to be farther apart than the limit.
        is_broken: whether two that wait now are farther apart than promised: an alarm.
        broken_at: when that was seen last, seconds; None where it never was.
        not_compared: tenants that wait and are not looked at, as too many do.
    """

    at: float
    service: Mapping[str, float]
    waiting_since: Mapping[str, float]
    apart: float | None = None
    between: tuple[str, str] | None = None
    greatest: float | None = None
    limit: float | None = None
    breaches: int = 0
    is_broken: bool = False
    broken_at: float | None = None
    not_compared: int = 0


@dataclass(slots=True, eq=False)
class FairnessMeter:
    """See the head of this module. Costs a sum for each token, and pairs once a second.

    Attributes:
        limit: the bound to watch; None watches none. Once two wait, `promise` another.
        every_seconds: how often all pairs are looked at.
        most_compared: tenants that wait of which all pairs are kept; those that waited first.
        renew: called before a breach is counted; promises the limit as it is by now.
    """

    limit: float | None = None
    every_seconds: float = EVERY_SECONDS
    most_compared: int = MOST_COMPARED
    renew: Callable[[], None] = _nothing
    _service: dict[str, float] = field(default_factory=dict)
    _count: Counter[str] = field(default_factory=Counter)
    _since: dict[str, float] = field(default_factory=dict)
    _compared: dict[str, None] = field(default_factory=dict)
    _pairs: dict[tuple[str, str], _Pair] = field(default_factory=dict)
    _over: set[tuple[str, str]] = field(default_factory=set)
    _greatest: float | None = None
    _breaches: int = 0
    _broken_at: float | None = None
    _looked_at: float = float("-inf")
    _renewed_at: float = float("-inf")
    _now: float = 0.0

    def promise(self, limit: float | None) -> None:
        """Watch another bound: pairs that wait already keep a larger one."""
        if limit == self.limit:
            return
        self.limit = limit
        most = math.inf if limit is None else limit
        for pair in self._pairs.values():
            pair.limit = max(pair.limit, most)

    def begin(self) -> None:
        """Another line decides from now on: whoever waits is compared anew."""
        self.look(self._now)
        self._pairs.clear()
        self._over.clear()
        self._greatest = None

    def waits(self, tenant: str, now: float) -> None:
        """One more of its requests waits."""
        self._now = now
        self._count[tenant] += 1
        if self._count[tenant] == 1:
            self._since[tenant] = now
            self._service.setdefault(tenant, 0.0)
            if len(self._compared) < self.most_compared:
                self._compare(tenant)

    def left(self, tenant: str) -> None:
        """One less."""
        self._count[tenant] -= 1
        if self._count[tenant] > 0:
            return
        del self._count[tenant], self._since[tenant]
        if tenant in self._compared:
            self._look(tenant)
            del self._compared[tenant]
            for other in self._compared:
                self._pairs.pop(_key(tenant, other), None)
                self._over.discard(_key(tenant, other))
            follows = next((one for one in self._since if one not in self._compared), None)
            if follows is not None:
                self._compare(follows)
        if len(self._service) > MOST_KEPT + len(self._since):
            self._forget()

    def serves(self, tenant: str, service: float, now: float) -> None:
        """It had more, over its weight."""
        self._service[tenant] = self._service.get(tenant, 0.0) + service
        if now - self._looked_at >= self.every_seconds:
            self.look(now)

    def look(self, now: float) -> None:
        """Compare all that wait."""
        self._looked_at = self._now = now
        for key, pair in self._pairs.items():
            self._note(key, pair)

    def read(self, now: float) -> Fairness:
        """What it shows now."""
        self.look(now)
        apart, worst = None, None
        for key, pair in self._pairs.items():
            wide = pair.high - pair.low
            if apart is None or wide > apart:
                apart, worst = wide, key
        return Fairness(
            now, dict(self._service), dict(self._since), apart, worst, self._greatest, self.limit,
            self._breaches, bool(self._over), self._broken_at,
            len(self._since) - len(self._compared),
        )  # fmt: skip

    def _compare(self, tenant: str) -> None:
        limit = math.inf if self.limit is None else self.limit
        for other in self._compared:
            key = _key(tenant, other)
            self._pairs[key] = _Pair(self._service[key[0]] - self._service[key[1]], limit)
        self._compared[tenant] = None

    def _look(self, tenant: str) -> None:
        for other in self._compared:
            key = _key(tenant, other)
            if key in self._pairs:
                self._note(key, self._pairs[key])

    def _note(self, key: tuple[str, str], pair: _Pair) -> None:
        apart = pair.at(self._service[key[0]] - self._service[key[1]])
        if self._greatest is None or apart > self._greatest:
            self._greatest = apart
        if apart > pair.limit:
            self._beyond(key, pair, apart)

    def _beyond(self, key: tuple[str, str], pair: _Pair, apart: float) -> None:
        """What is promised may have grown since it was told."""
        if key not in self._over:
            if self._renewed_at != self._now:
                self._renewed_at = self._now
                self.renew()
            if apart <= pair.limit:
                return
            self._over.add(key)
            self._breaches += 1
        self._broken_at = self._now

    def _forget(self) -> None:
        idle = [name for name in self._service if name not in self._since]
        for name in idle[: len(idle) // 2]:
            del self._service[name]


class Metered:
    """A line that is measured; it decides as the one inside."""

    def __init__(
        self,
        line: Line,
        meter: FairnessMeter,
        *,
        input_weight: float = INPUT_WEIGHT,
        output_weight: float = OUTPUT_WEIGHT,
        seen: Callable[[Ask], None] = _unseen,
    ) -> None:
        """Measure a line.

        Args:
            line: decides.
            meter: is told.
            input_weight: service of a prompt token; where the line has its own, that counts.
            output_weight: likewise, of an output token.
            seen: hears of each request when it comes to wait, and when it is over.
        """
        self.line, self.meter = line, meter
        self._seen = seen
        knobs = line.spec.parameters
        self._input_weight = float(knobs.get("input_weight", input_weight))
        self._output_weight = float(knobs.get("output_weight", output_weight))
        # Lines with a quantum give what is cached for nothing.
        self._is_cached_free = "quantum" in knobs

    @property
    def spec(self) -> LineSpec:
        """Of the line inside."""
        return self.line.spec

    def put(self, ask: Ask, now: float) -> None:
        """It waits."""
        self.line.put(ask, now)
        self._seen(ask)
        self.meter.waits(ask.tenant, now)

    def take(self, room: Room, now: float) -> Ask | None:
        """It goes: its prompt is served, as VTC counts."""
        ask = self.line.take(room, now)
        if ask is not None:
            cached = min(room.cached(ask), ask.input_tokens) if self._is_cached_free else 0
            cost = self._input_weight * (ask.input_tokens - cached)
            self.meter.serves(ask.tenant, cost / ask.weight, now)
            self.meter.left(ask.tenant)
        return ask

    def drop(self, ask: Ask) -> bool:
        """It left."""
        was_there = self.line.drop(ask)
        if was_there:
            self.meter.left(ask.tenant)
        return was_there

    def served(self, ask: Ask, output_tokens: int, *, is_over: bool, now: float) -> None:
        """Its tokens came."""
        self.line.served(ask, output_tokens, is_over=is_over, now=now)
        if output_tokens:
            self.meter.serves(ask.tenant, self._output_weight * output_tokens / ask.weight, now)
        if is_over:
            self._seen(ask)
            if ask.told_input_tokens is not None and not self._is_cached_free:
                more = self._input_weight * (ask.told_input_tokens - ask.input_tokens)
                self.meter.serves(ask.tenant, more / ask.weight, now)


def _key(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)
