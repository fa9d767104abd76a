"""What-if: how wrong the model is, before anything it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import card, frame_tools, grid
from dashboard.scene import Scene
from dashboard.tables import table
from dashboard.text import heading, unit_text
from dashboard.tiles import tile, tiles
from dashboard.url_state import Address
from store.units import seconds_text, signed_percent_text

ERRORS = (
    ("End to end, median", "fit_error_median_ratio"),
    ("End to end, p95", "fit_error_p95_ratio"),
    ("TTFT, median", "ttft_error_median_ratio"),
    ("TTFT, p95", "ttft_error_p95_ratio"),
    ("TPOT, median", "tpot_error_median_ratio"),
    ("TPOT, p95", "tpot_error_p95_ratio"),
    ("Attainment, points", "attainment_error_points"),
)
_QUANTITIES = {"e2e": "End to end", "ttft": "TTFT", "tpot": "TPOT"}
_FIT_ABOUT = (
    "Quantiles of all judged requests together, each as measured and as the profile simulates it: "
    "errors of single requests that cancel each other out are not seen here."
)


def options(address: Address) -> Mapping[str, str]:
    """The replay of the address, the two that are compared, and whose replay B is of."""
    names = ("a", "b", "startup", "against")
    found = {name: address.params[name] for name in names if name in address.params}
    if len(address.path) > 1:
        found["replay"] = address.path[1]
    return found


def said(view: View, what: str) -> str:
    """One thing of what was asked and how it stands."""
    found = view.frames["validity"].filter(pl.col("what") == what)["value"]
    return str(found[0] or "") if len(found) else ""


def panel(view: View, scene: Scene, *, is_known: bool) -> Any:
    """How wrong the model is, before anything it says."""
    mark = "● validated" if is_known else "✕ not validated"
    look = "good" if is_known else "bad"
    sentence, *more = view.sentences
    title = "How far can this model be believed?"
    measured = [(label, view.measures[key]) for label, key in ERRORS if key in view.measures]
    known = [(label, measure) for label, measure in measured if measure.value is not None]
    inside: list[Any] = [
        html.P(
            [html.Span(mark, className=f"ss-status is-{look}"), f" {_sentence(sentence)}"],
            className="ss-validity",
        )
    ]
    if known:
        inside.append(tiles(*(tile(label, measure) for label, measure in known)))
    window, fit = view.frames["window"], view.frames["fit"]
    if fit.height:
        # The window's quantiles are among these, with the end-to-end time.
        window = window.filter(pl.col("quantity") == "attainment_ratio")
        inside += _fit(view, fit, scene)
    if window.height:
        name = "The replayed window: measured against simulated"
        inside.append(html.H3(name, className="ss-sub"))
        inside.append(table(window, scene, caption=name, cells=_window_cells()))
    if more:
        inside.append(html.Ul([html.Li(text) for text in more[:4]]))
    inside.append(_asked(view))
    tools = frame_tools(
        view, "validity", title,
        "The error of the replica's profile on rows that its fit did not see, or of this very "
        "window where its rows carry latencies. Beyond its bound, or never compared, everything "
        "below is marked as not validated.", scene, **dict(options(scene.address)),
    )  # fmt: skip
    return grid(card(title, inside, tools=tools, key="validity"), key="validity")


def _fit(view: View, fit: pl.DataFrame, scene: Scene) -> list[Any]:
    """Quantiles as measured and as simulated, with their own numbers to take along."""
    title = "All requests together: measured against simulated"
    cells = {
        "quantity": lambda row: f"{_QUANTITIES[row['quantity']]} p{100 * row['level']:g}",
        "measured_seconds": lambda row: seconds_text(row["measured_seconds"]),
        "simulated_seconds": lambda row: seconds_text(row["simulated_seconds"]),
        "error_ratio": lambda row: signed_percent_text(row["error_ratio"]),
    }
    heads = {"quantity": "What", "measured_seconds": "Measured",
             "simulated_seconds": "Simulated", "error_ratio": "Off by"}  # fmt: skip
    shown = table(fit, scene, columns=tuple(heads), cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "fit", title, _FIT_ABOUT, scene, **dict(options(scene.address)))
    head = html.Header(
        [html.H3(title, className="ss-sub"), html.Div(tools, className="ss-tools")],
        className="ss-card-head",
    )
    return [head, shown]


def _window_cells() -> dict[str, Any]:
    def cell(column: str) -> Any:
        return lambda row: unit_text(
            row[column], "ratio" if row["quantity"].endswith("_ratio") else "s"
        )

    return {
        "quantity": lambda row: heading(row["quantity"]),
        "observed": cell("observed"),
        "simulated": cell("simulated"),
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _asked(view: View) -> html.Details:
    rows: list[Any] = []
    for what, value in view.frames["validity"].iter_rows():
        if what != "validity":
            rows += [html.Dt(heading(what)), html.Dd(value if value is not None else "as usual")]
    summary = html.Summary("What was asked")
    return html.Details([summary, html.Dl(rows, className="ss-facts-list")],
                        className="ss-inner-fold")  # fmt: skip
