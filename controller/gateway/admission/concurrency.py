"""Requests inside the gateway at once: of each tenant, and of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from controller.gateway.admission.base import Allowance, Refusal, Rule, RuleSpec
from controller.gateway.admission.parts import Limits, in_range, limits_by_tenant
from controller.gateway.ask import Ask
from controller.gateway.fleet import Sight

SPEC = RuleSpec(
    "concurrency",
    "Requests at once",
    "LiteLLM max_parallel_requests; Envoy circuit breakers; nginx limit_conn",
    {"requests": None, "requests_per_tenant": None, "tenants": None},
)


class Concurrency:
    """Waiting and running ones count alike.

    Args:
        requests: of everybody together; None is no limit.
        requests_per_tenant: of each; None is no limit.
        tenants: {"requests": …} of single tenants, in place of that.
    """

    spec = SPEC

    def __init__(
        self,
        requests: float | None = None,
        requests_per_tenant: float | None = None,
        tenants: Limits | None = None,
    ) -> None:
        in_range(SPEC.name, "requests", requests, 1, 1e9)
        in_range(SPEC.name, "requests_per_tenant", requests_per_tenant, 1, 1e9)
        self._requests, self._per_tenant = requests, requests_per_tenant
        self._tenants = limits_by_tenant(SPEC.name, tenants, ("requests",))
        self._inside: set[int] = set()
        self._inside_of: Counter[str] = Counter()

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """Out where one more would be too many."""
        limit, inside = self._limit(ask.tenant), self._inside_of[ask.tenant]
        if limit is not None and inside + 1 > limit:
            text = f"{ask.tenant} may have {limit:,.0f} requests at once: wait for one to end"
            return Refusal(
                "tenant_concurrency", text, "tenant", limit=limit, remaining=0.0,
                ahead=inside + 1 - limit,
            )  # fmt: skip
        inside_all = len(self._inside) + sight.promised
        if self._requests is not None and inside_all + 1 > self._requests:
            text = f"{self._requests:,.0f} requests are inside already"
            return Refusal(
                "concurrency", text, limit=self._requests, remaining=0.0,
                ahead=inside_all + 1 - self._requests, counts_promised=True,
            )  # fmt: skip
        return None

    def entered(self, ask: Ask, now: float) -> None:
        """One more."""
        self._inside.add(ask.number)
        self._inside_of[ask.tenant] += 1

    def ended(self, ask: Ask, now: float) -> None:
        """One less."""
        if ask.number not in self._inside:
            return
        self._inside.discard(ask.number)
        self._inside_of[ask.tenant] -= 1
        if not self._inside_of[ask.tenant]:
            del self._inside_of[ask.tenant]

    def take_over(self, before: Rule, now: float) -> None:
        """Who is inside stays inside."""
        if isinstance(before, Concurrency):
            self._inside, self._inside_of = set(before._inside), Counter(before._inside_of)

    def allowances(self, tenant: str, now: float) -> Sequence[Allowance]:
        """None: places at once are no allowance for a time, which x-ratelimit-* are about."""
        return []

    def _limit(self, tenant: str) -> float | None:
        return self._tenants.get(tenant, {}).get("requests", self._per_tenant)
