"""The one place where a request is let in, waits, and is handed to a replica.

Pure: it is told what happens and when, and says what to do. The proxy and the simulator both drive
it, so what is simulated is what serves.

    arrive -> rules -> line -> starts (places, way) -> produced … -> ended
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from controller.gateway.admission.allowances import allowances
from controller.gateway.admission.base import Place, Refusal, Rule
from controller.gateway.admission.lasting import named, take_over
from controller.gateway.ask import Ask
from controller.gateway.fitting import fitting, ready
from controller.gateway.fleet import Instance, Sight, Starting
from controller.gateway.handing import Handing
from controller.gateway.paces import Paces, Unlearnt
from controller.gateway.prefixes import Prefixes
from controller.gateway.queueing.base import Line, Room
from controller.gateway.rates import FadingRate
from controller.gateway.retry_after import TENANT_QUEUE_FULL, RetryAfter
from controller.gateway.routing.base import Choice, Way


@dataclass(frozen=True, slots=True)
class Policies:
    """What decides; replaced as a whole while requests run.

    Attributes:
        line: who is next.
        way: where to.
        rules: who may come in, asked in turn.
        names: of the rules: one of the same name goes on from their books after a change; empty
            takes their kinds and order.
        places: whether there is one, all must agree. A free seat is always asked for.
    """

    line: Line
    way: Way
    rules: Sequence[Rule] = ()
    places: Sequence[Place] = ()
    names: Sequence[str] = ()

    @property
    def named_rules(self) -> dict[str, Rule]:
        """Rules by name."""
        return named(self.rules, self.names)


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Hard ends of the queue, whatever the policies say.

    Attributes:
        most_waiting: requests that wait.
        most_waiting_of_tenant: of one tenant; nobody can fill the queue alone.
    """

    most_waiting: int = 5_000
    most_waiting_of_tenant: int = 1_000


@dataclass(slots=True)
class Counted:
    """What happened since the start, for metrics. Every request ends in one of them or waits."""

    arrived: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    started: int = 0
    ended: int = 0
    failed: int = 0
    left: int = 0
    expired: int = 0


