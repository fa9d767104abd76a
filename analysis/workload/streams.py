"""The arrivals of each source of a scope, loaded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from analysis.workload import arrivals
from analysis.workload.arrivals import ClockCheck, Stamps
from analysis.workload.loading import Member, NotingReader, load_stamps
from analysis.workload.schemas import Schema
from store.queries.scope import Scope


@dataclass(frozen=True, slots=True)
class Stream:
    """The arrivals of one source and what is known of its clock."""

    member: Member
    stamps: Stamps
    clock: ClockCheck

    @property
    def name(self) -> str:
        """What people call the source."""
        return self.member.name


def load_streams(reader: NotingReader, scope: Scope, sources: Sequence[Member]) -> list[Stream]:
    """The streams of all sources that have a request in the scope."""
    streams = []
    for member in sources:
        stamps = load_stamps(reader, scope, member)
        if stamps.size:
            streams.append(Stream(member, stamps, arrivals.check_clock(stamps)))
    return streams


def by_source(
    streams: Sequence[Stream], schema: Schema, build: Callable[[Stream], pl.DataFrame]
) -> pl.DataFrame:
    """The rows `build` gives for each stream, with its name in the column `source`."""
    parts = [build(stream).with_columns(pl.lit(stream.name).alias("source")) for stream in streams]
    if not parts:
        return pl.DataFrame(schema=schema)
    return pl.concat(parts).select(list(schema)).cast(dict(schema))  # type: ignore[arg-type]
