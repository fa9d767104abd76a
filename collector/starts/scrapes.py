"""What a collector sees of a start from outside: the process, the first answer, the first token.

Everything is as fine as the time between two scrapes, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from collector.starts.observation import StartObservation

# A first answer so long after the process began is no start that was watched.
LONGEST_START = timedelta(hours=1)
ENGINE_PHASES: Mapping[str, str] = {
    "load_weight": "weights",
    "load_weights": "weights",
    "kv_cache_allocation": "kv_cache",
    "cuda_graph": "graph_capture",
    "graph_capture": "graph_capture",
    "compile": "compile",
    "warmup": "warmup",
}
"""Phase of SGLang's `startup_time_seconds` -> ours; others count as engine set-up."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One process as the scrapes of its target show it; times aware UTC.

    Attributes:
        instance: host and port.
        process_started_at: what its page says.
        first_answer_at: the first scrape that worked since.
        watched_since: when it was first asked, before or after the process began.
        refused_before: whether a scrape failed between the beginning and the first answer.
        first_token_at: the first scrape that showed generated tokens; None so far.
        model: what it serves.
        node: where it runs.
        phase_seconds: lengths of phases that the engine itself exposes, in their order.
    """

    instance: str
    process_started_at: datetime
    first_answer_at: datetime
    watched_since: datetime
    refused_before: bool = False
    first_token_at: datetime | None = None
    model: str | None = None
    node: str | None = None
    phase_seconds: Mapping[str, float] = field(default_factory=dict)


def observe_scrapes(seen: Watched) -> list[StartObservation]:
    """A start, if it was watched: an engine found running tells nothing about its start.

    The first answer is the moment of being ready only when somebody asked before it.
    """
    began, answered = seen.process_started_at, seen.first_answer_at
    was_watched = seen.watched_since <= began or seen.refused_before
    if not was_watched or not began < answered <= began + LONGEST_START:
        return []

    def told(phase: str, start: datetime, end: datetime, evidence: str) -> StartObservation:
        return StartObservation(
            seen.instance, phase, start, end, evidence, model=seen.model, node=seen.node
        )

    words = "agent: first answer after the process began"
    found = [
        told("container", began, answered, "agent: process start to first answer"),
        told("ready", answered, answered, words),
    ]
    end = answered
    for name, seconds in reversed(list(seen.phase_seconds.items())):
        start = max(began, end - timedelta(seconds=max(0.0, seconds)))
        if end > start:
            phase = ENGINE_PHASES.get(name, "engine")
            found.append(
                told(phase, start, end, f"metric: startup_time_seconds of {name}, before ready")
            )
        end = start
    if seen.first_token_at is not None and seen.first_token_at >= answered:
        at = seen.first_token_at
        found.append(told("first_token", at, at, "agent: first scrape with generated tokens"))
    return found
