"""The parts pages are made of: tiles, chart cards, verdicts, the four empty states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl
from dash import dcc, html

from analysis.measure import Empty, Measure, View
from dashboard.figures.base import Look, Picture
from dashboard.figures.sparkline import sparkline
from dashboard.scene import Scene
from dashboard.tables import table
from dashboard.text import Shown, shown

Draw = Callable[[pl.DataFrame, Look], Picture | str]

# Plotly's own mode bar has unnamed links; zoom works by dragging, a double click goes back.
GRAPH_CONFIG = {"displayModeBar": False, "responsive": True, "doubleClick": "reset+autosize"}


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart card.

    Attributes:
        key: unique on its page; names the card in the URL (`table=<key>`) and in ids.
        title: a question or a sentence.
        frame: frame of the view it draws.
        draw: frame to picture, or to the reason why there is none.
        about: definition of what is drawn, for the "i".
        span: columns of twelve on a wide screen.
        height: of the plot, in pixels.
    """

    key: str
    title: str
    frame: str
    draw: Draw
    about: str
    span: int = 6
    height: int = 250


def chart_card(
    view: View, chart: Chart, scene: Scene, options: Mapping[str, str] | None = None
) -> html.Section:
    """A chart with its definition, its SQL, its numbers as a table and its addresses in the API."""
    frame = view.frames.get(chart.frame)
    as_table = chart.key in scene.address.values("table")
    tools = _tools(view, chart, scene, frame, as_table, options or {})
    if frame is None or frame.is_empty():
        body: Any = nothing_drawn("No rows for this in the range shown.")
    elif as_table:
        body = table(frame, scene, caption=chart.title)
    else:
        body = _drawn(chart, frame, scene)
    head = html.Header([html.H2(chart.title), tools], className="ss-card-head")
    return html.Section(
        [head, html.Div(body, className="ss-card-body")],
        className=f"ss-card ss-span-{chart.span}",
        id=f"card-{chart.key}",
    )


def _drawn(chart: Chart, frame: pl.DataFrame, scene: Scene) -> Any:
    picture = chart.draw(frame, scene.look)
    if isinstance(picture, str):
        return nothing_drawn(picture)
    figure = picture.figure
    figure["layout"]["height"] = chart.height
    # A viewer's zoom survives a refresh, not another scope.
    figure["layout"]["uirevision"] = scene.address.search()
    graph = dcc.Graph(
        id={"type": "graph", "key": chart.key},
        figure=figure,
        config=GRAPH_CONFIG,
        style={"height": f"{chart.height}px"},
    )
    # The wrapper carries the role: what lies inside is one image with one sentence.
    return html.Div(graph, role="img", className="ss-graph", **{"aria-label": picture.summary})


def _tools(
    view: View,
    chart: Chart,
    scene: Scene,
    frame: pl.DataFrame | None,
    as_table: bool,
    options: Mapping[str, str],
) -> html.Div:
    toggled = scene.address.toggled("table", chart.key).href(scene.prefix)
    resource = f"views/{view.name}/{chart.frame}"
    links = [
        html.A(
            "Chart" if as_table else "Table",
            href=toggled,
            title="Same numbers as a table (t)",
            className="ss-tool",
            **{
                "data-table-toggle": "",
                "aria-label": f"{'Chart' if as_table else 'Table'}: {chart.title}",
            },
        ),
        _outside("CSV", scene.api(resource, **options, format="csv"), chart.title),
        _outside("API", scene.api(resource, **options, format="json"), chart.title),
        about(
            chart.title,
            chart.about,
            view.sql.get(chart.frame),
            frame.height if frame is not None else 0,
        ),
    ]
    return html.Div(links, className="ss-tools")


def _outside(text: str, href: str, title: str) -> html.A:
    return html.A(
        text, href=href, target="_blank", className="ss-tool", **{"aria-label": f"{text}: {title}"}
    )


def about(title: str, words: str, sql: str | None, rows: int) -> html.Details:
    """The "i" of a card: definition, query text and number of rows."""
    inside: list[Any] = [
        html.P(words),
        html.P(f"{rows:,} rows behind this picture.", className="ss-dim"),
    ]
    if sql:
        inside.append(html.Pre(html.Code(sql.strip()), tabIndex=0, **{"aria-label": "SQL"}))
    summary = html.Summary("i", className="ss-tool ss-i", **{"aria-label": f"About: {title}"})
    return html.Details(
        [summary, html.Div(inside, className="ss-pop ss-pop-right ss-about")], className="ss-menu"
    )


def nothing_drawn(why: str) -> html.Div:
    """A card without a picture says why."""
    return html.Div(html.P(why), className="ss-nothing")


