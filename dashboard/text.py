"""Numbers and times in words. Tiles, tables, figures and summaries all come here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from analysis.measure import Measure
from store.errors import InputError
from store.queries.scope import Clock
from store.units import bytes_text, percent_text, seconds_text

# Below this many events a percentage is shown with its count and interval.
FEW_EVENTS = 30
# An attainment carries its Wilson interval up to this many events.
INTERVAL_EVENTS = 10_000

Certainty = Literal["known", "interval", "few", "unknown"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A measure as people read it.

    Attributes:
        text: the number with its unit.
        note: what to know about it (interval, count, why unknown), or "".
        certainty: how sure it is, for the tile's look.
    """

    text: str
    note: str
    certainty: Certainty


def number_text(value: float | None) -> str:
    """A plain number with three significant digits and short thousands: 5.53, 28.2k, 1.43M."""
    if value is None or math.isnan(value):
        return "unknown"
    size = abs(value)
    for limit, factor, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if size >= limit:
            return f"{value / factor:.3g}{suffix}"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def unit_text(value: float | None, unit: str) -> str:
    """A number with its unit, in the way people say it.

    Args:
        value: in `unit`; None is unknown.
        unit: "s", "ratio", "bytes", "x" (times as much), "" or any word to put behind the number.
    """
    if unit == "s":
        return seconds_text(value)
    if unit == "ratio":
        return percent_text(value)
    if unit == "bytes":
        return bytes_text(value)
    if unit == "x":
        return number_text(value) + ("" if value is None else "\N{MULTIPLICATION SIGN}")
    text = number_text(value)
    return text if value is None or not unit else f"{text} {unit}"


def split_unit(text: str) -> tuple[str, str]:
    """The number and the unit behind it, for tiles that set them in two sizes."""
    words = text.split(" ")
    cut = len(words)
    while cut > 1 and not any(letter.isdigit() for letter in words[cut - 1]):
        cut -= 1
    return " ".join(words[:cut]), " ".join(words[cut:])


def interval_text(low: float | None, high: float | None, unit: str) -> str:
    """An interval from bucket edges: "200 - 400 ms" (with a dash), "≤ 300 ms" or "≥ 60 s"."""
    if low is None and high is None:
        return "unknown"
    if low is None:
        return f"≤ {unit_text(high, unit)}"
    if high is None:
        return f"≥ {unit_text(low, unit)}"
    left, right = unit_text(low, unit), unit_text(high, unit)
    if left == right:
        return left
    left_number, _, left_unit = left.partition(" ")
    if left_unit and left_unit == right.partition(" ")[2]:
        left = left_number
    return f"{left} \N{EN DASH} {right}"


def shown(measure: Measure | None) -> Shown:
    """A measure as a tile shows it: never a bare percentage of a handful, never 0 for unknown."""
    if measure is None:
        return Shown("unknown", "not computed for this range", "unknown")
    if measure.value is None:
        if measure.low is None and measure.high is None:
            return Shown("unknown", measure.why or "no data", "unknown")
        text = interval_text(measure.low, measure.high, measure.unit)
        return Shown(text, measure.why or "known as an interval only", "interval")
    text = unit_text(measure.value, measure.unit)
    return _with_interval(measure, text)


def _with_interval(measure: Measure, text: str) -> Shown:
    interval = ""
    if measure.low is not None and measure.high is not None and measure.low != measure.high:
        interval = f"95 % interval {interval_text(measure.low, measure.high, measure.unit)}"
    if measure.unit == "ratio" and measure.n is not None and measure.n < FEW_EVENTS:
        return Shown(text, ", ".join(filter(None, (f"only n = {measure.n}", interval))), "few")
    parts = [measure.why or ""]
    if measure.n is not None:
        parts.append(f"n = {measure.n:,}")
        if measure.n < INTERVAL_EVENTS:
            parts.append(interval)
    return Shown(text, ", ".join(part for part in parts if part), "known")


def zone_of(params: Mapping[str, str]) -> ZoneInfo:
    """The display zone of a URL: its `tz`, or UTC.

    Raises:
        InputError: this machine knows no zone of that name.
    """
    name = params.get("tz") or "UTC"
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(
            f"no time zone is called '{name[:40]}'",
            hint="write tz=Europe/Berlin, or leave it out for UTC",
        ) from None


def when(at: datetime | None, zone: ZoneInfo, clock: Clock = "utc") -> str:
    """A point in time for people: "17 Nov 2023 09:12:05 UTC", or "day 3 09:12:05" of a trace."""
    if at is None:
        return "never"
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    if clock == "relative":
        day = (aware - datetime(1970, 1, 1, tzinfo=UTC)).days + 1
        return f"day {day} {aware.astimezone(UTC):%H:%M:%S}"
    if clock == "local_unknown":
        return f"{aware.astimezone(UTC):%-d %b %Y %H:%M:%S} (trace clock)"
    local = aware.astimezone(zone)
    return f"{local:%-d %b %Y %H:%M:%S} {zone_label(zone)}"


def zone_label(zone: ZoneInfo) -> str:
    """What stands beside a time."""
    return zone.key


def clock_words(clock: Clock, zone: ZoneInfo) -> str:
    """What a time axis is in: a zone, or the trace's own clock."""
    return {"utc": zone_label(zone), "local_unknown": "trace clock, zone unknown"}.get(
        clock, "trace time"
    )


def ago(seconds: float) -> str:
    """How long ago, coarsely: "4 s ago", "3 min ago", "2.1 d ago"."""
    if seconds < 120:
        return f"{max(0, round(seconds))} s ago"
    if seconds < 7200:
        return f"{round(seconds / 60)} min ago"
    return f"{seconds_text(seconds)} ago"


def heading(column: str) -> str:
    """A column name as a table head: `ttft_p95_seconds` is "TTFT p95"; units stand in the cells."""
    words = column
    for suffix in ("_seconds", "_ratio", "_at", "_text", "_bytes"):
        words = words.removesuffix(suffix) if words != suffix[1:] else words
    words = words.replace("_per_second", "/s").replace("idc_", "dispersion_").replace("_", " ")
    for name in (
        "ttft",
        "tpot",
        "e2e",
        "slo",
        "kv",
        "cdf",
        "ks",
        "cv",
        "url",
        "id",
        "p50",
        "p90",
        "p95",
        "p99",
    ):
        words = " ".join(
            name.upper() if w == name and name[0] != "p" else w for w in words.split(" ")
        )
    return words[:1].upper() + words[1:]
