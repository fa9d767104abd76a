"""The eight numbers at the top of the fleet page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl
from dash import html

from analysis.measure import Measure, View
from dashboard.figures.base import numbers
from dashboard.figures.sparkline import sparkline
from dashboard.scene import Scene
from dashboard.text import Shown, number_text, shown
from dashboard.tiles import tile, tile_of, tiles
from store.units import percent_text

FAILURE_NAMES: Mapping[str, str] = {
    "failed_ratio": "failed (5xx)",
    "refused_ratio": "refused (429)",
    "aborted_ratio": "aborted by the client",
}
_INPUT, _OUTPUT = "input_tokens_per_second", "output_tokens_per_second"
# What a latency tile leads to shows that latency first.
_QUANTITIES = {"ttft_p95_seconds": "ttft", "tpot_p95_seconds": "tpot", "requests_waiting": "queue"}


def row(view: View, scene: Scene) -> html.Div:
    """The tiles, each leading to the page that tells more."""
    return tiles(
        _plain("Requests", "requests_per_second", view, scene, "workload"),
        _tokens(view, scene),
        _failed(view, scene),
        _plain("TTFT p95", "ttft_p95_seconds", view, scene, "latency"),
        _plain("TPOT p95", "tpot_p95_seconds", view, scene, "latency"),
        _budget(view, scene),
        _replicas(view, scene),
        _plain("Waiting", "requests_waiting", view, scene, "latency"),
    )


def _plain(label: str, key: str, view: View, scene: Scene, *path: str) -> Any:
    href = scene.address.to(*path).changed(quantity=_QUANTITIES.get(key)).href(scene.prefix)
    measure = _counted(key, view.measures.get(key))
    return tile(label, measure, series=_line(view, key), href=href)


def _counted(key: str, measure: Measure | None) -> Measure | None:
    """Of gauges `n` counts instances, and says so."""
    if key != "requests_waiting" or measure is None or not measure.n or measure.value is None:
        return measure
    words = f"in {measure.n:,} instance{'' if measure.n == 1 else 's'}"
    return replace(measure, n=None, why=", ".join(filter(None, (words, measure.why))))


def _line(view: View, column: str, frame: str = "sparklines") -> list[float | None]:
    lines = view.frames.get(frame, pl.DataFrame())
    return numbers(lines, column) if column in lines.columns else []


def _tokens(view: View, scene: Scene) -> Any:
    """Input and output in one tile, in this order, since the one is worth little alone."""
    sides = {"input": view.measures.get(_INPUT), "output": view.measures.get(_OUTPUT)}
    values = [measure.value if measure else None for measure in sides.values()]
    notes = {name: shown(measure).note for name, measure in sides.items()}
    same = len(set(notes.values())) == 1
    note = notes["input"] if same else "; ".join(f"{k}: {v}" for k, v in notes.items() if v)
    if values == [None, None]:
        said = Shown("unknown", note, "unknown")
    else:
        text = " + ".join("?" if value is None else number_text(value) for value in values)
        said = Shown(f"{text} tokens/s", note, "known")
    pairs = zip(_line(view, _INPUT), _line(view, _OUTPUT), strict=False)
    whole = [None if a is None or b is None else a + b for a, b in pairs]
    href = scene.link("workload", "lengths")
    return tile_of("Tokens, in + out", said, sparkline(whole or _line(view, _OUTPUT)), href, "")


def _failed(view: View, scene: Scene) -> Any:
    """The share of all failures; its parts below it."""
    said = shown(view.measures.get("error_ratio"))
    parts = {words: view.measures.get(key) for key, words in FAILURE_NAMES.items()}
    known = {words: m.value for words, m in parts.items() if m is not None and m.value is not None}
    if said.certainty != "unknown" and known:
        told = [f"{percent_text(value)} {words}" for words, value in known.items()]
        told += [f"{words} not told apart" for words in parts if words not in known]
        said = replace(said, note=", ".join(filter(None, (*told, said.note))))
    href = scene.link("workload", "failures")
    return tile_of("Failed", said, sparkline(_line(view, "error_ratio")), href, "")


def _budget(view: View, scene: Scene) -> Any:
    """Only a spent budget colours a tile: every other number needs an objective to be bad."""
    measure = view.measures.get("lowest_budget_left_ratio")
    is_spent = measure is not None and measure.value is not None and measure.value <= 0
    tone = "bad" if is_spent else ""
    line = _line(view, "budget_left_ratio", "budget_line")
    return tile("Lowest budget", measure, series=line, href=scene.link("slo"), tone=tone)


def _replicas(view: View, scene: Scene) -> Any:
    """Instances that serve, beside those that are starting and how many are wanted."""
    ready = view.measures.get("instances_ready")
    starting, wanted = (view.measures.get(f"replicas_{name}") for name in ("starting", "target"))
    words = []
    if starting is not None and starting.value:
        words.append(f"{starting.value:,.0f} starting")
    if wanted is not None and wanted.value is not None:
        words.append(f"{wanted.value:,.0f} wanted by the controller")
    if ready is not None and ready.n and ready.value is not None:
        of = f"of {ready.n:,} instance{'' if ready.n == 1 else 's'}"
        ready = replace(ready, n=None, why=", ".join(filter(None, (of, *words, ready.why))))
    elif ready is not None and words:
        ready = replace(ready, why=", ".join((*words, ready.why or "")).rstrip(", "))
    page = "controller" if wanted is not None and wanted.value is not None else "admin"
    line = _line(view, "instances_ready", "ready_line")
    return tile("Replicas ready", ready, series=line, href=scene.link(page))
