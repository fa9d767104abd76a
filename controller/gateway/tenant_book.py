"""Tenants and classes: who there is, what they get, how one is told from another."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.gateway.ask import ONLINE, SloClass

KEY_PREFIX = "sk-scope-"
HASH_PREFIX = "sha256:"
LIMITS: Mapping[str, tuple[str, str]] = {
    "requests_per_minute": ("token-bucket", "requests_per_minute"),
    "tokens_per_minute": ("token-bucket", "tokens_per_minute"),
    "requests_at_once": ("concurrency", "requests"),
    "tokens_per_day": ("quota", "budget"),
}
"""Limit of a tenant -> the rule that keeps it, and the rule's own name for it."""
_USUAL = SloClass()


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who pays, and what they get.

    Attributes:
        name: unique.
        weight: share of the service, > 0.
        slo: class of their requests.
        classes: that a request may name instead; the own one is always allowed.
        names_tenants: whether its key may speak for tenants that a header names: for a front door
            that knows its users itself.
        limits: name in LIMITS -> bound.
    """

    name: str
    weight: float = 1.0
    slo: SloClass = _USUAL
    classes: frozenset[str] = frozenset()
    names_tenants: bool = False
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TenantBook:
    """All tenants and classes, and how one is told from another.

    Attributes:
        tenants: name -> tenant.
        keys: SHA-256 of a key, hex -> tenant.
        classes: name -> class.
        usual: what a tenant without a table gets; its name means nothing.
        keys_required: whether a request without a key is turned away.
        tenant_header: header that names the tenant, lower case; "" is none.
        user_is_tenant: whether OpenAI's `user` names the tenant where nothing else does.
        session_header: header that names the conversation; "" is none.
        class_header: header that names the class; "" is none.
        most_tenants: distinct names without a table that are told apart; more share one.
    """

    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    keys: Mapping[str, Tenant] = field(default_factory=dict)
    classes: Mapping[str, SloClass] = field(default_factory=lambda: {ONLINE: SloClass()})
    usual: Tenant = Tenant("")
    keys_required: bool = False
    tenant_header: str = "x-llm-d-inference-fairness-id"
    user_is_tenant: bool = True
    session_header: str = "x-session-id"
    class_header: str = "x-slo-class"
    most_tenants: int = 1_000

    def rules(self) -> dict[str, dict[str, Any]]:
        """Rules that keep the limits: name of a rule -> its parameters; none without a limit."""
        found: dict[str, dict[str, Any]] = {}
        for name, limit in self.usual.limits.items():
            rule, parameter = LIMITS[name]
            usual = "requests_per_tenant" if rule == "concurrency" else parameter
            found.setdefault(rule, {})[usual] = limit
        for tenant in self.tenants.values():
            for name, limit in tenant.limits.items():
                rule, parameter = LIMITS[name]
                by_tenant = found.setdefault(rule, {}).setdefault("tenants", {})
                by_tenant.setdefault(tenant.name, {})[parameter] = limit
        return found


def new_key() -> tuple[str, str]:
    """A new API key, and the line for the file that stands for it."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    return key, hash_of(key)


def hash_of(key: str) -> str:
    """What the file holds of a key: keys are random, so a plain hash cannot be turned round."""
    return HASH_PREFIX + hashlib.sha256(key.encode()).hexdigest()
