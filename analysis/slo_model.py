"""What an objective is: the nouns of `slo.toml`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from analysis.burn import AlertRule

SloKind = Literal["availability", "ttft", "tpot", "e2e", "goodput"]
KINDS: tuple[SloKind, ...] = ("availability", "ttft", "tpot", "e2e", "goodput")
# Where in a request row, and in an engine's histograms, each objective is measured.
QUANTITIES = {"ttft": "ttft_seconds", "tpot": "tpot_seconds", "e2e": "e2e_seconds"}
MINIMUM_BAD_EVENTS = 20
CalendarUnit = Literal["day", "week", "month", "quarter"]
# About as long as each is: what alert windows are scaled to, as those of a rolling window are.
NOMINAL_SECONDS: dict[CalendarUnit, float] = {
    "day": 86_400.0,
    "week": 7 * 86_400.0,
    "month": 30 * 86_400.0,
    "quarter": 90 * 86_400.0,
}


@dataclass(frozen=True, slots=True)
class SloMatch:
    """Which requests an SLO is about; empty means all.

    Attributes:
        sources: source names.
        models: model names.
        tenants: tenant names.
        routes: route names.
        classes: SLO classes that requests carry.
    """

    sources: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Calendar:
    """A budget that is whole again where a calendar period begins.

    Attributes:
        unit: the period; weeks begin on Monday (ISO 8601), quarters in January, April, July and
            October.
        zone: IANA name of the clock at whose midnight it begins.
    """

    unit: CalendarUnit
    zone: str = "UTC"

    def __str__(self) -> str:
        return f"the calendar {self.unit} ({self.zone})"


@dataclass(frozen=True, slots=True)
class Slo:
    """One service-level objective.

    Attributes:
        name: unique; lower-case letters, digits and dashes, since it stands in URLs.
        kind: what makes a request good, besides having succeeded.
        target_ratio: share of attempted requests that must be good, 0 < target < 1.
        window_seconds: the rolling window its budget is counted over; of a calendar period its
            usual length, which alert windows are scaled to.
        ttft_seconds: longest time to first token that is good; None when not part of it.
        tpot_seconds: longest mean time per output token that is good.
        e2e_seconds: longest whole duration that is good.
        match: which requests it is about.
        alerts: burn-rate rules; those of `default_alerts` when the file names none.
        minimum_bad_events: with fewer bad requests than this in the window no alarm is raised.
        count_aborted: whether a request its client gave up counts as bad (else it is left out).
        description: for people.
        where: "file:line" it was read from.
        calendar: the period its budget is counted over; None where the window rolls.
    """

    name: str
    kind: SloKind
    target_ratio: float
    window_seconds: float
    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    e2e_seconds: float | None = None
    match: SloMatch = field(default_factory=SloMatch)
    alerts: tuple[AlertRule, ...] = ()
    minimum_bad_events: int = MINIMUM_BAD_EVENTS
    count_aborted: bool = True
    description: str = ""
    where: str = ""
    calendar: Calendar | None = None

    @property
    def limits_seconds(self) -> dict[str, float]:
        """Request column -> largest good value in seconds; empty for availability."""
        limits = {
            "ttft_seconds": self.ttft_seconds,
            "tpot_seconds": self.tpot_seconds,
            "e2e_seconds": self.e2e_seconds,
        }
        return {column: limit for column, limit in limits.items() if limit is not None}

    @property
    def objective_text(self) -> str:
        """The objective as a sentence: "99 % of requests: TTFT <= 500 ms, over 30 d"."""
        share = f"{self.target_ratio * 100:.6g} % of requests"
        parts = [
            f"{column.removesuffix('_seconds').upper()} <= {short_seconds(limit)}"
            for column, limit in self.limits_seconds.items()
        ]
        what = " and ".join(parts) if parts else "succeed"
        return f"{share}: {what}, over {self.window_text}"

    @property
    def window_text(self) -> str:
        """What the budget is counted over: "30 d", "the calendar month (Europe/Berlin)"."""
        return short_window(self.window_seconds) if self.calendar is None else str(self.calendar)


def short_seconds(seconds: float) -> str:
    """A latency for people: "500 ms", "2 s"."""
    return f"{seconds * 1000:.4g} ms" if seconds < 1 else f"{seconds:.4g} s"


def short_window(seconds: float) -> str:
    """A window for people, short and in the largest fitting unit: "30 d", "16.8 h", "84 min"."""
    for unit, size, least in (("d", 86_400, 2), ("h", 3600, 2), ("min", 60, 2)):
        whole = seconds >= size and seconds % size == 0
        if whole or seconds >= least * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
