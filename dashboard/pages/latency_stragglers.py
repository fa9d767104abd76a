"""The instances of the latency page: who is slower than its peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools, grid
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import number_text

_ABOUT = (
    "Median latencies of each instance beside its peers of the same model. The ratio is to the "
    "median of the peers; the outlier score is the distance from it in robust deviations (1.4826 "
    "median absolute deviations), the worse of TPOT and TTFT; from 3 on, and a tenth slower, it "
    "stands out. Without request rows the means of the engine's histograms stand in for the "
    "medians."
)
_HEADS = {
    "tpot_p50_seconds": "TPOT p50",
    "tpot_to_peers": "to peers",
    "ttft_p50_seconds": "TTFT p50",
    "ttft_to_peers": "to peers",
    "outlier_score": "Outlier score",
    "kv_cache_usage_ratio": "KV used, most",
}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """One card: the instances, the oddest first."""
    if view is None or view.empty is not None:
        return []
    return [grid(_card(view, scene))]


def _card(view: View, scene: Scene) -> Slot | Unshown:
    title = "Which instance is slower than its peers?"
    frame = view.frames["instances"]
    if frame.is_empty():
        return Unshown(title, "No request and no engine names its instance here.")
    cells = {
        "instance": lambda row: html.A(row["instance"], href=scene.here(instance=row["instance"])),
        "outlier_score": _score,
        "tpot_to_peers": lambda row: _ratio(row["tpot_to_peers"]),
        "ttft_to_peers": lambda row: _ratio(row["ttft_to_peers"]),
    }
    always = ["instance", "model", "requests"]
    rest = [
        name
        for name in frame.columns
        if name not in (*always, "basis", "stands_out") and frame[name].null_count() < frame.height
    ]
    known = [name for name in always if frame[name].null_count() < frame.height]
    shown = table(
        frame, scene, columns=[*known, *rest], cells=cells, heads=_heads(frame), caption=title
    )
    words = [html.P(f"{text}.", className="ss-dim ss-foot") for text in view.sentences]
    tools = frame_tools(view, "instances", title, _ABOUT, scene)
    return card(title, [*words, shown], tools=tools, key="stragglers")


def _heads(frame: pl.DataFrame) -> Mapping[str, str]:
    """Histograms have exact means; their medians would be intervals."""
    if frame["basis"][0] != "mean of histograms":
        return _HEADS
    return {**_HEADS, "tpot_p50_seconds": "TPOT mean", "ttft_p50_seconds": "TTFT mean"}


def _score(row: Mapping[str, Any]) -> Any:
    score = row["outlier_score"]
    if score is None:
        return html.Span("too few peers", className="ss-dim")
    if row["stands_out"]:
        return html.Span(f"▲ {score:.1f} stands out", className="ss-status is-watch")
    return number_text(score)


def _ratio(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.2f}\N{MULTIPLICATION SIGN}"


STRAGGLERS = Panel("latency-stragglers", "latency_stragglers", body, is_aside=True)
