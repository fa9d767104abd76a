"""What the gate tells of its requests to whoever learns how fast replicas are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance


@dataclass(frozen=True, slots=True)
class Measured:
    """How a request went at its replica.

    Attributes:
        first: to its first token; None is unknown.
        gap: between tokens; None likewise.
        is_multiple: of what its group takes for the same work; else in seconds.
    """

    first: float | None
    gap: float | None
    is_multiple: bool


class Paces(Protocol):
    """Hears of all that runs; times are seconds of the gateway's clock."""

    def joined(self, instance: Instance) -> None:
        """A replica serves from now on, or other models than before."""
        ...

    def gone(self, name: str) -> None:
        """It left."""
        ...

    def began(self, ask: Ask, instance: Instance, now: float) -> None:
        """It was sent a request, which is booked there already."""
        ...

    def first(self, ask: Ask, now: float) -> None:
        """The first token of a request came."""
        ...

    def ended(self, ask: Ask, now: float, *, is_failed: bool) -> None:
        """A request is over there; a failed one teaches nothing."""
        ...

    def settle(self, now: float) -> None:
        """Before anything is decided: book what nobody saw happen."""
        ...

    def measured(self, ask: Ask, now: float) -> Measured:
        """How a request went that ends now; ask before it is said to have ended."""
        ...

    def rows(self, name: str) -> tuple[int, int]:
        """Stretches of time at a replica: learnt from, and left out as they made no sense."""
        ...


class Unlearnt:
    """Learns nothing: paces are as somebody said."""

    def joined(self, instance: Instance) -> None:
        """Nothing."""

    def gone(self, name: str) -> None:
        """Nothing."""

    def began(self, ask: Ask, instance: Instance, now: float) -> None:
        """Nothing."""

    def first(self, ask: Ask, now: float) -> None:
        """Nothing."""

    def ended(self, ask: Ask, now: float, *, is_failed: bool) -> None:
        """Nothing."""

    def settle(self, now: float) -> None:
        """Nothing."""

    def measured(self, ask: Ask, now: float) -> Measured:
        """In seconds."""
        if not (ask.is_stream and ask.has_first):
            return Measured(None, None, is_multiple=False)
        steps = ask.output_tokens - 1
        gap = (now - ask.first) / steps if steps > 0 else None
        return Measured(ask.first - ask.started, gap, is_multiple=False)

    def rows(self, name: str) -> tuple[int, int]:
        """None."""
        return 0, 0
