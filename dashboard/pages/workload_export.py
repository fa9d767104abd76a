"""Workload, Export: the requests of this scope in formats that other tools read.

They may be thinned or sped up on their way; the file then says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import tabs
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.theme import attrs

FORMATS = (
    (
        "mooncake",
        "Mooncake JSONL",
        "Arrival in milliseconds, lengths and prefix block hashes; most simulators read it.",
    ),
    (
        "azure",
        "Azure CSV",
        "Arrival and token counts in the columns of the Azure LLM inference trace.",
    ),
    (
        "burstgpt",
        "BurstGPT CSV",
        "Arrival, model, token counts and log type; failures have no output tokens.",
    ),
    ("parquet", "Parquet", "Every column servescope knows, typed, for DuckDB, Polars or Spark."),
)
KEPT = {"1": "all", "0.5": "half of the sessions", "0.1": "a tenth", "0.01": "a hundredth"}
SPEEDS = {"0.5": "half as fast", "1": "as recorded", "2": "twice as fast", "10": "ten times"}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """One card for each format, with the address that gives it."""
    names = ", ".join(source.name for source in scene.sources) or "no source"
    lead = html.P(
        [
            "The requests of ",
            html.Strong(names),
            f" in {_range(scene)}, with the filters above, as a file. ",
            "Prompts are never in it: they are not stored.",
        ],
        className="ss-lead",
    )
    cards = html.Div([_card(scene, *entry) for entry in FORMATS], className="ss-grid")
    return [lead, _choices(scene), cards]


def _choices(scene: Scene) -> html.Div:
    """Thinned and sped up or not: part of the address, as everything a viewer chooses."""
    keep, speed = (scene.address.params.get(name, "1") for name in ("keep", "speed"))
    return html.Div(
        [
            html.Span("Keep", className="ss-dim"),
            tabs("Share that is kept", "keep", keep, KEPT, scene),
            html.Span("Arrivals", className="ss-dim"),
            tabs("Speed of arrivals", "speed", speed, SPEEDS, scene),
        ],
        className="ss-row",
    )


def _changed(scene: Scene) -> dict[str, str]:
    """What the address asks for besides what was recorded."""
    chosen = {name: scene.address.params.get(name, "1") for name in ("keep", "speed")}
    return {name: text for name, text in chosen.items() if text != "1"}


def _range(scene: Scene) -> str:
    if scene.scope is None:
        return "a range that was not understood"
    return f"{scene.when(scene.scope.start)} to {scene.when(scene.scope.end)}"


def _card(scene: Scene, key: str, title: str, words: str) -> html.Section:
    changed = _changed(scene)
    href = scene.api("export/requests", format=key, **changed)
    if changed and key == "parquet":
        why = html.P("It tells what was recorded, so it is neither thinned nor sped up.")
        return html.Section([html.H2(title), why], className="ss-card ss-way ss-span-3")
    said = "Its first line says how it was changed." if changed else ""
    return html.Section(
        [
            html.H2(title),
            html.P(f"{words} {said}".rstrip()),
            html.A(
                "Download",
                href=href,
                download="",
                className="ss-button is-primary",
                **attrs({"aria-label": f"Download {title}"}),
            ),
        ],
        className="ss-card ss-way ss-span-3",
    )


PANEL = Panel("workload-export", None, body, follows_clock=False)
