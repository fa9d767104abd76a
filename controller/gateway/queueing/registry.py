"""All lines by name, and how one is made: `make("vtc-predicted", output_weight=3)`."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

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
from store.errors import ControllerError

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


def make(name: str, /, **parameters: Any) -> Line:
    """A line.

    Args:
        name: one of `LINES`.
        parameters: knobs by name; those that are not given are as documented.

    Raises:
        ControllerError: no such line, no such parameter, or a value out of range.
    """
    factory = LINES.get(name)
    if factory is None:
        near = difflib.get_close_matches(name, LINES, 1)
        raise ControllerError(
            f"there is no line '{name}'",
            hint=(f"did you mean {near[0]}? " if near else "") + f"known: {', '.join(LINES)}",
        )
    known = defaults(name)
    for given, value in parameters.items():
        if given not in known:
            hint = f"it has {', '.join(known)}" if known else "it has none"
            raise ControllerError(f"line {name} has no parameter '{given}'", hint=hint)
        _check_type(name, given, value, known[given])
    return factory(**parameters)


def catalogue() -> tuple[LineSpec, ...]:
    """Every line's spec, in the order of `LINES`."""
    return tuple(make(name).spec for name in LINES)


def defaults(name: str) -> dict[str, Any]:
    """Every parameter of a line with its default.

    Raises:
        ControllerError: no such line.
    """
    if name not in LINES:
        raise ControllerError(f"there is no line '{name}'", hint=f"known: {', '.join(LINES)}")
    found = inspect.signature(LINES[name]).parameters.values()
    return {one.name: one.default for one in found if one.default is not one.empty}


def _check_type(name: str, given: str, value: Any, usual: Any) -> None:
    """A number for a number, a whole one for a whole one."""
    wanted = (int,) if isinstance(usual, int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted):
        kind = "a whole number" if wanted == (int,) else "a number"
        raise ControllerError(f"line {name}: {given} must be {kind}, not {value!r}")
