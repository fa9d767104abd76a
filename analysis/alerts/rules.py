"""The rules there are, as data: what each means, how patient it is, and its thresholds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from analysis.alerts.model import Reading, Severity

if TYPE_CHECKING:
    from analysis.slo_model import Slo
    from store.reader import Reader


@dataclass(frozen=True, slots=True)
class Told:
    """What only the running process knows.

    Attributes:
        free_bytes: (aware UTC, free bytes beside the store), oldest first.
        reserve_bytes: free bytes below which the store takes nothing more.
    """

    free_bytes: Sequence[tuple[datetime, float]] = ()
    reserve_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Watch:
    """What a rule looks at.

    Attributes:
        reader: the store.
        now: aware UTC.
        slos: objectives in force.
        limits: its thresholds by name.
        told: what only the process knows.
        shared: what rules that are asked together need not read twice.
    """

    reader: Reader
    now: datetime
    slos: Sequence[Slo] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    told: Told = field(default_factory=Told)
    shared: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold of a rule: its default, the range it may have, and what it means."""

    value: float
    least: float
    most: float
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: unique; names its runbook, and is the label `alertname`.
        severity: "page" wakes somebody, "ticket" waits until morning.
        meaning: one sentence; `{limit}` stands for a threshold.
        place: "module:function" that answers with readings.
        for_seconds: how long its condition must hold.
        keep_seconds: how long it must be over.
        is_whole: whether a thing it does not mention is gone, rather than unknown.
        every_seconds: how long an answer stands before it is asked again; 0 is every time.
        limits: its thresholds.
    """

    name: str
    severity: Severity
    meaning: str
    place: str
    for_seconds: float
    keep_seconds: float
    is_whole: bool = True
    every_seconds: float = 0.0
    limits: Mapping[str, Limit] = field(default_factory=lambda: MappingProxyType({}))

    def ask(self, watch: Watch) -> Sequence[Reading]:
        """What it says now; imported on first use."""
        module, name = self.place.split(":")
        function: Callable[[Watch], Sequence[Reading]] = getattr(
            importlib.import_module(module), name
        )
        return function(watch)


_SHARE = (0.0, 1.0)
_SECONDS = (1.0, 604_800.0)
_ALL = (
    Rule(
        "outage", "page",
        "At least {bad_ratio} of the requests to a model fail, are refused or are given up, or all"
        " its instances are silent; or so many requests of one tenant fail.",
        "analysis.alerts.rules_outage:outage", 0.0, 120.0, is_whole=False,
        limits={
            "bad_ratio": Limit(0.9, *_SHARE, "share of bad requests, of all that came"),
            "least_bad": Limit(10, 3, 100_000, "bad requests that are needed at least"),
            "window_seconds": Limit(120.0, 30.0, 3600.0, "looked back; twice that for few"),
            "silent_seconds": Limit(60.0, *_SECONDS, "all instances silent for so long"),
        },
    ),
    Rule(
        "slo-burn-fast", "page",
        "An objective's error budget burns so fast that 2 % is gone in an hour or 5 % in six, over"
        " a long and a short window alike (14.4 over 1 h and 5 min, 6 over 6 h and 30 min).",
        "analysis.alerts.rules_slo:burns_fast", 0.0, 300.0,
    ),
    Rule(
        "slo-burn-slow", "ticket",
        "An objective's error budget burns so that it will not last its window (3 over 1 d and 2 h,"
        " 1 over 3 d and 6 h).",
        "analysis.alerts.rules_slo:burns_slowly", 0.0, 21_600.0,
    ),
    Rule(
        "fairness-bound", "ticket",
        "A gateway lets two tenants that wait come farther apart in service than its line"
        " promises.",
        "analysis.alerts.rules_fleet:fairness_bound", 60.0, 900.0,
    ),
    Rule(
        "instance-degraded", "ticket",
        "An instance takes at least {slowdown_factor} times as long per token as it used to at its"
        " load, with all of the 95 % interval.",
        "analysis.alerts.rules_fleet:instance_degraded", 600.0, 900.0, is_whole=False,
        # It reads seven hours of samples; its parts last 30 s.
        every_seconds=60.0,
        limits={"slowdown_factor": Limit(1.25, 1.0, 100.0, "lower end of the 95 % interval")},
    ),
    Rule(
        "telemetry-stale", "ticket",
        "A target, an agent or a gateway says nothing any more, so what rests on it is unknown.",
        "analysis.alerts.rules_fleet:telemetry_stale", 120.0, 120.0,
    ),
    Rule(
        "predictor-drift", "ticket",
        "Outcomes fall elsewhere than a predictor says: the world moved away from what it learnt,"
        " {least_events} times within {window_seconds} s.",
        "analysis.alerts.rules_act:predictor_drift", 0.0, 0.0,
        limits={
            "window_seconds": Limit(21_600.0, *_SECONDS, "looked back"),
            "least_events": Limit(2, 1, 50, "drifts within the window"),
        },
    ),
    Rule(
        "forecast-miss", "ticket",
        "Fewer than {inside_ratio} of the outcomes lie inside the 90 % interval of the demand that"
        " was forecast.",
        "analysis.alerts.rules_act:forecast_miss", 900.0, 3600.0, is_whole=False,
        limits={
            "window_seconds": Limit(21_600.0, *_SECONDS, "looked back"),
            "inside_ratio": Limit(0.6, *_SHARE, "share inside the 90 % interval"),
            "least_outcomes": Limit(30, 10, 100_000, "outcomes that are needed at least"),
        },
    ),
    Rule(
        "controller-held", "ticket",
        "A pool has not had the replicas that were decided, or its policy gave no answer, for"
        " {for_seconds} s.",
        "analysis.alerts.rules_act:controller_held", 900.0, 300.0,
    ),
    Rule(
        "disk-nearly-full", "page",
        "The disk below the store is nearly full, or will be within {hours} h at its pace.",
        "analysis.alerts.rules_own:disk_nearly_full", 300.0, 1800.0,
        limits={
            "hours": Limit(12.0, 0.1, 720.0, "until the reserve is reached"),
            "reserves": Limit(2.0, 1.0, 100.0, "free, in multiples of store.disk_reserve_bytes"),
        },
    ),
    Rule(
        "report-failed", "ticket",
        "The newest report of a schedule could not be made, or a channel never took it.",
        "analysis.alerts.rules_own:report_failed", 0.0, 0.0,
    ),
    Rule(
        "job-failing", "ticket",
        "A job of the server failed at its last {least_failures} runs.",
        "analysis.alerts.rules_own:job_failing", 0.0, 0.0,
        limits={"least_failures": Limit(2, 1, 100, "failures one after the other")},
    ),
)  # fmt: skip
RULES: Mapping[str, Rule] = MappingProxyType({rule.name: rule for rule in _ALL})


def meaning(rule: Rule, limits: Mapping[str, float], for_seconds: float) -> str:
    """What a rule means, with its numbers."""
    words = {
        name: f"{value * 100:g} %" if name.endswith("_ratio") else f"{value:g}"
        for name, value in limits.items()
    }
    return rule.meaning.format(**words, for_seconds=f"{for_seconds:g}")
