"""What a question is about: sources, time, labels. One codec for URL, API and CLI."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from store.errors import InputError

Clock = Literal["utc", "local_unknown", "relative"]

LIVE_SOURCE_ID = 1
DEFAULT_LIVE_SECONDS = 6 * 3600
LEAST_LIVE_SECONDS = 900
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
LABELS = ("model", "tenant", "route", "instance")
IS_COUNTED = "(r.is_counted IS NOT false)"
"""Whether a row of `request` is one, in SQL: a request that was tried several times counts once, as
its last attempt says, and one that made no sense (a wrong key, a broken body) not at all. Rows that
say nothing count."""
_TOKEN = re.compile(r"^now(?:-(\d+)([smhdw]))?$")
# Inside a list of values: an escaped character, or any other one.
_CHARACTER = re.compile(r"\\([\\,\s])|(.)", re.DOTALL)
_SPECIAL = re.compile(r"\A\s|\s\Z|[\\,]")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BIN_WIDTHS_SECONDS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200,
    86_400, 604_800,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """One body of data with one clock: the live fleet, or an imported trace.

    Attributes:
        source_id: 1 is always the live fleet.
        name: what the user calls it.
        kind: "live" or "trace".
        format: trace format name, or "live".
        clock: "utc" stamps, "local_unknown" wall clock of an unknown zone, or "relative" seconds
            kept from 1970-01-01.
        first_at: first record (aware; trace time for traces); None when empty.
        last_at: last record; None when empty.
        request_count: number of request rows.
    """

    source_id: int
    name: str
    kind: Literal["live", "trace"]
    format: str
    clock: Clock
    first_at: datetime | None
    last_at: datetime | None
    request_count: int


@dataclass(frozen=True, slots=True)
class Scope:
    """The frame of a question.

    Attributes:
        source_ids: sources that share one clock; never live and trace time mixed.
        start: aware UTC (trace time for trace sources), inclusive.
        end: exclusive.
        models: empty means all; likewise the other labels.
    """

    source_ids: tuple[int, ...]
    start: datetime
    end: datetime
    models: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the range in seconds."""
        return (self.end - self.start).total_seconds()

    @property
    def is_live(self) -> bool:
        """Whether it is about the live fleet rather than a trace."""
        return self.source_ids == (LIVE_SOURCE_ID,)

    def bin_seconds(self, most: int = 300) -> int:
        """The smallest round bin width (seconds) that gives at most `most` bins."""
        for width in _BIN_WIDTHS_SECONDS:
            if self.seconds / width <= most:
                return width
        return _BIN_WIDTHS_SECONDS[-1]


def split_values(text: str) -> tuple[str, ...]:
    r"""Read a list of values as addresses, the API and the CLI write it: `a,b`.

    A comma inside a value is written `\,` and a backslash `\\`; a backslash before anything else
    stands for itself. Spaces around a value are dropped unless escaped; empty values are left out.
    """
    values, value, kept = [], "", 0
    for escaped, plain in _CHARACTER.findall(text):
        if plain == ",":
            values.append(value[:kept])
            value, kept = "", 0
        elif escaped or value or not plain.isspace():
            value += escaped or plain
            kept = len(value) if escaped or not plain.isspace() else kept
    values.append(value[:kept])
    return tuple(value for value in values if value)


def join_values(values: Iterable[str]) -> str:
    """Write values so that `split_values` gives them back; an empty one cannot be said."""
    return ",".join(_SPECIAL.sub(r"\\\g<0>", value) for value in values)


def parse_duration(text: str) -> timedelta:
    """Read "30s", "5m", "6h", "30d" or "1w".

    Raises:
        InputError: anything else.
    """
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if match is None:
        raise InputError(
            f"'{text}' is not a duration", hint="write a number and s, m, h, d or w, such as 24h"
        )
    return timedelta(seconds=int(match[1]) * _UNIT_SECONDS[match[2]])


