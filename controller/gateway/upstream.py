"""An engine behind the gateway: what somebody said of it, and what it says itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from controller.gateway.engine_facts import UNKNOWN, Facts
from controller.gateway.fleet import Pace, Role
from controller.gateway.http.pool import Pool


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How often engines are asked.

    Attributes:
        probe_seconds: between two questions to an engine that is well.
        again_seconds: to the first question to one that is not; twice as long each time.
        most_again_seconds: at most.
        timeout_seconds: an engine that takes longer did not answer.
        models_seconds: between two questions for its models.
        seats: requests an engine serves at once, where it does not say so itself.
        cache_tokens: that an engine's cache holds, whatever it says itself; None asks it.
        pace: of every engine; None learns it.
        key: engines are asked with it; "" asks with none.
        remembered_seconds: a model whose last replica left is still known so long.
    """

    probe_seconds: float = 5.0
    again_seconds: float = 0.25
    most_again_seconds: float = 5.0
    timeout_seconds: float = 5.0
    models_seconds: float = 60.0
    seats: int = 16
    cache_tokens: int | None = None
    pace: Pace | None = None
    key: str = field(default="", repr=False)
    remembered_seconds: float = 3600.0


@dataclass(slots=True, eq=False)
class Upstream:
    """One engine.

    Attributes:
        name: unique.
        url: its address.
        pool: connections to it.
        told: seats and cache as somebody said; what is None is asked of the engine.
        pace: as somebody said; None learns it.
        role: of a replica.
        told_models: as somebody said; empty asks the engine.
        facts: seats and cache as the engine says; None before it was asked.
        models: it answers to.
        documents: of its models, as it told them.
        is_well: by the last question; None before the first.
        problem: why it is not; "" is well.
        in_a_row: questions that failed.
        next_at: of the next question.
        models_at: when its models were told.
        is_leaving: nobody is to be sent there any more.
        is_resting: nobody is to be sent there until somebody says otherwise.
    """

    name: str
    url: str
    pool: Pool
    told: Facts = UNKNOWN
    pace: Pace | None = None
    role: Role = "whole"
    told_models: frozenset[str] = frozenset()
    facts: Facts | None = None
    models: frozenset[str] = frozenset()
    documents: list[dict[str, Any]] = field(default_factory=list)
    is_well: bool | None = None
    problem: str = ""
    in_a_row: int = 0
    next_at: float = 0.0
    models_at: float = -1e9
    is_leaving: bool = False
    is_resting: bool = False
    is_asked: bool = False

    @property
    def known(self) -> Facts:
        """Seats and cache; what somebody said counts before what the engine says."""
        told, asked = self.told, self.facts or UNKNOWN
        return Facts(told.seats or asked.seats, told.cache_tokens or asked.cache_tokens)
