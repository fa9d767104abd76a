"""Links that narrow what is shown: from a name in a picture or a table to its own numbers."""

from __future__ import annotations

from typing import Any

import polars as pl
from dash import html

from dashboard.figures.slo import bar_name
from dashboard.scene import Scene
from dashboard.theme import attrs
from store.queries.scope import LABELS, join_values

MOST_CHIPS = 8


def only(label: str, value: str, scene: Scene, *path: str, **options: str) -> str:
    """The address that shows one value of a label alone.

    Args:
        label: "model", "tenant", "route" or "instance".
        value: the one.
        scene: the page.
        path: another page; this one if empty. What belongs to this page only is then dropped.
        options: of the other page.
    """
    address = scene.address.to(*path) if path else scene.address.changed(page=None, request=None)
    return address.changed(**{label: join_values([value])}, **options).href(scene.prefix)


def name_cell(label: str, value: str | None, scene: Scene) -> Any:
    """A name in a table: a link that shows it alone, unless it is alone already."""
    if not value:
        return "\N{EN DASH}"
    if scene.address.values(label) == (value,):
        return html.Span(value, className="ss-nowrap")
    link = only(label, value, scene)
    return html.A(value, href=link, className="ss-nowrap", title=f"Only the {label} {value}")


def culprits(frame: pl.DataFrame, scene: Scene) -> Any:
    """Below *Who spent it*: each part that a filter can show alone, the worst first.

    A click on the part's bar does the same (see assets/servescope.js).

    Args:
        frame: `dimension`, `value`, `bad_share_ratio`.
        scene: the page.
    """
    parts = frame.filter(pl.col("dimension").is_in(LABELS) & (pl.col("bad_share_ratio") > 0))
    parts = parts.sort("bad_share_ratio", descending=True).head(MOST_CHIPS)
    if parts.is_empty():
        return None
    links = [
        html.A(f"{row['dimension']} {row['value']}", className="ss-chip",
               href=only(row["dimension"], row["value"], scene),
               **attrs({"data-bar": bar_name(row["dimension"], row["value"])}))
        for row in parts.iter_rows(named=True)
    ]  # fmt: skip
    return html.Div(
        [html.Span("Only", className="ss-dim"), *links], className="ss-row ss-chips ss-beside"
    )
