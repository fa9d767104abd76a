"""One start of an instance: its phases partition the time until it was ready.

Evidence comes from several places and overlaps: Kubernetes says when the container ran, the engine
says when it read its weights. Each moment belongs to exactly one phase, by a stated order:

1. the more specific phase (`DEPTHS`): weights lie inside engine, which lies inside container;
2. the better evidence (`EVIDENCE`): a trace before a metric, a log line, the agent, Kubernetes;
3. the one that began later, then the shorter, then by name.

What nothing covers is *unattributed*; it is never spread over the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

UNATTRIBUTED = "unattributed"
SHOWN = ("schedule", "init", "image", "container", "process", "engine", "weights", "compile",
         "kv_cache", "probe", UNATTRIBUTED)  # fmt: skip
"""Phases as they are shown, in the order in which they usually come."""
DEPTHS: Mapping[str, tuple[str, int]] = {
    "schedule": ("schedule", 1),
    "init": ("init", 1),
    "image": ("image", 3),
    "container": ("container", 0),
    "process": ("process", 2),
    "engine": ("engine", 2),
    "engine_core": ("engine", 3),
    "executor": ("engine", 4),
    "worker": ("engine", 4),
    "api_server": ("engine", 3),
    "device": ("engine", 5),
    "model": ("engine", 5),
    "build": ("engine", 6),
    "download": ("weights", 6),
    "weights": ("weights", 7),
    "warmup": ("compile", 6),
    "compile": ("compile", 7),
    "graph_capture": ("compile", 7),
    "kv_cache": ("kv_cache", 7),
    "probe": ("probe", 2),
}
"""Observed phase -> the phase it is shown as, and how specific it is. Others are not a phase."""
EVIDENCE = ("span", "metric", "log", "agent", "kubernetes")
READY, FIRST_TOKEN, FAILED = "ready", "first_token", "failed"
MARKS = (READY, FIRST_TOKEN, FAILED)
# Which evidence of being ready counts: traffic comes when Kubernetes says so.
READY_EVIDENCE = ("kubernetes", "log", "span", "metric", "agent")


@dataclass(frozen=True, slots=True)
class Observation:
    """One phase as one witness saw it; whole microseconds since 1970 UTC.

    Attributes:
        phase: a key of `DEPTHS`, or one of `MARKS`.
        started_us: when it began.
        ended_us: when it ended; not before it began.
        evidence: who says so.
    """

    phase: str
    started_us: int
    ended_us: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a start that belongs to one phase, and by whose word."""

    phase: str
    started_us: int
    ended_us: int
    source: str

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.ended_us - self.started_us) / 1e6


def source_of(evidence: str) -> str:
    """The kind of witness: a word of `EVIDENCE`, or "other"."""
    text = evidence.lower()
    return next((word for word in EVIDENCE if word in text), "other")


def partition(
    observations: Iterable[Observation], begin_us: int, end_us: int
) -> tuple[Segment, ...]:
    """Cut [begin, end) into segments without overlap or hole; they add up to it exactly.

    Args:
        observations: what was seen, in any order; what lies outside is cut off, what is no phase
            is left out.
        begin_us: start of the whole.
        end_us: end of the whole, >= begin.

    Returns:
        segments in order of time; neighbours of one phase and one source are one segment.
    """
    inside = [
        item for item in observations
        if item.phase in DEPTHS and item.ended_us > begin_us and item.started_us < end_us
        and item.ended_us > item.started_us
    ]  # fmt: skip
    cuts = {begin_us, end_us}
    for item in inside:
        cuts |= {max(begin_us, item.started_us), min(end_us, item.ended_us)}
    edges = sorted(cuts)
    segments: list[Segment] = []
    for low, high in itertools.pairwise(edges):
        owner = _owner(inside, low, high)
        phase = DEPTHS[owner.phase][0] if owner else UNATTRIBUTED
        source = source_of(owner.evidence) if owner else ""
        last = segments[-1] if segments else None
        if last is not None and (last.phase, last.source) == (phase, source):
            segments[-1] = Segment(phase, last.started_us, high, source)
        else:
            segments.append(Segment(phase, low, high, source))
    return tuple(segments)


def _owner(items: Sequence[Observation], low: int, high: int) -> Observation | None:
    covering = [item for item in items if item.started_us <= low and item.ended_us >= high]
    return max(covering, key=_rank, default=None)


def _rank(item: Observation) -> tuple[int, int, int, int, str]:
    source = source_of(item.evidence)
    trust = -EVIDENCE.index(source) if source in EVIDENCE else -len(EVIDENCE)
    length = item.ended_us - item.started_us
    return DEPTHS[item.phase][1], trust, item.started_us, -length, item.phase


def ready_marks(observations: Iterable[Observation]) -> list[Observation]:
    """Marks of readiness, the one that counts first, then the earlier."""

    def order(item: Observation) -> tuple[int, int]:
        source = source_of(item.evidence)
        known = READY_EVIDENCE.index(source) if source in READY_EVIDENCE else len(READY_EVIDENCE)
        return known, item.started_us

    return sorted((item for item in observations if item.phase == READY), key=order)


def with_probe(observations: Sequence[Observation]) -> list[Observation]:
    """The observations, and the wait of a ready engine for the platform to believe it.

    Between the engine's own word that it serves and Kubernetes' condition lies the readiness probe.
    """
    marks = ready_marks(observations)
    if len(marks) < 2 or source_of(marks[0].evidence) != "kubernetes":
        return list(observations)
    last, own = marks[0], min(marks[1:], key=lambda item: item.started_us)
    if own.started_us >= last.started_us:
        return list(observations)
    evidence = f"{last.evidence} after {source_of(own.evidence)}"
    return [*observations, Observation("probe", own.started_us, last.started_us, evidence)]
