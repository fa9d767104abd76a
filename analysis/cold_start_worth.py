"""Was it worth the start: when each replica was warm, and how long somebody used it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from analysis.cold_start_starts import Start
from analysis.cold_start_utility import KEPT, START, STARTED, STOPPED, utility
from analysis.cold_start_warmth import Warmth, warmth
from analysis.instances import instance_name
from store.queries import choices
from store.queries import cold_start_life as queries
from store.queries.scope import Scope
from store.reader import Reader


@dataclass(frozen=True, slots=True)
class Worth:
    """What became of one start.

    Attributes:
        start: it.
        stopped_at: when the next start of the instance began; None: it is still there.
        used_at: when somebody last used it; None where nothing tells.
        warmth: None where no request of it tells a time to first token.
    """

    start: Start
    stopped_at: datetime | None
    used_at: datetime | None
    warmth: Warmth | None


def worths(reader: Reader, scope: Scope, found: Sequence[Start]) -> list[Worth]:
    """What became of every start that became ready, in the order of `found`."""
    end = scope.end.replace(tzinfo=None)
    ready = [start for start in found if start.ready_at is not None]
    stops = [_next(start, found) for start in ready]
    spans = [
        (start.instance, start.ready_at or end, stop or end)
        for start, stop in zip(ready, stops, strict=True)
    ]
    targets = [
        (instance_name(url), int(number))
        for number, url in choices.targets(reader).select("target_id", "url").iter_rows()
    ]
    used = queries.used_until(reader, scope, spans, targets)
    warm = _warmths(reader, scope, ready, spans)
    return [Worth(*one) for one in zip(ready, stops, used, warm, strict=True)]


def worth_frame(found: Sequence[Worth]) -> pl.DataFrame:
    """By model: replicas, utility_p10/p50/p90, below_one_ratio, start_ratio, still_running."""
    rows = [
        (
            one.start.model,
            one.start.began_at,
            one.stopped_at,
            one.start.ready_seconds,
            (one.stopped_at - one.used_at).total_seconds()
            if one.stopped_at and one.used_at
            else None,
        )
        for one in found
        # What nobody tells about was not idle all the time: it is unknown, and left out.
        if one.used_at is not None or one.stopped_at is None
    ]
    schema: dict[str, Any] = {
        "model": pl.String, STARTED: pl.Datetime("us"), STOPPED: pl.Datetime("us"),
        START: pl.Float64, KEPT: pl.Float64,
    }  # fmt: skip
    return utility(pl.DataFrame(rows, schema=schema, orient="row"), by=("model",))


def _next(start: Start, found: Sequence[Start]) -> datetime | None:
    later = [
        s.began_at for s in found if s.instance == start.instance and s.began_at > start.began_at
    ]
    return min(later, default=None)


def _warmths(
    reader: Reader, scope: Scope, ready: Sequence[Start], spans: Sequence[queries.Span]
) -> list[Warmth | None]:
    answers = queries.first_answers(reader, scope, spans)
    steady = queries.steady_ttft(reader, scope)
    made: list[Warmth | None] = []
    for number, start in enumerate(ready):
        mine = answers.filter(pl.col("number") == number)
        usual = steady.get(start.model)
        if mine.is_empty() or usual is None:
            made.append(None)
            continue
        told = (mine["since_ready_seconds"].to_list(), mine["ttft_seconds"].to_list())
        made.append(warmth(*told, steady_seconds=usual))
    return made
