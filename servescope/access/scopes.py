"""What a token may open: a role, for what people may do, and doors, for what programs send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from store.access import ROLES, Role
from store.errors import InputError
from store.nearest import nearest_hint

INGEST = "ingest"
GATEWAY = "gateway"
PREDICT = "predict"
METRICS = "metrics"
DOORS: Mapping[str, str] = {
    INGEST: "send telemetry: agents, OTLP, remote-write, rows, starts, alerts of an Alertmanager",
    GATEWAY: "a gateway's rows and heartbeat, and what it is to decide by",
    PREDICT: "ask for predictions",
    METRICS: "read /metrics",
}
ALL_DOORS = frozenset(DOORS)
SCOPES = (*ROLES, *DOORS)
_OPENS: Mapping[Role, frozenset[str]] = {
    Role.VIEWER: frozenset({METRICS}),
    Role.OPERATOR: frozenset({METRICS, PREDICT}),
    Role.ADMIN: ALL_DOORS,
}


def doors_of(role: Role) -> frozenset[str]:
    """The doors that a role opens besides what people may do."""
    return _OPENS.get(role, frozenset())


def checked(given: Iterable[str]) -> tuple[str, ...]:
    """Scopes of a new token, each once, in the order of `SCOPES`.

    Raises:
        InputError: none, an unknown one, or two roles.
    """
    words = set(given)
    for word in words - set(SCOPES):
        raise InputError(f"there is no scope '{word[:60]}'", hint=nearest_hint(word, SCOPES))
    if not words:
        raise InputError("a token needs a scope", hint=", ".join(SCOPES))
    if len(words & set(ROLES)) > 1:
        raise InputError("a token has one role at most", hint="each may do what those below it may")
    return tuple(word for word in SCOPES if word in words)


def role_in(scopes: Iterable[str]) -> Role:
    """The role among scopes; nobody's when there is none."""
    return next((ROLES[word] for word in scopes if word in ROLES), Role.NOBODY)
