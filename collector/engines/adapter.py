"""What an engine adapter is: rows that say which exposed metric feeds which signal.

A new engine is a new table of `Rule` rows (see `vllm.py`), one entry in `registry.py` and a
captured page in the tests. There is no code per engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Across = Literal["sum", "mean", "max", "newest"]
Reads = Literal["value", "label_number", "label_names"]
Role = Literal["engine", "gateway", "exporter"]
Operation = Literal["/", "*", "+", "-"]

MODEL: Mapping[str, str] = {"model_name": "model"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of an adapter: family on the wire -> canonical signal.

    Args:
        family: name behind the engine's prefix; of a counter, `_total` may be there or not.
        signal: name in `store.signals`; it gives the kind and the unit.
        labels: exposed label -> our label; every other label is aggregated over.
        max_over: labels whose values repeat one and the same number (tensor- and pipeline-parallel
            ranks): of those the largest counts, before `across` puts the rest together. Of
            histograms the one with the most observations.
        across: how series that fall together are put together. `newest` takes the series with the
            largest exposed value, for info families whose value is a time.
        factor: exposed value times this is our unit (edges and sums of a histogram too).
        where: only series that carry these label values; "" also for a label that is not there.
        fixed: labels of ours that the row itself knows.
        unless: no series that carries one of these label values; `veth*` is any that begins so,
            "" also a label that is not there (Prometheus drops empty ones when it sends them on).
        declared: only when the page gives the family this TYPE; "" = whatever it says.
        zero_is_unknown: 0 means that nobody measured.
        reads: the number is the exposed value, a number in the label `label`, or how many
            comma-separated names that label holds.
        label: the label that `reads` means.
        prefixed: False for a family without the engine's prefix, such as `process_*`.
        fallback: read only when no other rule fed the signal from this page; for old names, which
            engines show beside the new ones for a release or two.
        since: first release of the engine that exposes it, "" = as long as we know. For people and
            for coverage: what a page means goes by the names on it.
        until: first release without it, "" = still there.
        became: the family that replaced it.
        defined_as: what exactly is measured, where engines differ; numbers compare only between
            equal definitions.
        formula: how the number comes about where it is not exposed as such; makes the cell derived.
        note: what to know before trusting it.
    """

    family: str
    signal: str
    labels: Mapping[str, str] = field(default_factory=lambda: MODEL)
    across: Across = "sum"
    max_over: tuple[str, ...] = ()
    factor: float = 1.0
    where: tuple[tuple[str, str], ...] = ()
    unless: tuple[tuple[str, str], ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()
    declared: str = ""
    zero_is_unknown: bool = False
    reads: Reads = "value"
    label: str = ""
    prefixed: bool = True
    fallback: bool = False
    since: str = ""
    until: str = ""
    became: str = ""
    defined_as: str = ""
    formula: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Zeros:
    """Observations of 0 that stand for "cannot be said" and are taken out of a histogram.

    Args:
        signal: the histogram that holds them.
        counted_by: a histogram of the same requests that tells how many there are.
        at_most: they are its observations up to this edge.
    """

    signal: str
    counted_by: str
    at_most: float


@dataclass(frozen=True, slots=True)
class Derived:
    """A signal worked out from two others of the same page; left out where the page tells it.

    Args:
        signal: name in `store.signals`.
        left: signal on the left of the operation.
        operation: what to do.
        right: signal on the right; series are matched by their labels.
        note: what to know before trusting it.
    """

    signal: str
    left: str
    operation: Operation
    right: str
    note: str = ""

    @property
    def formula(self) -> str:
        """For people."""
        return f"{self.left} {self.operation} {self.right}"


@dataclass(frozen=True, slots=True)
class Absent:
    """Signals that an engine does not tell, and why (or where else the answer is)."""

    signals: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Fact:
    """Where an engine tells what it is: a JSON answer at `path`, read along `keys`."""

    path: str
    keys: tuple[str | int, ...]
    about: Literal["engine_version", "model"]


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine, gateway or exporter.

    Args:
        name: what the store and the pages call it.
        prefixes: beginnings of its metric names, all spellings (see `spelled`). They tell whose
            page it is, and a family behind one of them that no rule names is counted as unknown.
            `("",)` never identifies: then all rules are `prefixed=False`.
        rules: the adapter. Behind every prefix the same families.
        derived: signals worked out from others.
        zeros: observations that are no measurements.
        absent: signals it does not tell, with the reason.
        ignored: families left out on purpose, with the reason.
        role: engines win over gateways and those over exporters when one page feeds a signal twice.
        facts: paths to ask for version and model, with the keys to look under.
        restart_header: response header that changes when the process restarts.
        selective: the rows name what is wanted of very many families; others are not counted as
            unknown.
        reference: the release that the table was read in.
        page: where its metrics are, for people.
    """

    name: str
    prefixes: tuple[str, ...]
    rules: tuple[Rule, ...]
    ignored: Mapping[str, str]
    derived: tuple[Derived, ...] = ()
    zeros: tuple[Zeros, ...] = ()
    absent: tuple[Absent, ...] = ()
    role: Role = "engine"
    facts: tuple[Fact, ...] = ()
    restart_header: str | None = None
    selective: bool = False
    reference: str = ""
    page: str = "/metrics"

    def behind_prefix(self, name: str) -> str | None:
        """The family part of one of this engine's metric names; None for another's name.

        >>> Engine("vllm", spelled("vllm"), (), {}).behind_prefix("ray_vllm_num_requests_running")
        'num_requests_running'
        """
        best = max((p for p in self.prefixes if p and name.startswith(p)), key=len, default=None)
        rest = None if best is None else name[len(best) :]
        return rest or None


def spelled(name: str) -> tuple[str, ...]:
    """Every way in which an engine's prefix with a colon arrives.

    Colons become underscores when a scraper negotiates OpenMetrics without `escaping=allow-utf-8`
    (client_python 0.23 and later) and under Ray, which also puts its own name in front.
    """
    return (f"{name}:", f"{name}_", f"ray_{name}:", f"ray_{name}_")


def left_out(why: str, *families: str) -> dict[str, str]:
    """Families that are ignored for one reason, for `Engine.ignored`."""
    return dict.fromkeys(families, why)


PROCESS_RULES = (
    Rule(
        "process_start_time_seconds",
        "engine_start_unix_seconds",
        labels={},
        across="max",
        prefixed=False,
        note="The process that serves the page; engine cores may have restarted on their own.",
    ),
    Rule("process_resident_memory_bytes", "process_memory_bytes", labels={}, prefixed=False),
    Rule("process_cpu_seconds_total", "process_cpu_seconds_total", labels={}, prefixed=False),
)
