"""What happened, on every chart over time: freezes, changes of replicas, and all other events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from dashboard.figures.base import Look, Picture, Trace, times
from dashboard.theme import BLUE, GREEN, GREY, PURPLE, VERMILION

# A second scale for marks alone, from the foot to the top of the plot; never drawn.
_AXIS = "y9"
_HIDDEN = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
_BAND = "rgba(122,130,140,0.20)"
# A band narrower than this share of the range has no room for words.
_ROOM_RATIO = 0.12
MOST_BANDS = 100
MOST_GLYPHS = 60
# A name, a glyph of its own and a colour for each kind of event, in the order of the legend.
KINDS: Mapping[str, tuple[str, str, str]] = {
    "alert": ("alert", "star", VERMILION),
    "outage": ("outage", "x", VERMILION),
    "fault": ("fault of a card", "cross", VERMILION),
    "deployment": ("deployment", "diamond", BLUE),
    "start": ("process started", "circle-open", GREEN),
    "drift": ("drift", "hourglass", PURPLE),
}


@dataclass(frozen=True, slots=True)
class Marks:
    """What happened to pools in a range.

    Attributes:
        start: of the range, aware UTC.
        end: of the range.
        freezes: `pool`, `from_at`, `until_at` (naive UTC), `changed_by`, `comment`.
        scalings: `at`, `pool`, `before_replicas`, `after_replicas`, `changed_by`; may be empty.
        events: `at`, `until_at`, `kind` (of `KINDS`), `subject`, `text`; may be empty.
    """

    start: datetime
    end: datetime
    freezes: pl.DataFrame = field(default_factory=pl.DataFrame)
    scalings: pl.DataFrame = field(default_factory=pl.DataFrame)
    events: pl.DataFrame = field(default_factory=pl.DataFrame)


def marked(picture: Picture, marks: Marks, look: Look) -> Picture:
    """A picture with bands for freezes and a glyph for all else; each kind is in the legend.

    Args:
        picture: left as it is unless its x axis is time.
        marks: what happened.
        look: zone and clock.
    """
    drawn = picture.figure["layout"]
    if not is_over_time(picture):
        return picture
    bands, changes, told = _bands(marks), marks.scalings, _told(marks)
    made = [
        *([_starts(bands, look)] if bands else []),
        *([] if changes.is_empty() else [_changes(changes, look)]),
        *(_events(kind, frame, look) for kind, frame in told.items()),
    ]
    if not made:
        return picture
    layout = {
        **drawn,
        "yaxis9": _HIDDEN,
        "shapes": [*drawn.get("shapes", ()), *_shapes(bands, marks, look)],
    }
    traces = picture.figure["data"]
    if not drawn.get("showlegend"):  # a legend for the marks alone
        traces = [{**trace, "showlegend": trace.get("showlegend", False)} for trace in traces]
        layout |= {"showlegend": True, "margin": {**drawn.get("margin", {}), "t": 26}}
    words = _words(bands, changes, told)
    return Picture({"data": [*traces, *made], "layout": layout}, f"{picture.summary} {words}")


def is_over_time(picture: Picture) -> bool:
    """Whether its x axis is time."""
    return bool(picture.figure["layout"]["xaxis"].get("type") == "date")


def _told(marks: Marks) -> dict[str, pl.DataFrame]:
    """Events by kind, the newest of each; what began before the range begins with it."""
    if marks.events.is_empty():
        return {}
    start = marks.start.astimezone(UTC).replace(tzinfo=None)
    clipped = marks.events.with_columns(shown_at=pl.max_horizontal("at", pl.lit(start)))
    parts = {kind: clipped.filter(pl.col("kind") == kind).tail(MOST_GLYPHS) for kind in KINDS}
    return {kind: part for kind, part in parts.items() if part.height}


def _bands(marks: Marks) -> list[dict[str, Any]]:
    """Freezes inside the range; several pools at once, for the same reason, are one."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    start, end = (at.astimezone(UTC).replace(tzinfo=None) for at in (marks.start, marks.end))
    for row in marks.freezes.iter_rows(named=True):
        since, until = max(row["from_at"], start), min(row["until_at"], end)
        if since >= until:
            continue
        key = (since.replace(microsecond=0), until.replace(microsecond=0), row["changed_by"])
        one = found.setdefault(key, {**row, "from_at": since, "until_at": until, "pools": []})
        one["pools"].append(str(row["pool"]))
    return list(found.values())[-MOST_BANDS:]


