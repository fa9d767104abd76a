"""What a line is: it keeps requests that wait, and says who goes next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from controller.gateway.ask import Ask

INPUT_WEIGHT, OUTPUT_WEIGHT = 1.0, 2.0
"""Service of a token; source: VTC (arXiv 2401.00588), as in its artifact."""

Fits = Callable[[Ask], bool]
Cached = Callable[[Ask], int]
Where = Callable[[Ask], str]


@dataclass(frozen=True, slots=True)
class LineSpec:
    """What a line is called and where it comes from.

    Attributes:
        name: unique, lower case with dashes.
        title: for tables.
        source: project and file, or paper.
        parameters: name -> value, as documented by its source.
        is_bounded: whether it bounds the difference of service (see `bound`).
        is_work_conserving: whether somebody goes as long as somebody who is next fits; where not,
            ask again as time passes.
    """

    name: str
    title: str
    source: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_bounded: bool = False
    is_work_conserving: bool = True


@dataclass(frozen=True, slots=True)
class Room:
    """What there is a place for now.

    Attributes:
        fits: whether some replica can take the request.
        cached: prompt tokens that the best such replica is thought to have kept.
        where: name of the replica that `fits` found for a request, where it said yes.
        instance: the one replica it is about, where only one is asked for; "" is any.
    """

    fits: Fits
    cached: Cached = lambda ask: 0
    instance: str = ""
    where: Where = lambda ask: ""


@runtime_checkable
class Line(Protocol):
    """Requests that wait. Neither clock nor dice: `now` is given, ties go by arrival."""

    @property
    def spec(self) -> LineSpec:
        """Name, source, parameters."""
        ...

    def put(self, ask: Ask, now: float) -> None:
        """Let a request wait. One that was put back keeps its time of arrival."""
        ...

    def take(self, room: Room, now: float) -> Ask | None:
        """Take out who goes next, and charge what is known of it; None if nobody fits."""
        ...

    def drop(self, ask: Ask) -> bool:
        """Forget one that waits, as its client left; tells whether it was there."""
        ...

    def served(self, ask: Ask, output_tokens: int, *, is_over: bool, now: float) -> None:
        """Book so many more output tokens; the last call for a request says that it is over.

        A call with `is_over` corrects what was charged ahead, also for a request that failed.
        """
        ...
