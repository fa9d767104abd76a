"""What the controller asks of leases, and of a place that keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Leases(Protocol):
    """The leases of one process. No call but `confirm` and `close` waits for anything."""

    def take(self, pool: str) -> bool:
        """Hold the lease of a pool; False when somebody else does, or it is not known yet.

        Raises:
            ControllerError: no lease can be kept.
        """
        ...

    def holds(self, pool: str) -> bool:
        """Whether the lease is ours, still."""
        ...

    async def confirm(self, pool: str, decision_id: int, seconds: float) -> bool:
        """Whether a decision may be done now: the fence, asked right before the platform is.

        Args:
            pool: whose.
            decision_id: of the decision; an older one than was confirmed before is refused.
            seconds: how long doing it may take; nobody else gets the pool meanwhile.
        """
        ...

    def token(self, pool: str) -> int:
        """A number that grows with every owner; of our lease, 0 without one."""
        ...

    def owner(self, pool: str) -> str:
        """Who holds it, or held it last, for people."""
        ...

    def release(self, pool: str) -> None:
        """Let go of a pool, soon."""
        ...

    def release_all(self, pools: Iterable[str] | None = None) -> None:
        """Let go of all, or of those given, soon."""
        ...

    def close(self) -> None:
        """Let go of all and end; waits until it is done, or for a few seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """How the lease of a pool stands in a table.

    Attributes:
        owner: who has it, or had it last.
        token: grows with every owner.
        is_held: whether it has not run out, by the table's own clock.
    """

    owner: str
    token: int
    is_held: bool


class LeaseTable(Protocol):
    """A place that keeps leases by its own clock and changes each as a whole, or not at all.

    Calls wait for the place, a few seconds at most, and raise `ControllerError` when it does not
    answer. They come from one thread at a time.
    """

    def renew(self, pools: Sequence[str], owner: str, seconds: float) -> Mapping[str, Lease]:
        """Keep what is ours and take what is free, for so long from now; gives how all stand."""
        ...

    def confirm(self, pool: str, owner: str, token: int, decision_id: int, seconds: float) -> bool:
        """Note a decision, and keep the lease for so long at least, if it is still ours.

        False when it is not, or when a later decision was noted.
        """
        ...

    def release(self, pools: Sequence[str], owner: str) -> None:
        """Let go of what is ours: the next to ask has it."""
        ...

    def close(self) -> None:
        """Leave the place."""
        ...
