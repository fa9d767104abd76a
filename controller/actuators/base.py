"""The contract of what starts and stops replicas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Scale:
    """A target as the platform tells it.

    Attributes:
        pool: whose.
        wanted: replicas the platform was told to have; None where it cannot tell.
        ready: replicas that serve; None where it cannot tell.
        version: changes with every change of `wanted`, by whomever; "" where there is none.
        decision_id: of the decision that was applied last, where the platform keeps it.
    """

    pool: str
    wanted: int | None
    ready: int | None
    version: str = ""
    decision_id: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of applying a decision.

    Attributes:
        outcome: "applied", "unchanged" (it was so already, or this decision was applied before),
            "conflict" (somebody else changed it meanwhile), "refused" (no right, a quota) or
            "failed" (no answer, or an answer that cannot be).
        text: one sentence for people.
        scale: as it is now; None where nothing could be read.
        details: for the record.
    """

    outcome: str
    text: str
    scale: Scale | None = None
    details: dict[str, str] = field(default_factory=dict)


OUTCOMES = ("applied", "unchanged", "conflict", "refused", "failed")


@runtime_checkable
class Actuator(Protocol):
    """One way to scale. Never raises for what a platform answers: that is an outcome."""

    @property
    def name(self) -> str:
        """For people and records, like "kubernetes deployments/llama"."""
        ...

    async def read(self, pool: str) -> Scale:
        """How the pool stands.

        Raises:
            ControllerError: the platform cannot be read.
        """
        ...

    async def apply(self, pool: str, replicas: int, decision_id: str, version: str = "") -> Applied:
        """Ask for so many replicas; again with the same decision changes nothing.

        Args:
            pool: whose.
            replicas: wanted; scaling down drains first.
            decision_id: of the decision, for idempotence.
            version: of the scale that was decided upon; "" does not compare.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what it holds; replicas go on."""
        ...
