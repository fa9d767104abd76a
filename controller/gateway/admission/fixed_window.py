"""Requests and tokens of each tenant in fixed minutes: what AIBrix and most quick limiters do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.gateway.admission.base import Allowance, Refusal, Rule, RuleSpec
from controller.gateway.admission.parts import ByTenant, Limits, in_range, limits_by_tenant
from controller.gateway.admission.usage import expected_tokens, used_tokens
from controller.gateway.ask import Ask
from controller.gateway.fleet import Sight

LIMITS = ("requests", "tokens")
DAY = 86_400.0
SPEC = RuleSpec(
    "fixed-window",
    "Requests and tokens in fixed minutes",
    "vllm-project/aibrix, pkg/plugins/gateway/ratelimiter (1-minute windows)",
    {"requests": None, "tokens": None, "window_seconds": 60.0, "tenants": None},
)


@dataclass(slots=True)
class _Used:
    window: int
    requests: float = 0.0
    tokens: float = 0.0


class FixedWindow:
    """Counts start at 0 with each window; who was refused comes back with everybody else then.

    Args:
        requests: of each tenant in a window; None is no limit.
        tokens: of each tenant in a window, prompt and output; None is no limit.
        window_seconds: its length.
        tenants: limits of single tenants by the same names, in place of those.
    """

    spec = SPEC

    def __init__(
        self,
        requests: float | None = None,
        tokens: float | None = None,
        window_seconds: float = 60.0,
        tenants: Limits | None = None,
    ) -> None:
        self._usual = {"requests": requests, "tokens": tokens}
        for name, value in self._usual.items():
            in_range(SPEC.name, name, value, 1e-9, 1e15)
        in_range(SPEC.name, "window_seconds", window_seconds, 1.0, 32 * DAY)
        self._window_seconds = window_seconds
        self._tenants = limits_by_tenant(SPEC.name, tenants, LIMITS)
        self._used: ByTenant[_Used] = ByTenant()
        self._charged: dict[int, tuple[int, float]] = {}

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """Out where the window's count would pass the limit."""
        used = self._of(ask.tenant, sight.now)
        for unit, cost in zip(LIMITS, (1.0, expected_tokens(ask)), strict=True):
            limit = self._limit(unit, ask.tenant)
            if limit is not None and getattr(used, unit) + cost > limit:
                return self._refusal(ask.tenant, unit, limit, used, cost, sight.now)
        return None

    def entered(self, ask: Ask, now: float) -> None:
        """Count it in the window in which it came."""
        used, cost = self._of(ask.tenant, now), expected_tokens(ask)
        used.requests += 1
        used.tokens += cost
        self._used.put(ask.tenant, used)
        self._charged[ask.number] = (used.window, cost)

    def ended(self, ask: Ask, now: float) -> None:
        """Correct the window in which it came, if it goes on."""
        window, cost = self._charged.pop(ask.number, (-1, 0.0))
        used = self._used.get(ask.tenant)
        if used is not None and used.window == window:
            used.tokens += used_tokens(ask) - cost

    def take_over(self, before: Rule, now: float) -> None:
        """What was counted in the window that goes on counts on; limits are those of now.

        A window of another length begins with what the one before it had.
        """
        if not isinstance(before, FixedWindow):
            return
        old, window = before._window(now), self._window(now)
        for tenant, used in before._used.kept.items():
            if used.window == old:
                self._used.put(tenant, replace(used, window=window))
        self._charged = {
            number: (window, cost)
            for number, (began, cost) in before._charged.items()
            if began == old
        }

    def allowances(self, tenant: str, now: float) -> Sequence[Allowance]:
        """Requests and tokens, as far as they are limited."""
        used, reset = self._of(tenant, now), self._resets(now)
        limits = ((unit, self._limit(unit, tenant)) for unit in LIMITS)
        return [
            Allowance(unit, limit, max(limit - getattr(used, unit), 0.0), reset)
            for unit, limit in limits
            if limit is not None
        ]

    def _limit(self, unit: str, tenant: str) -> float | None:
        return self._tenants.get(tenant, {}).get(unit, self._usual[unit])

    def _window(self, now: float) -> int:
        return int(now // self._window_seconds)

    def _resets(self, now: float) -> float:
        return (self._window(now) + 1) * self._window_seconds - now

    def _of(self, tenant: str, now: float) -> _Used:
        used = self._used.get(tenant)
        window = self._window(now)
        return used if used is not None and used.window == window else _Used(window)

    def _refusal(
        self, tenant: str, unit: str, limit: float, used: _Used, cost: float, now: float
    ) -> Refusal:
        left, is_final = max(limit - getattr(used, unit), 0.0), cost > limit
        each = f"{self._window_seconds:g} s"
        text = f"{tenant} may use {limit:,.0f} {unit} every {each} and has {left:,.0f} left"
        return Refusal(
            f"tenant_{unit}_per_window",
            f"{text}; this request alone takes {cost:,.0f}: make it smaller" if is_final else text,
            "tenant",
            wait_seconds=None if is_final else self._resets(now),
            limit=limit, remaining=left, unit=unit, is_final=is_final,
        )  # fmt: skip
