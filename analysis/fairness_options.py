"""What may be chosen when fairness is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from store.errors import InputError
from store.queries.scope import parse_duration, split_values
from store.queries.token_cost import Cost

WINDOW_SECONDS = 60.0
MOST_SHOWN = 8
_LARGEST_WEIGHT = 1e6


@dataclass(frozen=True, slots=True)
class Wish:
    """How fairness is looked at.

    Attributes:
        cost: service of a token.
        window_seconds: of windows.
        weights: tenant -> its share; 1 for those that are not named.
        batch_tokens: what the batch of an engine holds; None looks for its signal.
        shown: tenants with a line of their own in pictures.
    """

    cost: Cost = field(default_factory=Cost)
    window_seconds: float = WINDOW_SECONDS
    weights: Mapping[str, float] = field(default_factory=dict)
    batch_tokens: float | None = None
    shown: int = MOST_SHOWN


def wish(
    *,
    input_weight: str = "",
    output_weight: str = "",
    cached_weight: str = "",
    window: str = "",
    weights: str = "",
    batch_tokens: str = "",
    shown: str = "",
) -> Wish:
    """Read the options of the view; empty ones keep their defaults.

    Raises:
        InputError: a value that makes no sense; says which.
    """
    usual = Cost()
    cost = Cost(
        _number("input_weight", input_weight, usual.input_weight),
        _number("output_weight", output_weight, usual.output_weight),
        _number("cached_weight", cached_weight, usual.cached_weight),
    )
    if cost.input_weight + cost.output_weight <= 0:
        raise InputError(
            "input_weight and output_weight are both 0", hint="service is nothing then"
        )
    seconds = parse_duration(window).total_seconds() if window else WINDOW_SECONDS
    if seconds < 1:
        raise InputError("window is 0", hint="write a duration such as 60s")
    batch = _number("batch_tokens", batch_tokens, 0.0, 1e12)
    most = _number("shown", shown, float(MOST_SHOWN), 20)
    if most < 1 or most != int(most):
        raise InputError(f"shown is '{shown}'", hint="a whole number, 1 to 20")
    return Wish(cost, seconds, _weights(weights), batch or None, int(most))


def _number(name: str, text: str, usual: float, most: float = _LARGEST_WEIGHT) -> float:
    if not text:
        return usual
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise InputError(f"{name} is '{text[:40]}'", hint=f"a number from 0 to {most:,.0f}")
    return value


def _weights(text: str) -> dict[str, float]:
    found = {}
    for item in split_values(text):
        tenant, colon, weight = item.rpartition(":")
        if not colon or not tenant:
            raise InputError(f"'{item[:40]}' is no weight", hint="write weights=tenant:2,other:1")
        found[tenant] = _number(f"the weight of {tenant}", weight, 1.0)
        if found[tenant] <= 0:
            raise InputError(f"the weight of {tenant} is 0", hint="a weight is above 0")
    return found