class Gate:
    """The queue before a fleet; see the head of this module. Not thread-safe: one loop owns it."""

    def __init__(
        self,
        policies: Policies,
        limits: GateLimits | None = None,
        retry_after: RetryAfter | None = None,
        paces: Paces | None = None,
    ) -> None:
        self.policies = policies
        self.paces: Paces = paces or Unlearnt()
        self.retry_after = retry_after or RetryAfter()
        self.limits = limits or GateLimits()
        self.instances: dict[str, Instance] = {}
        self.starting: tuple[Starting, ...] = ()
        self.waiting: dict[int, Ask] = {}
        self.counted = Counted()
        self.prefixes = Prefixes()
        self.handing = Handing(self)
        self._waiting_of: Counter[str] = Counter()
        self._waiting_for: Counter[str] = Counter()
        self._tokens_for: Counter[str] = Counter()
        self._freed, self._tokens = FadingRate(), FadingRate()

    # -- requests

    def arrive(self, ask: Ask, now: float) -> Refusal | None:
        """Let a request wait, or say why not, and after how long asking again helps."""
        self.counted.arrived += 1
        self.paces.settle(now)
        sight = self.retry_after.seen_by(ask, self.sight(ask.model, now))
        refusal = self.would_refuse(ask, sight)
        if refusal is not None:
            self.counted.refused[refusal.code] += 1
            return self.retry_after.told(refusal, ask, self._with_limits(refusal, ask, sight))
        self.retry_after.entered(ask, now)
        for rule in self.policies.rules:
            rule.entered(ask, now)
        for place in self.policies.places:
            place.entered(ask, now)
        self._put(ask, now)
        return None

    def would_refuse(self, ask: Ask, sight: Sight) -> Refusal | None:
        """What would be said to a request now; nothing is booked."""
        limits, promised = self.limits, max(sight.promised, 0.0)
        waiting = len(self.waiting)
        of_tenant = self._waiting_of[ask.tenant] + sight.promised_of_tenant
        if waiting + promised >= limits.most_waiting:
            text = f"{limits.most_waiting:,} requests wait already"
            ahead = waiting + promised + 1 - limits.most_waiting
            return Refusal("queue_full", text, ahead=ahead, counts_promised=True)
        if of_tenant >= limits.most_waiting_of_tenant:
            most = limits.most_waiting_of_tenant
            text = f"{most:,} requests of this tenant wait already"
            ahead = of_tenant + 1 - most
            return Refusal(TENANT_QUEUE_FULL, text, "tenant", ahead=ahead, counts_promised=True)
        found = (rule.judge(ask, sight) for rule in self.policies.rules)
        return next((refusal for refusal in found if refusal is not None), None)

    def starts(self, now: float) -> list[tuple[Ask, Instance]]:
        """Who goes where now; each is booked as running there."""
        begun: list[tuple[Ask, Instance]] = []
        self.paces.settle(now)
        while self.waiting and any(one.free_seats for one in self.instances.values()):
            chosen: dict[int, Instance] = {}
            ask = self.policies.line.take(self._room(chosen, now), now)
            if ask is None:
                break
            self._begin(ask, chosen[ask.number], now)
            begun.append((ask, chosen[ask.number]))
        self.retry_after.started([ask for ask, _ in begun], now)
        return begun

    def produced(self, ask: Ask, output_tokens: int, now: float) -> None:
        """A running request got so many more tokens."""
        prompt_tokens = 0 if ask.has_first else ask.input_tokens
        if not ask.has_first:
            self.paces.first(ask, now)
        self.instances[ask.instance].produced(ask, output_tokens, now)
        self._tokens.add(prompt_tokens + output_tokens, now)
        self.policies.line.served(ask, output_tokens, is_over=False, now=now)

    def ended(self, ask: Ask, now: float, *, is_failed: bool = False) -> None:
        """A running request is over; whoever asks next may have its place."""
        instance = self.instances.get(ask.instance)
        if instance is None or not instance.is_over(ask):
            return
        self.paces.ended(ask, now, is_failed=is_failed)
        self.handing.over(ask, now)
        self.counted.failed += is_failed
        self.counted.ended += not is_failed
        self._freed.add(1, now)
        self.policies.line.served(ask, 0, is_over=True, now=now)
        self.policies.way.ended(ask, instance, now, is_failed=is_failed)
        self._over(ask, now)
        if instance.state == "down" and not instance.running:
            self._forget(instance.name)

    def put_back(self, ask: Ask, now: float, *, is_failed: bool = True) -> None:
        """A running request waits again: nothing of it was sent to its client yet.

        Its replica failed it, or it made way for one with a promise: then it may go there again.
        """
        instance = self.instances[ask.instance]
        instance.is_over(ask)
        self.paces.ended(ask, now, is_failed=True)
        self.handing.over(ask, now)
        self.policies.line.served(ask, 0, is_over=True, now=now)
        self.policies.way.ended(ask, instance, now, is_failed=is_failed)
        if instance.state == "down" and not instance.running:
            self._forget(instance.name)
        ask.tried += (ask.instance,) if is_failed else ()
        ask.instance, ask.started, ask.first = "", float("nan"), float("nan")
        ask.output_tokens = ask.cached_tokens = 0
        ask.is_computed = False
        ask.attempt += 1
        self._put(ask, now)

    def left(self, ask: Ask, now: float) -> bool:
        """The client of a request that waits went away."""
        self.counted.left += (was_there := self._withdrawn(ask, now))
        return was_there

    def expired(self, now: float) -> list[Ask]:
        """Those whose deadline passed while they waited; they are taken out."""
        late = [ask for ask in self.waiting.values() if ask.deadline <= now]
        for ask in late:
            self._withdrawn(ask, now)
        self.counted.expired += len(late)
        return late

    # -- the fleet

    def join(self, instance: Instance) -> None:
        """A replica serves from now on."""
        self.instances[instance.name] = instance
        self.prefixes.size(instance.name, instance.cache_tokens)
        self.paces.joined(instance)

    def leave(self, name: str) -> None:
        """No more requests for a replica; it is forgotten when the last of it ended."""
        instance = self.instances[name]
        instance.state = "down"
        if not instance.running:
            self._forget(name)

    def change(self, policies: Policies, now: float) -> None:
        """Go on with other policies: books of rules stay, what waits moves over as it arrived."""
        take_over(policies.named_rules, self.policies.named_rules, now)
        if policies.line is self.policies.line:
            self.policies = policies
            return
        for ask in self.waiting.values():
            self.policies.line.drop(ask)
        self.policies = policies
        for ask in sorted(self.waiting.values(), key=lambda ask: (ask.arrived, ask.number)):
            policies.line.put(ask, now)

    def sight(self, model: str, now: float) -> Sight:
        """What admission sees of the replicas that serve a model."""
        answering = [one for one in self.instances.values() if one.answers(model)]
        return Sight(
            now,
            answering,
            self.starting,
            self._waiting_for[model],
            self._waiting_of,
            self._tokens_for[model],
            self._freed.per_second(now),
            self._tokens.per_second(now),
            is_shared=self.policies.line.spec.is_bounded,
        )

    # -- inside

    def _room(self, chosen: dict[int, Instance], now: float) -> Room:
        """Whom there is a place for; `chosen` remembers where, so that dice fall once."""

        def fits(ask: Ask) -> bool:
            one = self._chosen(ask, now)
            if one is not None:
                chosen[ask.number] = one
            return one is not None

        def cached(ask: Ask) -> int:
            return self.prefixes.best(ask, (one.name for one in self._fitting(ask, now)))

        return Room(fits, cached, where=lambda ask: chosen[ask.number].name)

    def _chosen(self, ask: Ask, now: float) -> Instance | None:
        free = self._fitting(ask, now)
        if not free:
            return None
        fleet = ready(ask.model, self.instances.values())
        return self.policies.way.choose(ask, Choice(free, fleet, now, self.prefixes.cached_tokens))

    def _fitting(self, ask: Ask, now: float) -> list[Instance]:
        found = fitting(ask, self.instances.values(), self.policies.places, now)
        return [one for one in found if one.name not in ask.tried] or found if ask.tried else found

    def _with_limits(self, refusal: Refusal, ask: Ask, sight: Sight) -> Sight:
        """When it comes again it has to pass all limits of its tenant, not just this one."""
        if refusal.scope != "tenant":
            return sight
        free = self.limits.most_waiting_of_tenant - self._waiting_of[ask.tenant]
        told = allowances(self.policies.rules, ask.tenant, sight.now)
        return replace(sight, free_of_tenant=free, allowances=told)

    def _put(self, ask: Ask, now: float) -> None:
        self.waiting[ask.number] = ask
        self._count(ask, 1)
        self.policies.line.put(ask, now)

    def _unwait(self, ask: Ask) -> bool:
        if self.waiting.pop(ask.number, None) is None:
            return False
        self._count(ask, -1)
        return True

    def _count(self, ask: Ask, one: int) -> None:
        """Keep the sums of those that wait; who has nobody left is forgotten."""
        tokens = ask.input_tokens + round(ask.expected_output_tokens)
        for sums, key, by in (
            (self._waiting_of, ask.tenant, one),
            (self._waiting_for, ask.model, one),
            (self._tokens_for, ask.model, one * tokens),
        ):
            sums[key] += by
            if not sums[key]:
                del sums[key]

    def _withdrawn(self, ask: Ask, now: float) -> bool:
        if not self._unwait(ask):
            return False
        self.policies.line.drop(ask)
        self._over(ask, now)
        return True

    def _begin(self, ask: Ask, instance: Instance, now: float) -> None:
        self._unwait(ask)
        ask.instance, ask.started = instance.name, now
        ask.cached_tokens = self.prefixes.cached_tokens(ask, instance.name)
        instance.begins(ask)
        self.paces.began(ask, instance, now)
        self.counted.started += 1
        self.policies.way.sent(ask, instance, now)
        self.prefixes.sent(ask, instance.name)
        self.handing.began(ask, instance)

    def _over(self, ask: Ask, now: float) -> None:
        for rule in self.policies.rules:
            rule.ended(ask, now)
        self.retry_after.ended(ask, now)
        for place in self.policies.places:
            place.ended(ask, now)

    def _forget(self, name: str) -> None:
        self.instances.pop(name, None)
        self.prefixes.gone(name)
        self.paces.gone(name)
        self.policies.way.gone(name)
