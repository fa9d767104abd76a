"""Error-budget algebra: burn, budget left, and the alert rules that can or cannot fire.

For a target T over a window W the budget is B = 1 - T. The bad ratio over any window w is E(w);
burn(w) = E(w) / B; a burn held for w spends burn * w / W of the budget.
Source: Google SRE Workbook, "Alerting on SLOs".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Severity = Literal["page", "ticket"]

# Shorter windows than these hold too few requests to say anything, whatever the SLO's own window.
SHORTEST_LONG_WINDOW_SECONDS = 300.0
SHORTEST_SHORT_WINDOW_SECONDS = 60.0
_ROUNDING = 1e-12
# (share of the budget spent, long window / W, short window / W, severity); for 30 d: 1 h + 5 m at
# 14.4, 6 h + 30 m at 6, 1 d + 2 h at 3, 3 d + 6 h at 1.
_WORKBOOK: tuple[tuple[float, float, float, Severity], ...] = (
    (0.02, 1 / 720, 1 / 8640, "page"),
    (0.05, 1 / 120, 1 / 1440, "page"),
    (0.10, 1 / 30, 1 / 360, "ticket"),
    (0.10, 1 / 10, 1 / 120, "ticket"),
)


@dataclass(frozen=True, slots=True)
class AlertRule:
    """Fires while the burn over both windows exceeds the threshold.

    Attributes:
        severity: who is called: "page" or "ticket".
        long_seconds: the window that shows that it matters.
        short_seconds: the window that shows that it still goes on.
        burn: threshold, a multiple of the burn that just spends the budget.
    """

    severity: Severity
    long_seconds: float
    short_seconds: float
    burn: float


def burn_rate(bad: float, attempted: float, target_ratio: float) -> float | None:
    """How fast the budget goes: 1 spends it exactly over the SLO's window; None without events."""
    if attempted <= 0:
        return None
    return (bad / attempted) / (1.0 - target_ratio)


def budget_left_ratio(
    bad: float, attempted: float, target_ratio: float, elapsed_ratio: float = 1.0
) -> float | None:
    """1 is untouched, 0 is spent, negative is overspent (never clamped); None without events.

    Args:
        bad: bad requests of the window so far.
        attempted: all of them so far.
        target_ratio: 0 < target < 1.
        elapsed_ratio: share of the window that is over, 0 < ratio <= 1; the rest is taken to bring
            as many requests a second as came so far.
    """
    burn = burn_rate(bad, attempted, target_ratio)
    if burn is None:
        return None
    left = 1.0 - burn * elapsed_ratio
    # 1 - 0.99 is not 0.01: a budget that is spent to the last request must not read as 9e-16.
    return 0.0 if abs(left) < _ROUNDING else left


def budget_spent_ratio(burn: float, elapsed_seconds: float, window_seconds: float) -> float:
    """Share of the budget that `burn`, held for `elapsed_seconds`, spends at even traffic."""
    return burn * elapsed_seconds / window_seconds


def highest_burn(target_ratio: float) -> float:
    """The burn while every request is bad: no threshold above it can ever fire."""
    return 1.0 / (1.0 - target_ratio)


def exhausted_at(
    budget_left: float | None,
    burn: float | None,
    window_seconds: float,
    now: datetime,
    resets_at: datetime | None = None,
) -> datetime | None:
    """When the budget is gone if the burn goes on; None when it never is, or is not known.

    In a rolling window a burn of 1 or less never empties the budget, since old bad requests leave
    as new ones come. In a calendar period (`resets_at`) they stay: any burn empties it in time, and
    it is None where the period ends first. A budget that is gone already gives `now`.
    """
    if budget_left is None:
        return None
    if budget_left <= 0:
        return now
    if burn is None or burn <= (1.0 if resets_at is None else 0.0):
        return None
    seconds = budget_left * window_seconds / burn
    if resets_at is not None and seconds >= (resets_at - now).total_seconds():
        return None
    return now + timedelta(seconds=seconds)


def default_alerts(window_seconds: float) -> tuple[AlertRule, ...]:
    """The workbook's table scaled to the SLO's window.

    Where scaling would give a window under five minutes (one for the short window), that least
    window is used and the threshold lowered so that it still stands for the same share of the
    budget; a rule whose threshold falls below 1 is left out, since it would fire while all is well.
    """
    rules = []
    for share, long_part, short_part, severity in _WORKBOOK:
        long = max(SHORTEST_LONG_WINDOW_SECONDS, _whole_minutes(window_seconds * long_part))
        short = max(SHORTEST_SHORT_WINDOW_SECONDS, _whole_minutes(window_seconds * short_part))
        burn = round(share * window_seconds / long, 6)
        if burn >= 1.0:
            rules.append(AlertRule(severity, long, short, burn))
    return tuple(rules)


def _whole_minutes(seconds: float) -> float:
    return round(seconds / 60) * 60.0


def unreachable_why(rule: AlertRule, target_ratio: float) -> str | None:
    """Why this rule can never fire, in one line; None when it can."""
    highest = highest_burn(target_ratio)
    if rule.burn < highest * (1 - 1e-12):
        return None
    return (
        f"target {target_ratio * 100:.6g} %: the highest possible burn is {highest:.4g}, "
        f"so {rule.burn:.4g} can never be exceeded"
    )


def reachable_alerts(rules: Sequence[AlertRule], target_ratio: float) -> tuple[AlertRule, ...]:
    """Those rules that can fire at all under this target."""
    return tuple(rule for rule in rules if unreachable_why(rule, target_ratio) is None)


def fires(rule: AlertRule, burn_long: float | None, burn_short: float | None) -> bool:
    """Whether both windows burn faster than the threshold; unknown never fires."""
    if burn_long is None or burn_short is None:
        return False
    return burn_long > rule.burn and burn_short > rule.burn
