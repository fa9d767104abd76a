"""What `Careful` asks of a platform, and what a platform may answer besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from controller.actuators.base import Scale


class PlatformAnswer(Exception):
    """A platform did not do what was asked; `Careful` makes an outcome of it.

    Args:
        text: one sentence for people.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Refused(PlatformAnswer):
    """It will not: no right, a quota, out of range."""


class Conflicted(PlatformAnswer):
    """Somebody else changed it between our read and our write."""


class NoAnswer(PlatformAnswer):
    """It said nothing, or nothing that can be understood."""


class Platform(Protocol):
    """One place where replicas run. Any method may raise a `PlatformAnswer`."""

    @property
    def name(self) -> str:
        """For people and records."""
        ...

    @property
    def pools(self) -> Sequence[str]:
        """The pools it is responsible for."""
        ...

    async def read(self, pool: str) -> Scale:
        """How the pool stands, asked anew, never remembered from a write."""
        ...

    async def write(self, pool: str, replicas: int, seen: Scale, decision_id: str) -> str:
        """Ask for so many; draining is begun, or is the platform's own.

        Args:
            pool: whose.
            replicas: wanted, at least 0.
            seen: the scale just read; write only if nobody changed it since, where that can be.
            decision_id: of the decision.

        Returns:
            A sentence to add to the outcome, or "".
        """
        ...

    async def aclose(self) -> None:
        """Let go; safe twice."""
        ...