def tile(
    label: str,
    measure: Measure | None,
    *,
    series: Sequence[float | None] = (),
    href: str = "",
    tone: str = "",
) -> Any:
    """One number with its unit, what to know about it, and a small picture of its course.

    Args:
        label: what it is.
        measure: the number; unknown is said, with the reason.
        series: its course over the range, for a sparkline.
        href: where a click leads.
        tone: "bad" or "good" to colour it; ignored while unknown.
    """
    said = shown(measure)
    return tile_of(label, said, sparkline(series), href, tone)


def tile_of(label: str, said: Shown, picture: str | None, href: str, tone: str) -> Any:
    """A tile from its words."""
    parts: list[Any] = [html.Span(label, className="ss-tile-label")]
    parts.append(html.Span(said.text, className=f"ss-tile-value is-{said.certainty}"))
    parts.append(html.Span(said.note or "\u00a0", className="ss-tile-note", title=said.note))
    if picture:
        parts.append(html.Img(src=picture, alt="", className="ss-spark"))
    tone_class = f" tone-{tone}" if tone and said.certainty != "unknown" else ""
    if href:
        return html.A(parts, href=href, className=f"ss-tile{tone_class}")
    return html.Div(parts, className=f"ss-tile{tone_class}")


def tiles(*made: Any) -> html.Div:
    """A row of tiles."""
    return html.Div(list(made), className="ss-tiles")


def grid(*cards: Any) -> html.Div:
    """Cards on a twelve-column grid."""
    return html.Div(list(cards), className="ss-grid")


def table_card(
    title: str,
    body: Any,
    *,
    span: int = 12,
    tools: Any = None,
    key: str = "",
) -> html.Section:
    """A card around a table or any other body."""
    head = html.Header(
        [html.H2(title), html.Div(tools, className="ss-tools")], className="ss-card-head"
    )
    more = {"id": f"card-{key}"} if key else {}
    return html.Section(
        [head, html.Div(body, className="ss-card-body")],
        className=f"ss-card ss-span-{span}",
        **more,
    )


def frame_tools(
    view: View, frame: str, title: str, words: str, scene: Scene, **options: str
) -> list[Any]:
    """CSV, API and "i" of a table card."""
    resource = f"views/{view.name}/{frame}"
    rows = view.frames[frame].height if frame in view.frames else 0
    return [
        _outside("CSV", scene.api(resource, **options, format="csv"), title),
        _outside("API", scene.api(resource, **options, format="json"), title),
        about(title, words, view.sql.get(frame), rows),
    ]


def verdict(sentences: Sequence[str], *, tone: str = "plain") -> html.Div | None:
    """The first thing on a page: one sentence, and what else was found below it."""
    if not sentences:
        return None
    rest = [html.Li(text) for text in sentences[1:4]]
    body: list[Any] = [html.P(sentences[0], className="ss-verdict-first")]
    if rest:
        body.append(html.Ul(rest))
    return html.Div(body, className=f"ss-verdict tone-{tone}", role="status")


def empty_state(empty: Empty, scene: Scene) -> html.Div:
    """One of the four reasons why there is nothing to show, each with what to do about it."""
    titles = {
        "nothing_connected": "No source yet.",
        "metric_absent": "This source does not say.",
        "outside_range": "Nothing in this range.",
        "no_traffic": "No requests in this range.",
    }
    parts: list[Any] = [html.H2(titles[empty.kind]), html.P(empty.text)]
    if empty.kind == "outside_range" and empty.last_record_at is not None:
        parts.append(html.P(f"Last record: {scene.when(empty.last_record_at)}."))
    action = _empty_action(empty, scene)
    if action is not None:
        parts.append(action)
    return html.Div(parts, className=f"ss-empty is-{empty.kind.replace('_', '-')}")


def _empty_action(empty: Empty, scene: Scene) -> html.A | None:
    if (
        empty.kind == "outside_range"
        and empty.last_record_at is not None
        and scene.scope is not None
    ):
        end = empty.last_record_at + timedelta(seconds=1)
        start = end - timedelta(seconds=scene.scope.seconds)
        href = scene.here(from_=f"{start:%Y-%m-%dT%H:%M:%SZ}", to=f"{end:%Y-%m-%dT%H:%M:%SZ}")
        return html.A("Jump there", href=href, className="ss-button")
    if empty.kind == "metric_absent":
        return html.A(
            "See what each source reports", href=scene.link("admin"), className="ss-button"
        )
    if empty.kind == "nothing_connected":
        return html.A("Connect or import something", href=scene.link(), className="ss-button")
    return None
