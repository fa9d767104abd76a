"""Lines that give the next place to whoever had least: what LCF, VTC and ours have in common.

Counters are raised by what a request costs when it goes (`INPUT_WEIGHT` each prompt token), and by
`OUTPUT_WEIGHT` each token that comes. Where lengths are predicted, the expected output is charged
when it goes, and what came besides, or did not come, is booked later.

Tenants are compared by service over weight. A tenant that comes back after it had nothing waiting
is lifted to the least of those that wait, or, if nobody waits, to that of the last tenant that had
somebody waiting: idleness is not saved up (VTC, algorithm 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT, LineSpec, Room
from controller.gateway.queueing.by_tenant import ByTenant, Own
from controller.gateway.queueing.counters import Counters
from controller.gateway.queueing.fifo import Fifo, arrival
from controller.gateway.queueing.lanes import Lanes
from controller.gateway.queueing.ranking import Key
from store.errors import ControllerError

Mine = TypeVar("Mine", bound=Own)
Offer = Callable[[ByTenant[Mine], Counters, float], Iterable[Ask]]


@dataclass(frozen=True, slots=True)
class Costs:
    """What is charged.

    Attributes:
        input_weight: each prompt token.
        output_weight: each output token.
        ahead_ratio: of the expected output, charged when a request goes.
        lifts: whether a tenant that comes back is lifted.
        credit: service over weight that a tenant keeps of what it left unused when it is lifted.
    """

    input_weight: float = INPUT_WEIGHT
    output_weight: float = OUTPUT_WEIGHT
    ahead_ratio: float = 0.0
    lifts: bool = True
    credit: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no price.

        Raises:
            ControllerError: naming which.
        """
        for name in ("input_weight", "output_weight", "ahead_ratio", "credit"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ControllerError(f"{name} must be 0 or more, not {getattr(self, name)}")


def least_first(queue: ByTenant[Fifo], counters: Counters, now: float) -> Iterable[Ask]:
    """The first request of the tenant that had least; nobody passes it."""
    return (queue.head(name) for name in islice(queue.ranking, 1))


class _Lane(Generic[Mine]):
    """Requests of one lane."""

    def __init__(self, counters: Counters, make: Callable[[], Mine], offer: Offer[Mine]) -> None:
        self._counters, self._offer = counters, offer
        self.by_tenant = ByTenant(make, counters)

    def __len__(self) -> int:
        return len(self.by_tenant)

    def put(self, ask: Ask, now: float) -> None:
        self.by_tenant.put(ask)

    def drop(self, ask: Ask) -> bool:
        return self.by_tenant.drop(ask)

    def candidates(self, room: Room, now: float) -> Iterator[Ask]:
        return iter(self._offer(self.by_tenant, self._counters, now))

    def key(self, ask: Ask) -> Key:
        return (self._counters(ask.tenant), *arrival(ask))


class CounterLine(Generic[Mine]):
    """See the head of this module.

    Args:
        spec: name, source, parameters.
        costs: what is charged.
        make: a queue of a tenant's own requests.
        offer: who may go next of one lane's tenants.
        served: told of all service, charged or not, and when.
    """

    def __init__(
        self,
        spec: LineSpec,
        costs: Costs,
        make: Callable[[], Mine],
        offer: Offer[Mine],
        served: Callable[[float, float], None] | None = None,
    ) -> None:
        self.spec, self.costs = spec, costs
        self.counters = Counters()
        self._lanes = Lanes(lambda: _Lane(self.counters, make, offer))
        self._ahead: dict[int, float] = {}
        self._last = ""
        self._served = served

    def put(self, ask: Ask, now: float) -> None:
        """Let it wait; its tenant is lifted if it comes back."""
        if self.costs.lifts and not self._waits(ask.tenant):
            self.counters.lift(ask.tenant, self._least() - self.costs.credit)
            self._touch(ask.tenant)
        self.counters.has_begun(ask.tenant)
        self._lanes.put(ask, now)

    def take(self, room: Room, now: float) -> Ask | None:
        """Of the tenant that had least, the first."""
        ask = self._lanes.take(room, now)
        if ask is None:
            return None
        self._has_left(ask)
        ahead = self.costs.ahead_ratio * ask.expected_output_tokens
        self._ahead[ask.number] = ahead
        cost = self.costs.input_weight * ask.input_tokens + self.costs.output_weight * ahead
        self._charge(ask, cost)
        return ask

    def drop(self, ask: Ask) -> bool:
        """Forget it; nothing was charged."""
        if not self._lanes.drop(ask):
            return False
        self._has_left(ask)
        self.counters.is_over(ask.tenant)
        return True

    def served(self, ask: Ask, output_tokens: int, *, is_over: bool, now: float) -> None:
        """Charge what came and was not charged ahead; at the end, give back what did not come.

        Prompts are charged as estimated when they go, and at the end as the engine counted them:
        an estimate that is wrong for one tenant's language must not make it pay less for ever.
        """
        if self._served is not None and output_tokens:
            is_first = ask.output_tokens <= output_tokens
            prompt = self.costs.input_weight * ask.input_tokens if is_first else 0.0
            self._served(prompt + self.costs.output_weight * output_tokens, now)
        # One that another line had taken is charged as its tokens come.
        ahead = self._ahead.get(ask.number, 0.0)
        if output_tokens and ask.output_tokens > ahead:
            more = min(output_tokens, ask.output_tokens - ahead)
            self._charge(ask, self.costs.output_weight * more)
        if is_over and ask.told_input_tokens is not None:
            more = ask.told_input_tokens - ask.input_tokens
            self._charge(ask, self.costs.input_weight * more)
        if is_over and ask.number in self._ahead:
            del self._ahead[ask.number]
            if ask.output_tokens < ahead:
                self._charge(ask, -self.costs.output_weight * (ahead - ask.output_tokens))
            self.counters.is_over(ask.tenant)

    def _charge(self, ask: Ask, service: float) -> None:
        self.counters.add(ask.tenant, service, ask.weight)
        self._touch(ask.tenant)

    def _touch(self, tenant: str) -> None:
        for lane in self._lanes:
            lane.by_tenant.ranking.touch(tenant)

    def _waits(self, tenant: str) -> bool:
        return any(tenant in lane.by_tenant for lane in self._lanes)

    def _has_left(self, ask: Ask) -> None:
        if not self._waits(ask.tenant):
            self._last = ask.tenant

    def _least(self) -> float:
        """Of those that wait, or of the last that waited."""
        firsts = [lane.by_tenant.ranking.first() for lane in self._lanes]
        return min(
            (self.counters(name) for name in firsts if name is not None),
            default=self.counters(self._last),
        )