def parse_time(text: str, now: datetime) -> datetime:
    """Read `now`, `now-24h` or an ISO 8601 time (UTC where no offset is given).

    Raises:
        InputError: anything else, or a time outside 1900 to 2200: far from there, arithmetic with
            bins and windows overflows, and no record can lie there.
    """
    try:
        at = _read_time(text.strip(), now)
    except ValueError:
        raise InputError(
            f"'{text}' is not a time", hint="write now-24h or 2026-01-31T12:00:00Z"
        ) from None
    except OverflowError:
        at = None
    if at is None or not EARLIEST <= at <= LATEST:
        raise InputError(
            f"the time '{text}' is outside {EARLIEST.year} to {LATEST.year}",
            hint="write now-24h or 2026-01-31T12:00:00Z",
        )
    return at


def _read_time(text: str, now: datetime) -> datetime:
    token = _TOKEN.match(text)
    if token:
        seconds = int(token[1]) * _UNIT_SECONDS[token[2]] if token[1] else 0
        return now - timedelta(seconds=seconds)
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def resolve(params: Mapping[str, str], catalog: Sequence[SourceInfo], now: datetime) -> Scope:
    """Turn URL, API or CLI parameters into a scope.

    Args:
        params: `source`, `from`, `to`, `model`, `tenant`, `route`, `instance`; several values are
            separated by commas, see `split_values`. Other names are left to their owners.
        catalog: all sources of the store.
        now: the wall clock; for traces "now" is the end of the last record instead.

    Raises:
        InputError: unknown source, sources of different clocks, bad time, or an empty range.
    """
    chosen = _choose(_values(params, "source"), catalog)
    anchor = _anchor(chosen, now)
    end = parse_time(params.get("to") or "now", anchor)
    start = parse_time(params["from"], anchor) if params.get("from") else _start(chosen, end)
    if start >= end:
        raise InputError(
            f"the range {start.isoformat()} to {end.isoformat()} is empty",
            hint="`from` must lie before `to`",
        )
    labels = {f"{name}s": _values(params, name) for name in LABELS}
    return Scope(tuple(s.source_id for s in chosen), start, end, **labels)


def _values(params: Mapping[str, str], name: str) -> tuple[str, ...]:
    return split_values(params.get(name, ""))


def _choose(names: Sequence[str], catalog: Sequence[SourceInfo]) -> list[SourceInfo]:
    if not names:
        return _default_sources(catalog)
    by_name = {source.name: source for source in catalog}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        known = ", ".join(sorted(by_name)) or "none"
        raise InputError(f"no source is called '{unknown[0]}'", hint=f"there are: {known}")
    chosen = [by_name[name] for name in dict.fromkeys(names)]
    if len({(source.kind, source.clock) for source in chosen}) > 1:
        raise InputError(
            "these sources do not share a clock", hint="show them one at a time, or compare them"
        )
    return chosen


def _default_sources(catalog: Sequence[SourceInfo]) -> list[SourceInfo]:
    """The live fleet when it has data; else the newest trace and those that overlap it in time."""
    live = [s for s in catalog if s.source_id == LIVE_SOURCE_ID]
    traces = [s for s in catalog if s.kind == "trace" and s.last_at is not None]
    if (live and live[0].last_at is not None) or not traces:
        return live
    newest = max(traces, key=lambda s: s.source_id)
    return [s for s in traces if s.clock == newest.clock and _overlap(s, newest)]


def _overlap(a: SourceInfo, b: SourceInfo) -> bool:
    if a.first_at is None or a.last_at is None or b.first_at is None or b.last_at is None:
        return False
    return a.first_at <= b.last_at and b.first_at <= a.last_at


def _anchor(chosen: Sequence[SourceInfo], now: datetime) -> datetime:
    if any(source.kind == "live" for source in chosen) or not chosen:
        return now
    ends = [source.last_at for source in chosen if source.last_at is not None]
    # The range is half open: one microsecond more keeps the last record inside.
    return max(ends) + timedelta(microseconds=1) if ends else now


def _start(chosen: Sequence[SourceInfo], end: datetime) -> datetime:
    """A whole trace by default; of live data six hours, or what there is, at least 15 minutes."""
    starts = [source.first_at for source in chosen if source.first_at is not None]
    if starts and all(source.kind == "trace" for source in chosen):
        return min(min(starts), end - timedelta(microseconds=1))
    longest = end - timedelta(seconds=DEFAULT_LIVE_SECONDS)
    shortest = end - timedelta(seconds=LEAST_LIVE_SECONDS)
    return max(longest, min(min(starts, default=longest), shortest))
