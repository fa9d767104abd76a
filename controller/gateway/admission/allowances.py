"""What a tenant has left by all rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from controller.gateway.admission.base import Allowance, Rule


def allowances(rules: Iterable[Rule], tenant: str, now: float) -> list[Allowance]:
    """What a tenant has left by every rule that can tell, as booked now."""
    found: list[Allowance] = []
    for rule in rules:
        # Asking a protocol whether it fits takes longer than all the rest of an answer's head.
        tells: Callable[[str, float], Iterable[Allowance]] | None
        tells = getattr(rule, "allowances", None)
        if tells is not None:
            found += tells(tenant, now)
    return found