def _clock(at: datetime, look: Look) -> str:
    zone = look.zone if look.clock == "utc" else UTC
    return f"{at.replace(tzinfo=UTC).astimezone(zone):%H:%M:%S}"


def _drawn(values: Sequence[datetime], look: Look) -> list[str | None]:
    return times(pl.DataFrame({"at": values}, schema={"at": pl.Datetime("us")}), "at", look)


def _shapes(bands: Sequence[Mapping[str, Any]], marks: Marks, look: Look) -> list[dict[str, Any]]:
    starts = _drawn([band["from_at"] for band in bands], look)
    ends = _drawn([band["until_at"] for band in bands], look)
    whole = (marks.end - marks.start).total_seconds()
    made = []
    for band, start, end in zip(bands, starts, ends, strict=True):
        shape: dict[str, Any] = {
            "type": "rect", "xref": "x", "yref": "paper", "x0": start, "x1": end, "y0": 0, "y1": 1,
            "fillcolor": _BAND, "line": {"width": 0}, "layer": "below",
        }  # fmt: skip
        if (band["until_at"] - band["from_at"]).total_seconds() > _ROOM_RATIO * whole:
            shape["label"] = {
                "text": f"frozen by {_safe(band['changed_by'])}", "textposition": "top left",
                "font": {"size": 10, "color": GREY},
            }  # fmt: skip
        made.append(shape)
    return made


def _starts(bands: Sequence[Mapping[str, Any]], look: Look) -> Trace:
    """The beginning of each freeze: a mark to point at, which says who and for how long."""
    texts = [
        f"{_safe(_pools(band['pools']))} frozen by {_safe(band['changed_by'])},"
        f" {_clock(band['from_at'], look)} to {_clock(band['until_at'], look)}"
        + (f": {_safe(band['comment'])}" if band.get("comment") else "")
        for band in bands
    ]
    x = _drawn([band["from_at"] for band in bands], look)
    return _glyphs("frozen", x, [1.0] * len(bands), texts, "square", GREY)


def _changes(frame: pl.DataFrame, look: Look) -> Trace:
    """A triangle at the foot for each change of replicas, up or down."""
    texts, symbols = [], []
    for row in frame.iter_rows(named=True):
        before, after = row["before_replicas"], row["after_replicas"]
        was = "" if before is None else f"{before} to "
        texts.append(f"{_safe(row['pool'])} {was}{after} replicas, by {row['changed_by']}")
        is_down = before is not None and after is not None and after < before
        symbols.append("triangle-down" if is_down else "triangle-up")
    x = times(frame, "at", look)
    return _glyphs("replicas changed", x, [0.02] * len(texts), texts, symbols, PURPLE)


def _events(kind: str, frame: pl.DataFrame, look: Look) -> Trace:
    """One kind of event, in a row at the top of the plot."""
    name, symbol, colour = KINDS[kind]
    texts = [
        _safe(row["text"]) + (f", until {_clock(row['until_at'], look)}" if _lasted(row) else "")
        for row in frame.iter_rows(named=True)
    ]
    x = times(frame, "shown_at", look)
    return _glyphs(name, x, [0.96] * len(texts), texts, symbol, colour)


def _lasted(row: Mapping[str, Any]) -> bool:
    return row["until_at"] is not None and row["until_at"] > row["at"]


def _glyphs(
    name: str, x: Sequence[Any], y: Sequence[float], texts: Sequence[str], symbol: Any, colour: str
) -> Trace:
    return {
        "type": "scatter", "mode": "markers", "x": x, "y": y, "yaxis": _AXIS, "name": name,
        "text": texts, "hovertemplate": "%{text}<extra></extra>", "cliponaxis": False,
        "marker": {"symbol": symbol, "size": 9, "color": colour},
    }  # fmt: skip


def _words(
    bands: Sequence[Mapping[str, Any]], changes: pl.DataFrame, told: Mapping[str, pl.DataFrame]
) -> str:
    said = []
    if bands:
        who = ", ".join(dict.fromkeys(str(band["changed_by"]) for band in bands))
        said.append(f"Frozen {_times(len(bands))}, by {who}.")
    if not changes.is_empty():
        said.append(f"Replicas changed {_times(changes.height)}.")
    said += [f"{KINDS[kind][0].capitalize()} {_times(part.height)}." for kind, part in told.items()]
    return " ".join(said)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _pools(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} pools"


def _safe(text: Any) -> str:
    """What people typed, for a figure, which reads some markup."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;")[:80]
