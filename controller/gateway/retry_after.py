"""When a refused request should come again, and the promise that it will be let in then.

    wait = the first t from which on there is room for it and for whom a place was promised:
           0.96 left by t' - z sqrt(left by t')  >=  ahead + promised by t'   for all t' >= t

`left` is what leaves the queue (`drain`: running requests, the pace, replicas that start), `ahead`
how many must leave first, as the rule says that refused. Those told to come back count as load for
the next, and nobody who comes later passes them. But nothing stays idle for who has not come: where
the queue would soon be empty, newcomers have their places.

Pure: no clock, no dice but the request's number. One `RetryAfter` belongs to one gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from controller.gateway.admission.base import Refusal
from controller.gateway.admission.dice import share_of
from controller.gateway.admission.usage import expected_tokens
from controller.gateway.ask import Ask
from controller.gateway.drain import STEP_SECONDS, STEPS, Drain, drain
from controller.gateway.fleet import Sight
from controller.gateway.promises import Promise, Promises, key_of
from controller.gateway.retry_meter import RetryMeter
from controller.gateway.shares import Shares
from store.errors import ControllerError

LONGEST_SECONDS = 60.0
"""SDKs ignore more: those that Stainless generates for OpenAI and Anthropic."""
SDK_SECONDS = 0.5
"""What they wait where they are told nothing."""
TENANT_QUEUE_FULL = "tenant_queue_full"


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How Retry-After is told.

    Attributes:
        most_seconds: told at most.
        least_seconds: less is not told.
        sureness: standard deviations by which the drain is taken to be slower than expected.
        slower_ratio: and by which share.
        jitter_ratio: of the wait, added by the request's number.
        most_jitter_seconds: of that.
        keeps_places: whether those told to come back are kept a place.
        ready_seconds: where no more wait than leave in so long, places are given to newcomers.
        overdue_seconds: after its time, and `overdue_ratio` of the wait, a promise is void.
        overdue_ratio: as above.
        overbook_ratio: of the queue, by which it may be too long so that a promise is kept.
        most_promises: kept; beyond them nothing is promised.
        refresh_seconds: how old an expectation of the drain may be.
    """

    most_seconds: float = 60.0
    least_seconds: float = 0.5
    sureness: float = 2.0
    slower_ratio: float = 0.04
    jitter_ratio: float = 0.05
    most_jitter_seconds: float = 1.0
    keeps_places: bool = True
    ready_seconds: float = 0.25
    overdue_seconds: float = 2.0
    overdue_ratio: float = 0.1
    overbook_ratio: float = 0.05
    most_promises: int = 10_000
    refresh_seconds: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ControllerError: naming what.
        """
        if not 0 < self.most_seconds <= LONGEST_SECONDS:
            raise ControllerError(
                f"retry-after: most_seconds must be above 0 and at most {LONGEST_SECONDS:g},"
                f" not {self.most_seconds}",
                hint="SDKs ignore a longer Retry-After",
            )


class RetryAfter:
    """Tells waits, and keeps what it told."""

    def __init__(self, settings: RetrySettings | None = None) -> None:
        self.settings = settings or RetrySettings()
        self.meter = RetryMeter()
        self.promises = Promises()
        self._order = 0
        self._drains: dict[str, Drain] = {}
        self._seat_seconds: float | None = None
        self._shares = Shares()

    # -- what the gate calls

    def seen_by(self, ask: Ask, sight: Sight) -> Sight:
        """The sight with what was promised to others and has to be kept from this one."""
        for _ in self.promises.void(sight.now):
            self.meter.stayed_away()
        if not self.settings.keeps_places or not len(self.promises):
            return sight
        own = self.promises.of(key_of(ask))
        of_tenant = sight.waiting_of.get(ask.tenant, 0)
        if own is not None and own.due_at <= sight.now:
            more = self.settings.overbook_ratio
            return replace(
                sight, promised=-more * sight.waiting, promised_of_tenant=-more * of_tenant
            )
        kept, group = self._kept(ask.model, ask, own, sight, sight.waiting), _own(ask)
        as_whole = of_tenant / self._shares.of(ask.tenant, sight)
        of_its = self._kept(group, ask, own, sight, as_whole)
        cost = self.promises.cost(group, "requests"), self.promises.cost(group, "tokens")
        if kept or of_its or any(cost):
            return replace(sight, promised=kept, promised_of_tenant=of_its, promised_cost=cost)
        return sight

    def told(self, refusal: Refusal, ask: Ask, sight: Sight) -> Refusal:
        """The refusal with the time after which asking again helps, and a promise of it.

        Args:
            refusal: of a rule.
            ask: what was refused.
            sight: as the rule saw it.
        """
        now, own = sight.now, self.promises.of(key_of(ask))
        if own is not None:
            is_early = now < own.due_at
            self.meter.came(is_let_in=False, is_early=is_early)
            self.promises.close(own)
            if is_early:
                # It keeps its place; a wait that was cut is told in parts.
                return self._promised(refusal, ask, own.told_at, now, own.due_at - now)
        wait = None if refusal.is_final else self._wait(refusal, ask, sight, is_next=bool(own))
        if wait is None:
            self.meter.told(None)
            return replace(refusal, wait_seconds=None)
        told_at = now if own is None else own.told_at
        return self._promised(refusal, ask, told_at, now, self._jittered(wait, ask))

    def entered(self, ask: Ask, now: float) -> None:
        """A request was let in; if that was promised to it, the promise is kept."""
        own = self.promises.of(key_of(ask)) if len(self.promises) else None
        if own is not None:
            self.meter.came(is_let_in=True, is_early=now < own.due_at)
            self.promises.close(own)

    def started(self, asks: Sequence[Ask], now: float) -> None:
        """These left the queue."""
        self.meter.started(len(asks), now)
        self._shares.started(asks, now)

    def ended(self, ask: Ask, now: float) -> None:
        """Learn how long requests keep a seat, for replicas whose pace nobody knows."""
        if not ask.has_started:
            return
        kept, known = now - ask.started, self._seat_seconds
        self._seat_seconds = kept if known is None else known + 0.02 * (kept - known)

    # -- the wait

    def _wait(self, refusal: Refusal, ask: Ask, sight: Sight, *, is_next: bool) -> float | None:
        if refusal.ahead is not None:
            wait = self._queue_wait(refusal, ask, sight, is_next=is_next)
        elif refusal.wait_seconds is None or not refusal.per_second:
            return refusal.wait_seconds
        else:
            # A bucket's own time, after those of the tenant that were told to come before.
            cost = 0.0 if is_next else self.promises.cost(_own(ask), refusal.unit)
            wait = max(refusal.wait_seconds + cost / refusal.per_second, 0.0)
        if wait is None or refusal.scope != "tenant":
            return wait
        return max(wait, *self._other_waits(refusal, ask, sight, is_next=is_next))

    def _other_waits(
        self, refusal: Refusal, ask: Ask, sight: Sight, *, is_next: bool
    ) -> Iterator[float]:
        """Of the tenant's limits that did not refuse it, but will when those before it came."""
        yield 0.0
        for one in sight.allowances:
            if one.per_second:
                cost = 0.0 if is_next else self.promises.cost(_own(ask), one.unit)
                cost += expected_tokens(ask) if one.unit == "tokens" else 1.0
                yield max(cost - one.remaining, 0.0) / one.per_second
        if refusal.ahead is None and sight.free_of_tenant is not None:
            free = 1.0 - sight.free_of_tenant
            queue = Refusal(TENANT_QUEUE_FULL, "", "tenant", ahead=free)
            yield self._queue_wait(queue, ask, sight, is_next=is_next) or 0.0

    def _queue_wait(
        self, refusal: Refusal, ask: Ask, sight: Sight, *, is_next: bool
    ) -> float | None:
        """Until so many left the queue as the refusal says; None where nobody can tell."""
        expected, group = self._drain(ask.model, sight), _group(refusal, ask)
        if expected is None or refusal.ahead is None:
            return None
        came = self.meter.kept_share
        is_own = refusal.scope == "tenant"
        share = self._shares.of(ask.tenant, sight) if is_own else 1.0

        def room(at: float) -> float:
            before = came * self.promises.due_by(group, ask.slo.priority, at)
            return self._surely(share * expected.between(sight.now, at)) - before

        kept = sight.promised_of_tenant if refusal.code == TENANT_QUEUE_FULL else sight.promised
        # Below 0 where the queue is shorter than it may be and all the room is promised: whoever is
        # promised a place from now on comes that much sooner, so that the queue fills up again.
        ahead = refusal.ahead - (kept if refusal.counts_promised else 0.0)
        wait = _first(sight.now, ahead, room, is_next=is_next)
        before = came * self.promises.due_by(group, ask.slo.priority, sight.now + wait)
        self.meter.expect(max(ahead + before, 1.0), sight.now, wait)
        return wait

    def _surely(self, left: float) -> float:
        sure = left * (1 - self.settings.slower_ratio)
        return max(sure - self.settings.sureness * math.sqrt(left), 0.0)

    def _drain(self, model: str, sight: Sight) -> Drain | None:
        known = self._drains.get(model)
        if known is not None and 0 <= sight.now - known.at < self.settings.refresh_seconds:
            return known
        made = drain(sight, self.meter.factor(model), self._seat_seconds)
        if made is None:
            self._drains.pop(model, None)
            return None
        if len(self._drains) > 64:
            self._drains.clear()
        self._drains[model] = made
        self.meter.look(model, made, sight)
        return made

    # -- promises

    def _kept(
        self, group: Hashable, ask: Ask, own: Promise | None, sight: Sight, waiting: float
    ) -> float:
        """Places kept for those whose turn is before: nobody passes them.

        Unless what waits would soon be gone: no seat stays idle for who has not come. Of a part of
        the queue, `waiting` is how long a whole one would be that takes as long.
        """
        until = math.inf if own is None else own.due_at - 1e-9
        before = self.promises.due_by(group, ask.slo.priority, until)
        expected = self._drain(ask.model, sight) if before else None
        if expected is None:
            return 0.0
        soon = sight.now + self.settings.ready_seconds
        if waiting <= expected.between(sight.now, soon):
            return 0.0
        return self.meter.kept_share * before

    def _promised(
        self, refusal: Refusal, ask: Ask, told_at: float, now: float, wait: float
    ) -> Refusal:
        """Book it, and cut it to what may be told."""
        settings = self.settings
        told = min(wait, settings.most_seconds)
        is_told = told >= settings.least_seconds
        self.meter.told(told if is_told else None, is_capped=wait > told)
        if len(self.promises) < settings.most_promises:
            self._order += 1
            # A client that is told nothing comes after what its SDK waits by itself.
            come_at = now + max(told, SDK_SECONDS)
            void_at = come_at + settings.overdue_seconds + settings.overdue_ratio * told
            group, priority = _group(refusal, ask), ask.slo.priority
            self.promises.add(
                Promise(
                    self._order, key_of(ask), group, priority, told_at, now + wait, come_at,
                    void_at, expected_tokens(ask),
                )
            )  # fmt: skip
        return replace(refusal, wait_seconds=told if is_told else None)

    def _jittered(self, wait: float, ask: Ask) -> float:
        most = min(self.settings.jitter_ratio * wait, self.settings.most_jitter_seconds)
        return wait + share_of(ask.number) * most


