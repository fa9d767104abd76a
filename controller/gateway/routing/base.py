"""What a way is: it chooses among replicas that have a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance


@dataclass(frozen=True, slots=True)
class WaySpec:
    """What a way is called and where it comes from; as `LineSpec`."""

    name: str
    title: str
    source: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Way(Protocol):
    """Chooses a replica. Dice are seeded; `now` is given."""

    @property
    def spec(self) -> WaySpec:
        """Name, source, parameters."""
        ...

    def choose(self, ask: Ask, instances: Sequence[Instance], now: float) -> Instance | None:
        """One of `instances`: they are ready, serve the model and have a place.

        None lets the request wait: a replica that is busy now would finish it sooner.
        """
        ...

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """The request went there."""
        ...

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """It is over there: learn from it."""
        ...
