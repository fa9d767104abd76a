"""What several rules share: limits by tenant, checks of parameters, books by number."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from store.errors import ControllerError

MOST_TENANTS = 10_000
"""Tenants a rule keeps books of; the one not seen for longest is forgotten first."""

Limits = Mapping[str, Mapping[str, float]]
Booked = TypeVar("Booked")


def in_range(rule: str, name: str, value: float | None, least: float, most: float) -> None:
    """Refuse a parameter that cannot be; None is no limit.

    Raises:
        ControllerError: naming the rule, the parameter and its range.
    """
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        raise ControllerError(
            f"admission {rule}: {name} must be from {least:g} to {most:g}, not {value}",
            hint="leave it out for no limit, or for its default",
        )


def limits_by_tenant(rule: str, given: Limits | None, names: tuple[str, ...]) -> Limits:
    """Limits of single tenants, checked.

    Raises:
        ControllerError: a limit that the rule does not have, or that is no number above 0.
    """
    for tenant, limits in (given or {}).items():
        for name, value in limits.items():
            if name not in names:
                raise ControllerError(
                    f"admission {rule}: tenant {tenant} has a limit '{name}'",
                    hint=f"it may have {', '.join(names)}",
                )
            in_range(rule, f"{name} of tenant {tenant}", value, 1e-9, math.inf)
    return given or {}


@dataclass(slots=True)
class ByTenant(Generic[Booked]):
    """Books by tenant, as many as fit: who floods us with names forgets only itself."""

    most: int = MOST_TENANTS
    kept: OrderedDict[str, Booked] = field(default_factory=OrderedDict)

    def get(self, tenant: str) -> Booked | None:
        """What is booked; None where nothing is."""
        return self.kept.get(tenant)

    def put(self, tenant: str, booked: Booked) -> None:
        """Book it; the tenant was seen now."""
        self.kept[tenant] = booked
        self.kept.move_to_end(tenant)
        while len(self.kept) > self.most:
            self.kept.popitem(last=False)
