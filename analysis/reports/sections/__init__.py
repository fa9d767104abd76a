"""The sections there are; each is built from views alone.

A section is a function `(Asking) -> Section`. Adding one is a function and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.reports.asking import Asking
from analysis.reports.document import Section
from analysis.reports.sections import (
    ahead,
    control,
    cost,
    hosts,
    latency,
    objectives,
    shift,
    tenants,
    traffic,
    trouble,
)

Builder = Callable[[Asking], Section]


@dataclass(frozen=True, slots=True)
class SectionSpec:
    """A section of a report.

    Attributes:
        title: for people.
        question: what it answers.
        build: makes it.
        needs_view: left out without a word where there is no such view; "" is always there.
    """

    title: str
    question: str
    build: Builder
    needs_view: str = ""


SECTIONS: Mapping[str, SectionSpec] = {
    "why": SectionSpec("What was wrong", "What was wrong, since when, and whose?", trouble.why),
    "alerts": SectionSpec("Alerts", "What fired?", trouble.alerts),
    "findings": SectionSpec(
        "The requests themselves", "What is worth knowing about the requests?", traffic.findings
    ),
    "traffic": SectionSpec("Traffic", "How much came, and how evenly?", traffic.traffic),
    "slo": SectionSpec(
        "Objectives", "Were the objectives met, and who spent the budget?", objectives.slo
    ),
    "latency": SectionSpec(
        "Latency", "How long did people wait, and where did the time go?", latency.latency
    ),
    "shift": SectionSpec("What changed", "What differs from the period before?", shift.shift),
    "fairness": SectionSpec("Fairness", "Did every tenant get its share?", tenants.fairness),
    "cold_starts": SectionSpec(
        "Cold starts", "How long until new replicas served?", hosts.cold_starts
    ),
    "degradation": SectionSpec(
        "Degradation", "Which instance got slower, since when, and by what?", hosts.degradation
    ),
    "controller": SectionSpec(
        "Controller", "What was decided, and what came of it?", control.controller
    ),
    "forecast": SectionSpec("Next period", "What is to be expected?", ahead.forecast),
    "capacity": SectionSpec("Capacity", "Is there too little, or too much?", ahead.capacity),
    "cost": SectionSpec("Cost", "What did it cost, and how much stood idle?", cost.cost, "cost"),
}
