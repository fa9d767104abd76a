"""One name, one agent: whose batches are taken when two send under the same name.

Both call their targets alike (`agent://NAME/http://localhost:8000/metrics`), so rows of two engines
would become one series that nobody can take apart again. One of the two is refused until it has
another name, or the other is gone; its rows wait in its spool meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from store.clock import Clock
from store.errors import ServescopeError

# An agent that sends nothing for so long has left its name to another.
LEASE_SECONDS = 60.0
_MOST_NAMES = 10_000
# A process that is killed and started anew has begun after the last word of the one before.
_SLACK_SECONDS = 1.0


class NameTaken(ServescopeError):
    """Another agent sends under the same name; to be tried again, and a matter for people."""

    code = "agent_name_taken"
    status: ClassVar[int] = 409


@dataclass(slots=True)
class _Owner:
    process: str
    heard_at: float


class AgentNames:
    """Which process each name belongs to.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._owners: dict[str, _Owner] = {}

    def check(self, name: str, told: str) -> None:
        """Let a sender pass that the name belongs to, or can go over to.

        Args:
            name: of the agent.
            told: `PROCESS SECONDS`, the sender's mark and how long it has run; an agent that tells
                nothing passes.

        Raises:
            NameTaken: it belongs to another that is at work.
        """
        process, _, running = told.strip().partition(" ")
        if not process:
            return
        now = self._clock.monotonic()
        owner = self._owners.get(name)
        if owner is not None and owner.process != process:
            began = now - _seconds(running)
            if now - owner.heard_at < LEASE_SECONDS and began < owner.heard_at - _SLACK_SECONDS:
                raise NameTaken(
                    f"another agent sends under the name {name}: give one of them another"
                    " (agent.name)",
                    hint="nothing is lost meanwhile: what it has read waits in its spool",
                )
        if name not in self._owners and len(self._owners) >= _MOST_NAMES:
            del self._owners[min(self._owners, key=lambda one: self._owners[one].heard_at)]
        self._owners[name] = _Owner(process[:100], now)


def _seconds(text: str) -> float:
    """How long it says to have run; 0 for what is no such number."""
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0
