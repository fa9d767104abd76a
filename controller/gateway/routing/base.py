"""What a way is: it chooses among replicas that have a place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance

Kept = Callable[[Ask, str], int]


@dataclass(frozen=True, slots=True)
class WaySpec:
    """What a way is called and where it comes from; as `LineSpec`.

    Attributes:
        name: unique, lower case with dashes.
        title: for tables.
        source: project and file, or paper.
        parameters: name -> value, as documented by its source.
        may_starve: whether a healthy replica may get nothing for ever, and why; "" is never.
    """

    name: str
    title: str
    source: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    may_starve: str = ""


def _nothing_kept(ask: Ask, name: str) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Choice:
    """What a way chooses from, and what it may know for it.

    Attributes:
        free: ready, answer to the model, have a place. Only these may be chosen.
        fleet: all that are ready and answer to the model, busy ones and decoding ones too: hash
            rings are made of these, so that a full replica does not move everybody's home.
        now: seconds of the gateway's clock.
        kept: prompt tokens of a request that a replica (its name) is thought to have kept.
    """

    free: Sequence[Instance]
    fleet: Sequence[Instance]
    now: float
    kept: Kept = _nothing_kept


@runtime_checkable
class Way(Protocol):
    """Chooses a replica. Dice are seeded and fall by the request's number; time is given."""

    @property
    def spec(self) -> WaySpec:
        """Name, source, parameters."""
        ...

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """One of `choice.free`. Changes nothing: it may be asked of many that do not go yet.

        None lets the request wait: a replica that is busy now would finish it sooner.
        """
        ...

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """The request went there."""
        ...

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """It is over there: learn from it."""
        ...

    def gone(self, name: str) -> None:
        """The replica left: forget all about it. It may be one that was never heard of."""
        ...


@runtime_checkable
class Decoders(Protocol):
    """A way for fleets whose prefill and decoding are apart."""

    def decoder(self, ask: Ask, fleet: Sequence[Instance]) -> Instance | None:
        """Which of the ready replicas has a seat to decode a request; None where none has."""
        ...

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """It decodes there."""
        ...

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """It is over there."""
        ...
