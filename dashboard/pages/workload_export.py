"""Workload, Export: the requests of this scope in formats that other tools read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from analysis.measure import View
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
    return [lead, html.Div([_card(scene, *entry) for entry in FORMATS], className="ss-grid")]


def _range(scene: Scene) -> str:
    if scene.scope is None:
        return "a range that was not understood"
    return f"{scene.when(scene.scope.start)} to {scene.when(scene.scope.end)}"


def _card(scene: Scene, key: str, title: str, words: str) -> html.Section:
    href = scene.api("export/requests", format=key)
    return html.Section(
        [
            html.H2(title),
            html.P(words),
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
