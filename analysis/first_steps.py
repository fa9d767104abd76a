"""The three steps from an empty store to a page with a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.measure import Measure, View
from analysis.slo_model import Slo
from store.queries.first_steps import Begun, begun
from store.queries.scope import Scope
from store.reader import Reader

STEPS_SCHEMA: dict[str, Any] = {"step": pl.String, "is_done": pl.Boolean, "text": pl.String}


def first_steps(reader: Reader, scope: Scope, *, slos: Sequence[Slo]) -> View:
    """What is done of the first three steps, and what to do about the others.

    Measures: left (steps to go). Frame: `steps` (step: source, records or objective; is_done;
    text). Nothing but the store is asked, so every browser sees the same.

    Args:
        reader: the store.
        scope: of no effect.
        slos: definitions.
    """
    found = begun(reader)
    # A trace can be read without: what is judged by an objective is a fleet.
    is_judged = bool(slos) or (found.has_requests and not found.targets)
    rows = [
        ("source", bool(found.targets or found.traces or found.has_requests), _source(found)),
        ("records", found.has_requests or found.has_answers, _records(found)),
        ("objective", is_judged, _objective(slos, is_needed=not is_judged)),
    ]
    steps = pl.DataFrame(rows, schema=STEPS_SCHEMA, orient="row")
    left = float((~steps["is_done"]).sum())
    return View("first_steps", scope, {"left": Measure(left, "")}, {"steps": steps})


def _source(found: Begun) -> str:
    if found.targets or found.traces:
        return f"{_count(found.traces, 'trace')}, {_count(found.targets, 'engine')} watched"
    return "a trace, a file of yours, or an engine that runs"


def _records(found: Begun) -> str:
    if found.has_requests or found.has_answers:
        return "they arrive"
    if found.targets:
        return "no engine has answered yet: Admin says why"
    return "on this page within two scrapes"


def _objective(slos: Sequence[Slo], *, is_needed: bool) -> str:
    if slos:
        return f"{_count(len(slos), 'objective')} defined"
    if not is_needed:
        return "not needed for a trace"
    return "what is good enough? Without it nothing here can be called healthy"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
