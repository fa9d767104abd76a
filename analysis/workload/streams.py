"""The arrivals of each source of a scope, loaded once and counted once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.workload.arrivals import MICROSECONDS, ClockCheck
from analysis.workload.arrived import Stamped
from analysis.workload.loading import Member, NotingReader, bin_seconds, load_stamps
from analysis.workload.schemas import Schema
from analysis.workload.summed import HOUR_SECONDS, Summed, load_summed, sampled_enough
from store.queries.scope import Scope

# A wall clock without a date is kept from 1970-01-01; no request of a language model is that old.
_EARLIEST_DATE_US = 20 * 365 * 86_400 * MICROSECONDS
Arrived = Stamped | Summed
SUMMED_FROM_SECONDS = 2 * 86_400
"""Shorter ranges are read from the rows: their gaps are sampled too finely for the roll-up."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The arrivals of one source, or of several merged, and what is known of their clock.

    Attributes:
        name: what people call the source.
        arrived: its arrivals.
        has_calendar: whether they are dates rather than seconds from an unknown start.
        clock: grain of the stamps; None for a merged stream of several clocks.
    """

    name: str
    arrived: Arrived
    has_calendar: bool
    clock: ClockCheck | None

    @property
    def quantised_why(self) -> str | None:
        """Why gaps cannot be trusted; None when they can."""
        return self.clock.why if self.clock is not None and self.clock.quantised else None

    @property
    def lumped_why(self) -> str | None:
        """Why even the variation of gaps cannot be trusted; None when it can."""
        return self.quantised_why if self.clock is not None and self.clock.lumped else None


def load_streams(
    reader: NotingReader, scope: Scope, sources: Sequence[Member], *, with_charts: bool = True
) -> list[Stream]:
    """The streams of all sources that have a request in the scope.

    Args:
        reader: the store.
        scope: what is asked for.
        sources: of the scope.
        with_charts: whether rates over time are asked of them as well.
    """
    streams = []
    alone = len(sources) == 1
    for member in sources:
        arrived = _summed(reader, scope, with_charts) if alone and member.is_live else None
        if arrived is None:
            stamps = load_stamps(reader, scope, member)
            arrived = Stamped(stamps, on_clock=member.is_live) if stamps.size else None
        if arrived is not None:
            dated = member.has_calendar and arrived.first_us >= _EARLIEST_DATE_US
            streams.append(Stream(member.name, arrived, dated, arrived.clock))
    return streams


def _summed(reader: NotingReader, scope: Scope, with_charts: bool) -> Arrived | None:
    """The arrivals of the live fleet from its roll-up; None where that cannot tell all of them."""
    labelled = scope.models or scope.tenants or scope.routes or scope.instances
    if labelled or scope.seconds < SUMMED_FROM_SECONDS:
        return None
    found = load_summed(reader, scope)
    if found is None or not sampled_enough(found):
        return None
    width = bin_seconds(scope, span_seconds(found))
    return found if not with_charts or width % HOUR_SECONDS == 0 else None


def span_seconds(arrived: Arrived) -> float:
    """Seconds from the first to the last arrival."""
    return (arrived.last_us - arrived.first_us) / MICROSECONDS


def combined(streams: Sequence[Stream]) -> Stream:
    """All streams as one; the same object when there is only one.

    Args:
        streams: at least one.
    """
    if len(streams) == 1:
        return streams[0]
    stamps = [one.arrived.stamps for one in streams if isinstance(one.arrived, Stamped)]
    calendar = all(stream.has_calendar for stream in streams)
    name = ", ".join(stream.name for stream in streams)
    whole = np.sort(np.concatenate(stamps))
    return Stream(name, Stamped(whole, on_clock=False), calendar, None)


def by_source(
    streams: Sequence[Stream], schema: Schema, build: Callable[[Stream], pl.DataFrame]
) -> pl.DataFrame:
    """The rows `build` gives for each stream, with its name in the column `source`."""
    parts = [build(stream).with_columns(pl.lit(stream.name).alias("source")) for stream in streams]
    return pl.concat(parts).select(list(schema)).cast(dict(schema))  # type: ignore[arg-type]
