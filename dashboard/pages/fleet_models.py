"""The models of the fleet page."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools
from dashboard.figures.base import numbers, span_words
from dashboard.figures.sparkline import sparkline
from dashboard.narrowing import only
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import Cell, table
from dashboard.text import FEW_EVENTS
from store.errors import ServescopeError
from store.units import percent_text

_HEADS = {
    "course": "Requests/s over time",
    "input_tokens_mean": "Input mean",
    "output_tokens_mean": "Output mean",
    "requests_waiting": "Waiting",
    "requests_running": "Running",
    "kv_cache_usage_ratio": "KV used, most",
    "replicas": "Ready / wanted",
}
_COLUMNS = (
    "workload", "course", "requests_per_second", "ttft_p95_seconds", "tpot_p95_seconds",
    "attainment_ratio", "requests_waiting", "requests_running", "kv_cache_usage_ratio", "replicas",
    "requests", "input_tokens_mean", "output_tokens_mean",
)  # fmt: skip
# A trace has no queue and no replicas.
_LIVE_ONLY = ("requests_waiting", "requests_running", "kv_cache_usage_ratio", "replicas")
_ABOUT = (
    "One row for each model (or route, or source, where no model is known), worst first. Attained: "
    "the least of what any objective has of it in the range. Wanted: replicas that the controller "
    "last asked for; a dash where instances outside of its pools serve the model, too."
)


def models_card(view: View, scene: Scene, services: Services) -> Slot | Unshown:
    """One row a workload with its numbers, its course and its replicas."""
    title = "Which workload suffers?"
    frame = view.frames.get("models", pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "No request carries a model, route or source here.")
    names = _known_models(services, scene)
    courses = _courses(view)
    cells: dict[str, Cell] = {
        "workload": lambda row: _workload(row["workload"], names, scene),
        "course": lambda row: _course(courses.get(row["workload"], ())),
        "attainment_ratio": _attained,
        "replicas": _replicas,
    }
    columns = [name for name in _COLUMNS if scene.is_live or name not in _LIVE_ONLY]
    shown = table(frame, scene, columns=columns, cells=cells, heads=_HEADS, caption=title)
    tools = frame_tools(view, "models", title, _ABOUT, scene)
    return card(title, shown, tools=tools, key="models")


def _courses(view: View) -> Mapping[str, list[float | None]]:
    lines = view.frames.get("model_lines", pl.DataFrame())
    if lines.is_empty():
        return {}
    parts = lines.partition_by("workload", as_dict=True, maintain_order=True)
    return {str(name): numbers(part, "requests_per_second") for (name,), part in parts.items()}


def _course(values: list[float | None] | tuple[()]) -> Any:
    """A small picture whose words say the same."""
    picture = sparkline(list(values))
    if picture is None:
        return "\N{EN DASH}"
    return html.Img(src=picture, alt=span_words(list(values), "requests/s"), className="ss-course")


def _attained(row: Mapping[str, Any]) -> str:
    """A share; of few requests only with their number."""
    if row["attainment_ratio"] is None:
        return "\N{EN DASH}"
    n = row["requests"]
    few = f" (n = {n})" if n is not None and n < FEW_EVENTS else ""
    return percent_text(row["attainment_ratio"]) + few


def _replicas(row: Mapping[str, Any]) -> str:
    """Such as "5 / 7, 1 starting"; a dash is unknown."""
    ready, wanted, starting = (
        row.get(name) for name in ("instances_ready", "replicas_target", "replicas_starting")
    )
    if ready is None and wanted is None:
        return "\N{EN DASH}"
    text = " / ".join("\N{EN DASH}" if part is None else str(part) for part in (ready, wanted))
    return f"{text}, {starting} starting" if starting else text


def _known_models(services: Services, scene: Scene) -> Collection[str]:
    """Names that are models: a workload may be a route or a source instead."""
    try:
        return services.label_values(scene.address.params).get("model", ())
    except ServescopeError:
        return ()


def _workload(name: str, models: Collection[str], scene: Scene) -> Any:
    if name not in models:
        return html.Strong(name)
    return html.A(html.Strong(name), href=only("model", name, scene, "latency"))
