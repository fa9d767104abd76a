"""One request told twice: by the engine that did it, a server in front of it, and its caller.

All of them lie in one trace. The nearest to the work is kept, because it alone knows queue and
prefill; what others tell of the same request is left out. Two spans are of the same request when
one is the other's parent or when the outer one covers the inner one in time (there may be HTTP
spans in between that nobody sent here). A span nearer to the work stands for one span of each outer
rank: its parent, else the tightest around it.

What was seen lately is remembered, so it does not matter which of them comes first. The memory is
bounded and is lost with the process: spans of one request that come more than `most_traces` traces
apart, or on both sides of a restart, are both kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import Lock

from collector.otlp.requests import Request

MOST_TRACES = 50_000
MOST_SPANS_OF_A_TRACE = 64
CLOCK_SLACK_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of an export's requests.

    Attributes:
        kept: those that become rows.
        told_by_others: how many are left out because one nearer to the work tells of them.
        superseded: stored rows of callers that turn out to be the same as a kept one:
            (request_id, arrived_at in microseconds).
    """

    kept: list[Request]
    told_by_others: int
    superseded: list[tuple[str, int]]


@dataclass(slots=True)
class _Seen:
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    rank: int
    stands_for: dict[int, str] = field(default_factory=dict)
    """Rank further out -> the span of that rank that is the same request."""

    def covers(self, inner: _Seen) -> bool:
        """Whether this is the same request as `inner`, seen from further out."""
        return inner.parent_id == self.span_id or (
            self.start_ns - CLOCK_SLACK_NS <= inner.start_ns
            and inner.end_ns <= self.end_ns + CLOCK_SLACK_NS
        )


class Duplicates:
    """Remembers the requests of recent traces; any thread may ask.

    Args:
        most_traces: traces remembered; the oldest are forgotten.
    """

    def __init__(self, most_traces: int = MOST_TRACES) -> None:
        self._most_traces = most_traces
        self._lock = Lock()
        # Two halves: the older one is forgotten at once, which costs nothing for each trace.
        self._newer: dict[str, list[_Seen]] = {}
        self._older: dict[str, list[_Seen]] = {}

    def __len__(self) -> int:
        """Traces that are remembered."""
        return len(self._newer) + len(self._older)

    def judge(self, requests: Iterable[Request]) -> Judgement:
        """Decide which of an export's requests are kept, the nearest to the work first."""
        judged = Judgement([], 0, [])
        left_out = 0
        with self._lock:
            for request in sorted(requests, key=lambda told: told.rank):
                if self._is_new(request, judged.superseded):
                    judged.kept.append(request)
                else:
                    left_out += 1
            self._forget()
        return Judgement(judged.kept, left_out, judged.superseded)

    def _is_new(self, request: Request, superseded: list[tuple[str, int]]) -> bool:
        known = self._newer.get(request.trace_id) or self._older.get(request.trace_id)
        told = _Seen(
            request.span_id, request.parent_id, request.start_ns, request.end_ns, request.rank
        )
        if known is None:
            self._newer[request.trace_id] = [told]
            return True
        if any(seen.span_id == told.span_id for seen in known):
            # Sent again: as before.
            return not any(seen.stands_for.get(told.rank) == told.span_id for seen in known)
        inner = next(_same_inside(told, known), None)
        if inner is not None:
            inner.stands_for[told.rank] = told.span_id
        else:
            superseded += (_identity(request.trace_id, seen) for seen in _claim(told, known))
        if len(known) < MOST_SPANS_OF_A_TRACE:
            known.append(told)
        return inner is None

    def _forget(self) -> None:
        if len(self._newer) > self._most_traces // 2:
            self._newer, self._older = {}, self._newer


def _same_inside(told: _Seen, known: list[_Seen]) -> Iterator[_Seen]:
    """Spans nearer to the work that `told` tells of again."""
    for seen in known:
        if seen.rank < told.rank and told.rank not in seen.stands_for and told.covers(seen):
            yield seen


def _claim(told: _Seen, known: list[_Seen]) -> Iterator[_Seen]:
    """For each rank further out, the one span that is the same request as `told`."""
    taken = {span_id for seen in known for span_id in seen.stands_for.values()}
    for rank in sorted({seen.rank for seen in known if seen.rank > told.rank}):
        around = [
            seen
            for seen in known
            if seen.rank == rank and seen.span_id not in taken and seen.covers(told)
        ]
        if around:
            nearest = min(
                around,
                key=lambda seen: (seen.span_id != told.parent_id, seen.end_ns - seen.start_ns),
            )
            told.stands_for[rank] = nearest.span_id
            yield nearest


def _identity(trace_id: str, seen: _Seen) -> tuple[str, int]:
    return (f"{trace_id}:{seen.span_id}", seen.start_ns // 1000)
