"""What a tenant may use in a day: tokens, or money by a price of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.gateway.admission.base import Allowance, Refusal, Rule, RuleSpec
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


Tokens = tuple[float, float]
"""Of prompts, and of outputs."""
_NONE: Tokens = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class _Spent:
    period: int
    tokens: Tokens = _NONE


@dataclass(frozen=True, slots=True)
class KeptQuota:
    """What is kept of a quota over a restart.

    Attributes:
        ends_in_seconds: the period.
        tokens: tenant -> of prompts and outputs in it, without what still runs.
    """

    ends_in_seconds: float
    tokens: Mapping[str, Tokens]


class Quota:
    """What was used counts when it was used; what runs is held back until it is over.

    Books are in tokens: when prices change, what was used in the period counts by the new ones.

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
        self._told = (period_seconds, period_began)
        self._tenants = limits_by_tenant(SPEC.name, tenants, ("budget",))
        self._spent: ByTenant[_Spent] = ByTenant()
        self._held: dict[int, tuple[str, Tokens]] = {}
        self._held_of: dict[str, Tokens] = {}

    def kept(self, now: float) -> KeptQuota:
        """What another process would go on from."""
        period = self._period(now)
        booked = self._spent.kept.items()
        tokens = {tenant: one.tokens for tenant, one in booked if one.period == period}
        return KeptQuota(self._resets(now), tokens)

    def restore(self, kept: KeptQuota, passed_seconds: float, now: float) -> None:
        """Go on from what was kept so long ago; periods end when they would have ended there."""
        left = kept.ends_in_seconds - max(passed_seconds, 0.0)
        self._began = now + left
        if left > 0:
            period = self._period(now)
            for tenant, tokens in kept.tokens.items():
                self._spent.put(tenant, _Spent(period, tokens))

    def take_over(self, before: Rule, now: float) -> None:
        """What was used in the period that goes on, and what runs, counts by the new limits.

        A period of another length begins with what was used in the one before it.
        """
        if not isinstance(before, Quota):
            return
        if self._told == before._told:
            self._began = before._began
        period = self._period(now)
        for tenant, tokens in before.kept(now).tokens.items():
            self._spent.put(tenant, _Spent(period, tokens))
        self._held, self._held_of = dict(before._held), dict(before._held_of)

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """Out where the budget would not last for it."""
        limit = self._limit(ask.tenant)
        if limit is None:
            return None
        cost = self._cost((ask.input_tokens, ask.expected_output_tokens))
        left = limit - self._used(ask.tenant, sight.now)
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
        tokens = (float(ask.input_tokens), ask.expected_output_tokens)
        self._held[ask.number] = (ask.tenant, tokens)
        self._held_of[ask.tenant] = _sum(self._held_of.get(ask.tenant, _NONE), tokens)

    def ended(self, ask: Ask, now: float) -> None:
        """Book what it took."""
        tenant, held = self._held.pop(ask.number, ("", None))
        if held is None:
            return
        left = _sum(self._held_of.pop(tenant), held, -1)
        if sum(left) > 1e-9:
            self._held_of[tenant] = left
        period, booked = self._period(now), self._booked(tenant, now)
        self._spent.put(tenant, _Spent(period, _sum(booked, _took(ask))))

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
        return self._cost(self._booked(tenant, now))

    def _limit(self, tenant: str) -> float | None:
        return self._tenants.get(tenant, {}).get("budget", self._budget)

    def _used(self, tenant: str, now: float) -> float:
        return self.spent(tenant, now) + self._cost(self._held_of.get(tenant, _NONE))

    def _booked(self, tenant: str, now: float) -> Tokens:
        booked = self._spent.get(tenant)
        return booked.tokens if booked and booked.period == self._period(now) else _NONE

    def _period(self, now: float) -> int:
        return int((now - self._began) // self._period_seconds)

    def _resets(self, now: float) -> float:
        return self._began + (self._period(now) + 1) * self._period_seconds - now

    def _cost(self, tokens: Tokens) -> float:
        return self._weights[0] * tokens[0] + self._weights[1] * tokens[1]


def _took(ask: Ask) -> Tokens:
    if not ask.has_started:
        return _NONE
    told = ask.told_input_tokens
    return float(ask.input_tokens if told is None else told), float(ask.output_tokens)


def _sum(one: Tokens, other: Tokens, sign: int = 1) -> Tokens:
    return one[0] + sign * other[0], one[1] + sign * other[1]
