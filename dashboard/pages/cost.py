"""Cost: what does the fleet cost, who uses it, and how much of it is idle?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Slot, Unshown, card, chart_card, frame_tools, grid, verdict
from dashboard.empty_states import empty_state
from dashboard.figures import cost as figures
from dashboard.navigation import Page, Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import number_text, unit_text
from dashboard.tiles import tile, tiles
from store.units import signed_percent_text

TILES = (
    ("GPU-hours", "gpu_hours"),
    ("Idle", "idle_ratio"),
    ("Cost", "cost"),
    ("Idle cost", "idle_cost"),
    ("1M output tokens", "cost_per_million_output_tokens"),
    ("A request", "cost_per_request"),
    ("A request that met its SLO", "cost_per_met_request"),
    ("Energy", "energy_kwh"),
)
COURSE = Chart(
    "course",
    "Where did the GPU time go?",
    "course",
    figures.gpu_hours,
    "GPU-hours of each bin: cards of a replica times the time for which it answered scrapes. Busy: "
    "share of the scrapes that saw a request running or waiting in it. Idle is the rest. Starting: "
    "before it could take requests. Draining: taking no new ones. Not told: the engine shows no "
    "such gauge.",
    span=12,
    height=300,
)
_TABLES = (
    ("kinds", "What was it doing?", ("kind", "gpu_hours", "share_ratio", "cost"), 6,
     "All GPU time, once: the lines add up to the whole."),
    ("pools", "Pool by pool", ("pool", "gpu_hours", "busy_gpu_hours", "idle_gpu_hours",
                               "idle_ratio", "cost"), 6,
     "A pool is one of the controller's, else the target's label pool, else its model."),
    ("tenants", "Tenant by tenant", ("tenant", "gpu_hours", "share_ratio", "cost", "requests",
                                     "output_tokens", "cost_per_million_output_tokens"), 12,
     "Busy time of each replica, shared by the tokens it served: input + 2 x output unless "
     "configured otherwise. What nobody used stands in lines of its own."),
    ("models", "Model by model", ("model", "gpu_hours", "busy_gpu_hours", "idle_gpu_hours",
                                  "idle_ratio", "cost"), 6,
     "Busy time by the model that requests name, other time by the model of the replica."),
    ("energy", "Energy of the cards", ("node", "gpu", "gpu_model", "energy_kwh",
                                       "power_mean_watts", "told_by"), 6,
     "From the card's energy counter, else its power between readings."),
    ("assumed", "What is taken for true?", ("pool", "gpus", "gpus_from", "gpu_type",
                                            "price_per_gpu_hour", "price_from"), 12,
     "Cards of a replica, their type and price, and who told; set them in the table [cost]."),
)  # fmt: skip
_HEADS = {
    "gpu_hours": "GPU-hours",
    "busy_gpu_hours": "Busy",
    "idle_gpu_hours": "Idle",
    "idle_ratio": "Idle share",
    "share_ratio": "Of all",
    "gpus": "Cards",
    "gpu": "Card",
    "gpu_model": "Type",
    "gpus_from": "told by",
    "gpu_type": "Type",
    "price_per_gpu_hour": "GPU-hour",
    "price_from": "told by",
    "cost_per_million_output_tokens": "1M output tokens",
    "energy_kwh": "kWh",
    "power_mean_watts": "Mean W",
    "kind": "Time",
}
_KINDS = {"untold": "not told"}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The verdict, numbers, GPU time over time, who used it, and what is assumed."""
    if view is None:
        return []
    if view.empty is not None:
        return [empty_state(view.empty, scene)]
    parts = [
        verdict(view.sentences, key="cost"),
        tiles(*(tile(label, view.measures.get(key)) for label, key in TILES)),
        grid(
            chart_card(view, COURSE, scene),
            *(_card(view, scene, *told) for told in _TABLES),
            _trend_card(view, scene),
        ),
    ]
    return [part for part in parts if part is not None]


def _card(
    view: View, scene: Scene, name: str, title: str, columns: Sequence[str], span: int, about: str
) -> Slot | Unshown:
    frame = view.frames.get(name, pl.DataFrame())
    if frame.is_empty():
        why = view.measures["energy_kwh"].why if name == "energy" else None
        return Unshown(title, why or "Nothing of this in the range shown.")
    told = [column for column in columns if frame[column].null_count() < frame.height]
    cells = {"kind": _kind, "pool": _strong("pool"), "model": _strong("model"), "tenant": _tenant}
    heads = _HEADS | {"cost": view.measures["cost"].unit or "Cost"}
    shown = table(frame, scene, columns=told, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, name, title, about, scene)
    return card(title, shown, span=span, tools=tools, key=name)


def _strong(name: str) -> Any:
    return lambda row: html.Strong(row[name] or "not told")


def _kind(row: Mapping[str, Any]) -> Any:
    return html.Strong(_KINDS.get(row["kind"], row["kind"]))


def _tenant(row: Mapping[str, Any]) -> Any:
    """What is nobody's goes by what it was, in another voice."""
    if row["kind"] != "busy":
        return html.Em(_KINDS.get(row["kind"], row["kind"]), className="ss-dim")
    return html.Strong(row["tenant"]) if row["tenant"] else html.Em("tenant not told")


def _trend_card(view: View, scene: Scene) -> Slot | Unshown:
    title = "What changed against the period before?"
    frame = view.frames["trend"].filter(pl.col("before").is_not_null())
    if frame.is_empty():
        return Unshown(title, "No instance was scraped in the period before.")
    cells = {
        "quantity": lambda row: html.Strong(_named(row["quantity"])),
        "value": lambda row: unit_text(row["value"], row["unit"]),
        "before": lambda row: unit_text(row["before"], row["unit"]),
        "change_ratio": _change,
    }
    columns = ("quantity", "value", "before", "change_ratio")
    heads = {"quantity": "Number", "value": "Now", "before": "Before", "change_ratio": "Change"}
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    words = "The range as long before the range shown."
    tools = frame_tools(view, "trend", title, words, scene)
    return card(title, shown, tools=tools, key="trend")


def _named(quantity: str) -> str:
    words = quantity.removesuffix("_kwh").removesuffix("_ratio").replace("_", " ")
    words = words.replace("gpu hours", "GPU-hours")
    return words[:1].upper() + words[1:]


def _change(row: Mapping[str, Any]) -> str:
    change = row["change_ratio"]
    if change is None:
        return "\N{EN DASH}"
    if change > 9:
        return f"{number_text(change + 1)}\N{MULTIPLICATION SIGN}"
    return signed_percent_text(change)


PAGE = Page(
    "Cost",
    "What does the fleet cost, and how much of it is idle?",
    (Panel("cost-main", "cost", body),),
)
