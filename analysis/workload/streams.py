"""The arrivals of each source of a scope, loaded once and counted once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.workload import arrivals
from analysis.workload.arrivals import ClockCheck, Dispersion, Stamps
from analysis.workload.loading import Member, NotingReader, load_stamps
from analysis.workload.schemas import Schema
from store.queries.scope import Scope

# A wall clock without a date is kept from 1970-01-01; no request of a language model is that old.
_EARLIEST_DATE_US = 20 * 365 * 86_400 * arrivals.MICROSECONDS


@dataclass(frozen=True, slots=True)
class Stream:
    """The arrivals of one source, or of several merged, and what is known of their clock.

    Attributes:
        name: what people call the source.
        stamps: sorted arrivals, microseconds.
        has_calendar: whether they are dates rather than seconds from an unknown start.
        clock: grain of the stamps; None for a merged stream of several clocks.
        dispersions: of counts from the first arrival on, by window in seconds.
    """

    name: str
    stamps: Stamps
    has_calendar: bool
    clock: ClockCheck | None
    dispersions: Mapping[int, Dispersion]

    @property
    def quantised_why(self) -> str | None:
        """Why gaps cannot be trusted; None when they can."""
        return self.clock.why if self.clock is not None and self.clock.quantised else None

    @property
    def lumped_why(self) -> str | None:
        """Why even the variation of gaps cannot be trusted; None when it can."""
        return self.quantised_why if self.clock is not None and self.clock.lumped else None


def load_streams(reader: NotingReader, scope: Scope, sources: Sequence[Member]) -> list[Stream]:
    """The streams of all sources that have a request in the scope."""
    streams = []
    for member in sources:
        stamps = load_stamps(reader, scope, member)
        if stamps.size:
            clock, spread = arrivals.check_clock(stamps), _dispersions(stamps)
            dated = member.has_calendar and int(stamps[0]) >= _EARLIEST_DATE_US
            streams.append(Stream(member.name, stamps, dated, clock, spread))
    return streams


def combined(streams: Sequence[Stream]) -> Stream:
    """All streams as one; the same object when there is only one.

    Args:
        streams: at least one.
    """
    if len(streams) == 1:
        return streams[0]
    stamps = np.sort(np.concatenate([stream.stamps for stream in streams]))
    calendar = all(stream.has_calendar for stream in streams)
    name = ", ".join(stream.name for stream in streams)
    return Stream(name, stamps, calendar, None, _dispersions(stamps))


def _dispersions(stamps: Stamps) -> dict[int, Dispersion]:
    return arrivals.dispersions(arrivals.count_seconds(stamps))


def by_source(
    streams: Sequence[Stream], schema: Schema, build: Callable[[Stream], pl.DataFrame]
) -> pl.DataFrame:
    """The rows `build` gives for each stream, with its name in the column `source`."""
    parts = [build(stream).with_columns(pl.lit(stream.name).alias("source")) for stream in streams]
    return pl.concat(parts).select(list(schema)).cast(dict(schema))  # type: ignore[arg-type]
