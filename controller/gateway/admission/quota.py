"""What a tenant may use in a day: tokens, or money by a price of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.gateway.admission.base import Allowance, Refusal, RuleSpec
from controller.gateway.admission.parts import ByTenant, Limits, in_range, limits_by_tenant
from controller.gateway.ask import Ask
from controller.gateway.fleet import Sight

DAY = 86_400.0
SPEC = RuleSpec(
    "quota",
    "A day's budget of each tenant",
    "LiteLLM budgets; Kong AI rate limiting (cost); Envoy AI Gateway (CEL cost)",
    {
        "budget": None, "input_weight": 1.0, "output_weight": 1.0, "period_seconds": DAY,
        "period_began": 0.0, "tenants": None,
    },
)  # fmt: skip


@dataclass(slots=True)
class _Spent:
    period: int
    spent: float = 0.0


class Quota:
    """What was used counts when it was used; what runs is held back until it is over.

    Args:
        budget: of each tenant and period, in tokens or, with weights as prices, in money; None is
            no limit.
        input_weight: of a prompt token.
        output_weight: of an output token.
        period_seconds: after which all begin anew.
        period_began: when one began, seconds of the gateway's clock (a midnight, say; may be < 0).
        tenants: {"budget": …} of single tenants, in place of that.
    """

    spec = SPEC

    def __init__(
        self,
        budget: float | None = None,
        input_weight: float = 1.0,
        output_weight: float = 1.0,
        period_seconds: float = DAY,
        period_began: float = 0.0,
        tenants: Limits | None = None,
    ) -> None:
        in_range(SPEC.name, "budget", budget, 1e-9, 1e18)
        in_range(SPEC.name, "input_weight", input_weight, 0.0, 1e9)
        in_range(SPEC.name, "output_weight", output_weight, 0.0, 1e9)
        in_range(SPEC.name, "period_seconds", period_seconds, 1.0, 366 * DAY)
        self._budget, self._weights = budget, (input_weight, output_weight)
        self._period_seconds, self._began = period_seconds, period_began
        self._tenants = limits_by_tenant(SPEC.name, tenants, ("budget",))
        self._spent: ByTenant[_Spent] = ByTenant()
        self._held: dict[int, float] = {}
        self._held_of: dict[str, float] = {}

    def restore(self, spent: Mapping[str, float], now: float) -> None:
        """Go on from what tenants spent in this period before a restart."""
        for tenant, value in spent.items():
            self._spent.put(tenant, _Spent(self._period(now), value))

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """Out where the budget would not last for it."""
        limit = self._limit(ask.tenant)
        if limit is None:
            return None
        cost, left = self._expected(ask), limit - self._used(ask.tenant, sight.now)
        if cost <= left:
            return None
        is_final = cost > limit
        text = f"{ask.tenant} may use {limit:,.6g} in {self._period_seconds / 3600:g} hours"
        return Refusal(
            "tenant_budget", f"{text} and has {max(left, 0):,.6g} left", "tenant",
            wait_seconds=None if is_final else self._resets(sight.now),
            limit=limit, remaining=max(left, 0.0), unit="tokens", is_final=is_final,
        )  # fmt: skip

    def entered(self, ask: Ask, now: float) -> None:
        """Hold back what it is expected to take."""
        cost = self._expected(ask)
        self._held[ask.number] = cost
        self._held_of[ask.tenant] = self._held_of.get(ask.tenant, 0.0) + cost

    def ended(self, ask: Ask, now: float) -> None:
        """Book what it took."""
        cost = self._held.pop(ask.number, None)
        if cost is None:
            return
        left = self._held_of.pop(ask.tenant) - cost
        if left > 1e-9:
            self._held_of[ask.tenant] = left
        booked = self._booked(ask.tenant, now)
        booked.spent += self._took(ask)
        self._spent.put(ask.tenant, booked)

    def allowances(self, tenant: str, now: float) -> Sequence[Allowance]:
        """What is left of the period."""
        limit = self._limit(tenant)
        if limit is None or self._weights != (1.0, 1.0):
            # A budget in money is nothing that x-ratelimit-* has a word for.
            return []
        left = max(limit - self._used(tenant, now), 0.0)
        return [Allowance("tokens", limit, left, self._resets(now))]

    def spent(self, tenant: str, now: float) -> float:
        """In this period, without what still runs."""
        return self._booked(tenant, now).spent

    def _limit(self, tenant: str) -> float | None:
        return self._tenants.get(tenant, {}).get("budget", self._budget)

    def _used(self, tenant: str, now: float) -> float:
        return self.spent(tenant, now) + self._held_of.get(tenant, 0.0)

    def _booked(self, tenant: str, now: float) -> _Spent:
        booked, period = self._spent.get(tenant), self._period(now)
        return booked if booked is not None and booked.period == period else _Spent(period)

    def _period(self, now: float) -> int:
        return int((now - self._began) // self._period_seconds)

    def _resets(self, now: float) -> float:
        return self._began + (self._period(now) + 1) * self._period_seconds - now

    def _expected(self, ask: Ask) -> float:
        return self._cost(ask.input_tokens, ask.expected_output_tokens)

    def _took(self, ask: Ask) -> float:
        if not ask.has_started:
            return 0.0
        told = ask.told_input_tokens
        return self._cost(ask.input_tokens if told is None else told, ask.output_tokens)

    def _cost(self, input_tokens: float, output_tokens: float) -> float:
        return self._weights[0] * input_tokens + self._weights[1] * output_tokens
