"""One request told twice: by the engine that did it, a server in front of it, and its caller.

All of them lie in one trace. The nearest to the work is kept, because it alone knows queue and
prefill; what others tell of the same request is left out. Two spans are of the same request when
one is the other's parent or when the outer one covers the inner one in time (there may be HTTP
spans in between that nobody sent here). A span nearer to the work stands for one span of each outer
rank: its parent, else the tightest around it.

A gateway of servescope tells of each attempt by a row of its own. It alone knows tenant, line and
attempt, so its row stays, and what the engine tells of the same request is folded into it.

What was seen lately is remembered, so it does not matter which of them comes first. The memory is
bounded and is lost with the process: spans of one request that come more than `most_traces` traces
apart, or on both sides of a restart, are both kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import Lock

from collector.otlp.requests import GATEWAY_RANK, Request

MOST_TRACES = 50_000
MOST_SPANS_OF_A_TRACE = 64
CLOCK_SLACK_NS = 50_000_000

Identity = tuple[str, int]
"""Of a stored row: request_id, arrived_at in microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of an export's requests.

    Attributes:
        kept: those that become rows.
        told_by_others: how many are left out because one nearer to the work tells of them.
        superseded: stored rows of callers that turn out to be the same as a kept one:
            (request_id, arrived_at in microseconds).
        folds: pairs of rows of one request: the gateway's, that stays, and the engine's.
    """

    kept: list[Request]
    told_by_others: int
    superseded: list[Identity]
    folds: list[tuple[Identity, Identity]] = field(default_factory=list)


@dataclass(slots=True)
class _Seen:
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    rank: int
    stands_for: dict[int, str] = field(default_factory=dict)
    """Rank further out -> the span of that rank that is the same request."""
    gateway_id: str = ""
    """`request_id` of a gateway's row; "" for every other span."""

    @property
    def own_id(self) -> str:
        """Attempts of one request may share a span; their rows do not."""
        return self.gateway_id or self.span_id

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
                if self._is_new(request, judged):
                    judged.kept.append(request)
                else:
                    left_out += 1
            self._forget()
        return Judgement(judged.kept, left_out, judged.superseded, judged.folds)

    def _is_new(self, request: Request, judged: Judgement) -> bool:
        known = self._newer.get(request.trace_id) or self._older.get(request.trace_id)
        told = _Seen(
            request.span_id, request.parent_id, request.start_ns, request.end_ns, request.rank
        )
        if request.rank == GATEWAY_RANK:
            told.gateway_id = request.row[0]
        if known is None:
            self._newer[request.trace_id] = [told]
            return True
        if any(seen.own_id == told.own_id for seen in known):
            return self._again(request.trace_id, told, known, judged)
        inner = next(_same_inside(told, known), None)
        own = _identity(request.trace_id, told)
        if inner is not None:
            inner.stands_for[told.rank] = told.own_id
        if inner is not None and told.gateway_id:
            judged.folds.append((own, _identity(request.trace_id, inner)))
        if inner is None or told.gateway_id:
            self._outer(request.trace_id, told, known, judged)
        if len(known) < MOST_SPANS_OF_A_TRACE:
            known.append(told)
        return inner is None or bool(told.gateway_id)

    def _again(self, trace_id: str, told: _Seen, known: list[_Seen], judged: Judgement) -> bool:
        """Sent again: as before."""
        if told.gateway_id:
            return True
        before = next(seen for seen in known if seen.own_id == told.own_id)
        gateway_id = before.stands_for.get(GATEWAY_RANK)
        for seen in known:
            if seen.gateway_id and seen.gateway_id == gateway_id:
                judged.folds.append((_identity(trace_id, seen), _identity(trace_id, told)))
        return not any(seen.stands_for.get(told.rank) == told.own_id for seen in known)

    def _outer(self, trace_id: str, told: _Seen, known: list[_Seen], judged: Judgement) -> None:
        """Rows further out that `told` is the same request as: callers' go, gateways' stay."""
        for seen in _claim(told, known):
            if seen.gateway_id:
                judged.folds.append((_identity(trace_id, seen), _identity(trace_id, told)))
            else:
                judged.superseded.append(_identity(trace_id, seen))

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
    taken = {own_id for seen in known for own_id in seen.stands_for.values()}
    for rank in sorted({seen.rank for seen in known if seen.rank > told.rank}):
        around = [
            seen
            for seen in known
            if seen.rank == rank and seen.own_id not in taken and seen.covers(told)
        ]
        if around:
            nearest = min(
                around,
                key=lambda seen: (seen.span_id != told.parent_id, seen.end_ns - seen.start_ns),
            )
            told.stands_for[rank] = nearest.own_id
            yield nearest


def _identity(trace_id: str, seen: _Seen) -> Identity:
    return (seen.gateway_id or f"{trace_id}:{seen.span_id}", seen.start_ns // 1000)
