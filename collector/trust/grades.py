"""Grades: what can be said about the trust in a signal, with evidence and advice.

A grade belongs to one signal of one target, or to the target as a whole (signal ""). What a target
says about the time is graded under the name "clock".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Grade = Literal[
    "fresh",  # it answers and what it says is plausible
    "stale",  # what is known is older than it should be
    "frozen",  # it stands still while other signals say that it should move
    "partial",  # a part is missing: ranks, lines, signals
    "reset",  # it started again from zero: no rate across this moment
    "impossible",  # it says what cannot be
    "two_scrapers",  # somebody else's scrapes, or a second entry, change what is read
    "idle",  # it answers and there is no traffic: demand is zero
    "silent",  # it does not answer: demand is unknown, not zero
    "absent",  # it is not on the page
]

WHOLE_TARGET = ""
CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look at a signal says.

    Args:
        grade: how far it can be trusted.
        evidence: one sentence with the numbers behind it.
        advice: one sentence on what to do; "" where nothing needs to be done.
        cause: what kind of reason; another cause of the same grade is a change worth telling.
    """

    grade: Grade
    evidence: str
    advice: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class GradeChange:
    """One row: from `at` on, until the next row of the same target and signal, this holds."""

    target_id: int
    signal: str
    at: datetime
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """When a signal counts as what.

    Args:
        frozen_after_seconds: standing still for less is no sign of anything. Exporters repeat a
            sample (dcgm-exporter for 30 s), so it is three times that.
        frozen_after_scrapes: and for at least so many scrapes.
        idle_after_seconds: no work for so long is idleness.
        held_seconds: how long a grade that tells of one moment (a restart, a sum that fell) stays.
        clock_off_seconds: a clock is wrong when it differs by more.
        most_series: series of one target that are watched for drops; more are not.
    """

    frozen_after_seconds: float = 90.0
    frozen_after_scrapes: int = 6
    idle_after_seconds: float = 60.0
    held_seconds: float = 60.0
    clock_off_seconds: float = 30.0
    most_series: int = 20_000


def seconds_text(seconds: float) -> str:
    """A duration for people: "4 s", "90 s", "25 min", "1 h 0 min"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