def _group(refusal: Refusal, ask: Ask) -> Hashable:
    return _own(ask) if refusal.scope == "tenant" else ask.model


def _own(ask: Ask) -> Hashable:
    """All limits of a tenant are one group: who comes again has to pass each."""
    return "tenant", ask.tenant


def _first(now: float, ahead: float, room: Callable[[float], float], *, is_next: bool) -> float:
    """Seconds until there is room for one more, and stays so; infinite beyond what is looked at.

    Who was refused although it was due is the next: it does not ask for those who are due later.
    """
    spare = [room(now + step * STEP_SECONDS) - ahead for step in range(STEPS + 1)]
    steps = range(STEPS + 1)
    if is_next:
        first = next((step for step in steps if spare[step] >= 0), None)
    else:
        last_short = next((step for step in reversed(steps) if spare[step] < 0), -1)
        first = last_short + 1 if last_short < STEPS else None
    if first is None:
        return _beyond(spare)
    if first == 0:
        return 0.0
    short, over = -spare[first - 1], spare[first]
    return (first - 1 + short / max(short + over, 1e-9)) * STEP_SECONDS


def _beyond(spare: list[float]) -> float:
    """Straight on from the end of what is looked at; at most as long again."""
    slope = (spare[-1] - spare[STEPS // 2]) / (STEPS - STEPS // 2)
    more = -spare[-1] / slope if slope > 1e-9 else float(STEPS)
    return (STEPS + min(more, STEPS)) * STEP_SECONDS
