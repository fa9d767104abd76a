"""All lines by name, and how one is made: `make("vtc-predicted", output_weight=3)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controller.by_name import ByName
from controller.gateway.queueing.base import Line, LineSpec
from controller.gateway.queueing.dlpm import D2lpm, Dlpm
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.queueing.lcf import lcf
from controller.gateway.queueing.mlfq import Mlfq
from controller.gateway.queueing.program_aware import ProgramAware
from controller.gateway.queueing.rpm import Rpm
from controller.gateway.queueing.shortest_first import ShortestFirst
from controller.gateway.queueing.vtc import vtc
from controller.gateway.queueing.vtc_deadline import vtc_deadline
from controller.gateway.queueing.vtc_predicted import vtc_predicted

DEFAULT = "vtc-deadline"
# Ours first; then what people run; then those from papers.
LINES: dict[str, Callable[..., Line]] = {
    "vtc-deadline": vtc_deadline,
    "fcfs": Fcfs,
    "rpm": Rpm,
    "lcf": lcf,
    "vtc": vtc,
    "vtc-predicted": vtc_predicted,
    "dlpm": Dlpm,
    "d2lpm": D2lpm,
    "mlfq": Mlfq,
    "shortest-first": ShortestFirst,
    "program-aware": ProgramAware,
}
_BY_NAME = ByName("line", LINES)


def make(name: str, /, **parameters: Any) -> Line:
    """A line.

    Args:
        name: one of `LINES`.
        parameters: knobs by name; those that are not given are as documented.

    Raises:
        ControllerError: no such line, no such parameter, or a value out of range.
    """
    return _BY_NAME.make(name, parameters)


def catalogue() -> tuple[LineSpec, ...]:
    """Every line's spec, in the order of `LINES`."""
    return tuple(make(name).spec for name in LINES)


def defaults(name: str) -> dict[str, Any]:
    """Every parameter of a line with its default.

    Raises:
        ControllerError: no such line.
    """
    return _BY_NAME.defaults(name)
