"""The contract of what starts and stops replicas.

An actuator is `Careful` (how one acts) around a `Platform` (what one talks to):

- asking again with the same decision changes nothing;
- a version that is not the one decided upon is a conflict, never overwritten;
- "applied" is said only after the platform has told the wanted number back;
- scaling down drains first, whoever does the draining;
- every call ends within `limit_seconds`;
- whatever a platform answers is an outcome, never an exception; only a scale that cannot be read
  raises `ControllerError`;
- replicas go on when the controller ends.

`controller.actuators.check.check_actuator` runs all of it over an implementation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, runtime_checkable

Outcome = Literal["applied", "unchanged", "conflict", "refused", "failed"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("applied", "unchanged", "conflict", "refused", "failed")


@dataclass(frozen=True, slots=True)
class Scale:
    """A pool as its platform tells it.

    Attributes:
        pool: whose.
        wanted: replicas the platform was told to have; None where it cannot tell.
        ready: replicas that serve; None where it cannot tell.
        version: changes with every change of `wanted`, by whomever; "" where there is none.
        decision_id: of the decision that was applied last, where the platform keeps it.
        decision_replicas: what that decision asked for; None: what is wanted now. Decisions of
            another store may have the same id, but hardly the same number as well.
        starting: replicas that were asked for and do not serve yet; None where unknown.
        draining: replicas that finish their requests and then leave; None where unknown.
        lock: what the platform wants back with a write (a resourceVersion); "" for none.
    """

    pool: str
    wanted: int | None
    ready: int | None
    version: str = ""
    decision_id: str = ""
    starting: int | None = None
    draining: int | None = None
    lock: str = ""
    decision_replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of applying a decision.

    Attributes:
        outcome: "applied" (and told back), "unchanged" (it was so already, or this decision was
            applied before), "conflict" (somebody else changed it meanwhile), "refused" (no right,
            a quota, out of range) or "failed" (no answer, or one that cannot be believed).
        text: one sentence for people.
        scale: as it is now; None where nothing could be read.
        details: for the record.
    """

    outcome: Outcome
    text: str
    scale: Scale | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the platform now has what was wanted."""
        return self.outcome in ("applied", "unchanged")


@runtime_checkable
class Actuator(Protocol):
    """One way to scale. Never raises for what a platform answers: that is an outcome."""

    @property
    def name(self) -> str:
        """For people and records, like "kubernetes deployments/llama"."""
        ...

    @property
    def limit_seconds(self) -> float:
        """A call takes no longer than this."""
        ...

    async def read(self, pool: str) -> Scale:
        """How the pool stands.

        Raises:
            ControllerError: the platform cannot be read, or knows no such pool.
        """
        ...

    async def apply(self, pool: str, replicas: int, decision_id: str, version: str = "") -> Applied:
        """Ask for so many replicas; again with the same decision changes nothing.

        Args:
            pool: whose.
            replicas: wanted; scaling down drains first.
            decision_id: of the decision, for idempotence; must not be empty.
            version: of the scale that was decided upon; "" does not compare.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what it holds; replicas go on. Safe twice."""
        ...
