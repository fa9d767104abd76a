"""Requests and tokens a minute for each tenant, refilled all the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.gateway.admission.base import Allowance, Refusal, Rule, RuleSpec
from controller.gateway.admission.parts import ByTenant, Limits, in_range, limits_by_tenant
from controller.gateway.admission.usage import expected_tokens, used_tokens
from controller.gateway.ask import Ask
from controller.gateway.fleet import Sight

MINUTE = 60.0
LIMITS = ("requests_per_minute", "tokens_per_minute")
SPEC = RuleSpec(
    "token-bucket",
    "Requests and tokens a minute",
    "OpenAI rate limits (x-ratelimit-*); LiteLLM, Kong, Envoy AI Gateway",
    {"requests_per_minute": None, "tokens_per_minute": None, "tenants": None},
)


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


class TokenBucket:
    """A bucket holds a minute's worth and refills evenly, so that nobody waits for a full minute.

    A request is charged its prompt and expected output when it comes in, and what it really took
    when it is over; so the level may be below 0 for a while, and nobody pays for a bad estimate.

    Args:
        requests_per_minute: of each tenant; None is no limit.
        tokens_per_minute: of each tenant, prompt and output; None is no limit.
        tenants: limits of single tenants by the same names, in place of those.
    """

    spec = SPEC

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        tenants: Limits | None = None,
    ) -> None:
        usual = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute}
        for name, value in usual.items():
            in_range(SPEC.name, name, value, 1e-9, 1e15)
        self._usual = usual
        self._tenants = limits_by_tenant(SPEC.name, tenants, LIMITS)
        self._buckets: dict[str, ByTenant[_Bucket]] = {name: ByTenant() for name in LIMITS}
        self._charged: dict[int, tuple[str, float]] = {}

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """Out where a bucket holds less than the request is expected to take."""
        costs = (1.0, expected_tokens(ask))
        for name, cost, kept in zip(LIMITS, costs, sight.promised_cost, strict=True):
            limit = self._limit(name, ask.tenant)
            if limit is None:
                continue
            level = self._level(name, ask.tenant, limit, sight.now)
            if level - kept < cost:
                return _refusal(name, ask.tenant, limit, level, cost, kept)
        return None

    def entered(self, ask: Ask, now: float) -> None:
        """Take it out of the buckets."""
        self._take("requests_per_minute", ask.tenant, 1.0, now)
        if self._limit("tokens_per_minute", ask.tenant) is not None:
            cost = expected_tokens(ask)
            self._charged[ask.number] = (ask.tenant, cost)
            self._take("tokens_per_minute", ask.tenant, cost, now)

    def ended(self, ask: Ask, now: float) -> None:
        """Give back what was charged too much, or take the rest."""
        _, charged = self._charged.pop(ask.number, ("", None))
        if charged is not None:
            self._take("tokens_per_minute", ask.tenant, used_tokens(ask) - charged, now)

    def take_over(self, before: Rule, now: float) -> None:
        """Levels stay as they are, cut to the new size; from now on they rise as it says.

        So a higher limit fills up at its own pace and a lower one is never more than full; who owes
        goes on owing.
        """
        if not isinstance(before, TokenBucket):
            return
        for name in LIMITS:
            for tenant in before._buckets[name].kept:
                old, new = before._limit(name, tenant), self._limit(name, tenant)
                if old is not None and new is not None:
                    level = min(before._level(name, tenant, old, now), new)
                    self._buckets[name].put(tenant, _Bucket(level, now))
        booked = self._buckets["tokens_per_minute"].kept
        self._charged = {
            number: charged for number, charged in before._charged.items() if charged[0] in booked
        }

    def allowances(self, tenant: str, now: float) -> Sequence[Allowance]:
        """Requests and tokens, as far as they are limited."""
        told = []
        for name in LIMITS:
            limit = self._limit(name, tenant)
            if limit is not None:
                level = self._level(name, tenant, limit, now)
                reset = (limit - level) / limit * MINUTE
                told.append(Allowance(_unit(name), limit, max(level, 0.0), reset, limit / MINUTE))
        return told

    def _limit(self, name: str, tenant: str) -> float | None:
        return self._tenants.get(tenant, {}).get(name, self._usual[name])

    def _level(self, name: str, tenant: str, limit: float, now: float) -> float:
        bucket = self._buckets[name].get(tenant)
        if bucket is None:
            return limit
        return min(bucket.level + max(now - bucket.at, 0.0) * limit / MINUTE, limit)

    def _take(self, name: str, tenant: str, count: float, now: float) -> None:
        limit = self._limit(name, tenant)
        if limit is not None:
            level = min(self._level(name, tenant, limit, now) - count, limit)
            self._buckets[name].put(tenant, _Bucket(level, now))


def _unit(name: str) -> str:
    return name.partition("_")[0]


def _refusal(
    name: str, tenant: str, limit: float, level: float, cost: float, kept: float
) -> Refusal:
    unit, is_final, left = _unit(name), cost > limit, max(level - kept, 0.0)
    text = f"{tenant} may use {limit:,.0f} {unit} a minute and has {left:,.0f} left"
    if is_final:
        text += f"; this request alone takes {cost:,.0f}: make it smaller"
    return Refusal(
        f"tenant_{name}", text, "tenant",
        wait_seconds=None if is_final else (cost - level) / limit * MINUTE,
        limit=limit, remaining=left, unit=unit, is_final=is_final,
        per_second=limit / MINUTE,
    )  # fmt: skip
