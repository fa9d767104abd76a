"""Controller: a candidate beside the policy that decides: the numbers and the courses of both."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from dash import html

from dashboard.cards import Chart, about, graph, outside, table_toggle
from dashboard.figures import control as figures
from dashboard.figures.base import Picture
from dashboard.figures.marks import Marks, marked
from dashboard.scene import Scene
from dashboard.services import Document, Services
from dashboard.snippets import python_menu
from dashboard.tables import table
from dashboard.text import number_text
from store.errors import ServescopeError
from store.units import percent_text, seconds_text

SIDES = {"shadow": "Candidate", "live": "Live policy", "there": "There"}
EARLY_STEPS = 20
"""Fewer decisions of a candidate than this say nothing about it."""
_COURSE_ABOUT = (
    "Replicas as if every target had been applied at once; there: what the platform had. Grey: "
    "frozen."
)

_log = logging.getLogger(__name__)


def time_of(value: Any) -> datetime:
    """A time of a document, aware; those without a zone are UTC."""
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def said(row: Document, told: Document) -> str:
    """What came of it in one sentence, and how it last failed."""
    text = str(told["text"])
    if not told.get("empty") and row["steps"] < EARLY_STEPS:
        many = "1 decision" if row["steps"] == 1 else f"{row['steps']} decisions"
        text = f"too early to tell: {many} so far, over {seconds_text(told['seconds'])}"
    lead = "" if not row["last_failure"] else f" It last failed: {row['last_failure']}."
    return f"{text[:1].upper()}{text[1:].rstrip('.')}.{lead}"


def beside(told: Document, scene: Scene) -> list[Any]:
    """Both sides' numbers in one table, what is unknown left out."""
    if told.get("empty"):
        return []
    names: dict[str, tuple[str, Callable[[float | None], str]]] = {
        "replica_hours": ("Replica-hours", number_text),
        "gpu_hours": ("GPU-hours", number_text),
        "cost": ("Cost", number_text),
        "predicted_attainment_ratio": ("Attainment, by a model", percent_text),
    }
    known = [name for name in names if any(told[side][name] is not None for side in SIDES)]
    rows = [
        {"side": words, **{name: told[side][name] for name in known}}
        for side, words in SIDES.items()
    ]

    def cell(name: str) -> Any:
        return lambda row: "\N{EN DASH}" if row[name] is None else names[name][1](row[name])

    frame = pl.DataFrame(rows, infer_schema_length=None)
    caption = "Candidate, live policy and what was there, over the same time"
    shown = table(
        frame, scene, columns=("side", *known), cells={name: cell(name) for name in known},
        heads={"side": "Over the same time", **{name: names[name][0] for name in known}},
        caption=caption,
    )  # fmt: skip
    return [shown, html.P(_notes(told), className="ss-dim ss-foot")]


def _notes(told: Document) -> str:
    """What one has to know beside the numbers."""
    least = told["largest_difference_replicas"]
    more = "more" if least > 0 else "fewer"
    said = [
        f"Over {seconds_text(told['seconds'])} and {told['steps']:,} steps, of which"
        f" {percent_text(told['differing_ratio'])} differ"
        + (f", by {abs(least)} {more} at most." if least else ".")
    ]
    for pool in told["pools"]:
        came = pool.get("observed_attainment_ratio")
        if came is not None:
            said.append(
                f"What really came in {pool['pool']}, under what decided: {percent_text(came)}."
            )
        if pool.get("why"):
            said.append(f"{pool['pool']}: {pool['why']}.")
    model = told["model"]
    return " ".join([*said, f"{model[:1].upper()}{model[1:].rstrip('.')}."])


def course(told: Document, scene: Scene, services: Services) -> list[Any]:
    """The steps of both as lines on one chart."""
    points = told.get("course") or ()
    if not points:
        return []
    at = [time_of(point["at"]).astimezone(UTC).replace(tzinfo=None) for point in points]
    frame = pl.DataFrame(
        {
            "at": at,
            "pool": [str(point["pool"]) for point in points],
            **{name: [point[name] for point in points] for name in figures.BESIDE},
        },
        schema={
            "at": pl.Datetime("us"), "pool": pl.String,
            **dict.fromkeys(figures.BESIDE, pl.Int64),
        },
    )  # fmt: skip
    title = "What would it have had, and what had the other?"
    picture = figures.beside(frame, scene.look)
    if isinstance(picture, str):
        return []
    as_table = "candidate" in scene.address.values("table")
    chart = Chart("candidate", title, "course", figures.beside, _COURSE_ABOUT, height=260)
    if as_table:
        shown: Any = table(frame, scene, caption=title)
    else:
        shown = graph(chart, _with_freezes(picture, told, scene, services), scene)
    tools = [
        table_toggle(chart, scene, as_table),
        *_addresses(title, scene, str(told["candidate"]["candidate_id"])),
        about(title, _COURSE_ABOUT, None, frame.height),
    ]
    head = html.Header(
        [html.H3(title, className="ss-sub"), html.Div(tools, className="ss-tools")],
        className="ss-card-head",
    )
    return [html.Section([head, shown], className="ss-drawer-act", id="card-candidate-course")]


def _addresses(title: str, scene: Scene, number: str) -> list[Any]:
    """The same numbers in the API: the view thins them as the comparison does."""
    place, own = "views/candidate_course/course", {"candidate": number}
    return [
        outside("CSV", scene.api(place, **own, format="csv"), title),
        outside("API", scene.api(place, **own, format="json"), title),
        python_menu(title, place, scene, own),
    ]


def _with_freezes(picture: Picture, told: Document, scene: Scene, services: Services) -> Picture:
    """Bands where its pools were frozen; a chart without them is better than no chart."""
    start, end = time_of(told["start_at"]), time_of(told["end_at"])
    # Whole seconds, as addresses have them; the last step is in it.
    until = end + timedelta(seconds=1)
    params = {"source": "live", "from": _second(start), "to": _second(until)}
    try:
        frames = services.view("happenings", params).frames
    except ServescopeError as error:
        _log.warning("marks_failed", extra={"error": str(error)})
        return picture
    if "freezes" not in frames:
        return picture
    own = frames["freezes"].filter(pl.col("pool").is_in([pool["pool"] for pool in told["pools"]]))
    return marked(picture, Marks(start, end, own), scene.look)


def _second(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
