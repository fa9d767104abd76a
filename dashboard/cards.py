"""The parts pages are made of: cards of charts and tables on a grid, verdicts, tabs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from dash import dcc, html

from analysis.measure import View
from dashboard.figures.base import Look, Picture
from dashboard.figures.marks import is_over_time, marked
from dashboard.figures.overlay import overlaid
from dashboard.scene import Scene
from dashboard.snippets import python_menu
from dashboard.tables import table
from dashboard.theme import attrs

Draw = Callable[[pl.DataFrame, Look], Picture | str]

# Plotly's own mode bar has unnamed links; zoom works by dragging, a double click goes back.
GRAPH_CONFIG: Any = {"displayModeBar": False, "responsive": True, "doubleClick": "reset+autosize"}


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
        foot: what stands below the plot, from the frame; None where nothing does.
    """

    key: str
    title: str
    frame: str
    draw: Draw
    about: str
    span: int = 6
    height: int = 250
    foot: Callable[[pl.DataFrame, Scene], Any] | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """A card and the width it asks for, in columns of twelve."""

    card: Any
    span: int


@dataclass(frozen=True, slots=True)
class Unshown:
    """A card that this data cannot fill, and why."""

    title: str
    why: str


def chart_card(
    view: View, chart: Chart, scene: Scene, options: Mapping[str, str] | None = None
) -> Slot | Unshown:
    """A chart with its definition, its SQL, its numbers as a table and its addresses in the API."""
    frame = scene.clipped(view.frames.get(chart.frame, pl.DataFrame()))
    if frame.is_empty():
        return Unshown(chart.title, "No rows for this in the range shown.")
    other = scene.beside.frame(chart.frame) if scene.beside else None
    as_table = chart.key in scene.address.values("table")
    if as_table:
        body: Any = table(frame, scene, caption=chart.title, other=other)
    else:
        picture = chart.draw(frame, scene.look)
        if isinstance(picture, str):
            return Unshown(chart.title, picture)
        picture, said = _compared(chart, picture, other, scene)
        marks = scene.marks() if is_over_time(picture) else None
        if marks is not None:
            picture = marked(picture, marks, scene.look)
        foot = chart.foot(frame, scene) if chart.foot else None
        body = [part for part in (graph(chart, picture, scene), said, foot) if part is not None]
    tools = _tools(view, chart, scene, frame, as_table, options or {})
    return card(
        chart.title, body, span=chart.span, tools=tools, key=chart.key, is_chart=not as_table
    )


def _compared(
    chart: Chart, picture: Picture, other: pl.DataFrame | None, scene: Scene
) -> tuple[Picture, Any]:
    """The picture with the second series in it, or words that say where both can be seen."""
    if scene.comparison is None:
        return picture, None
    name = scene.comparison.name
    second = chart.draw(other, scene.look) if other is not None else "nothing to show"
    if isinstance(second, str):
        return picture, _aside(f"Beside {name}: nothing to show here.")
    both = overlaid(picture, second, name, scene.comparison.shift)
    if both is None:
        return picture, _aside(f"Beside {name}: one would hide the other here; Table has both.")
    return both, None


def _aside(text: str) -> html.P:
    return html.P(text, className="ss-dim ss-beside")


def graph(chart: Chart, picture: Picture, scene: Scene) -> html.Div:
    """The plot of a chart, as one image with one sentence."""
    figure = picture.figure
    figure["layout"]["height"] = chart.height
    # A viewer's zoom survives a refresh, not another scope.
    figure["layout"]["uirevision"] = scene.address.search()
    plot = dcc.Graph(
        id={"type": "graph", "key": chart.key},
        figure=figure,
        config=GRAPH_CONFIG,
        style={"height": f"{chart.height}px"},
    )
    # The wrapper carries the role: what lies inside is one image with one sentence.
    label = attrs({"aria-label": picture.summary})
    return html.Div(
        plot,
        id={"type": "picture", "key": chart.key},
        role="img",
        className="ss-graph",
        # The plot's own height counts only when its script is there; what is below must not jump.
        style={"minHeight": f"{chart.height}px"},
        **label,
    )


def _tools(
    view: View,
    chart: Chart,
    scene: Scene,
    frame: pl.DataFrame,
    as_table: bool,
    options: Mapping[str, str],
) -> list[Any]:
    resource = f"views/{view.name}/{chart.frame}"
    links = [
        table_toggle(chart, scene, as_table),
        outside("CSV", scene.api(resource, **options, format="csv"), chart.title),
        outside("API", scene.api(resource, **options, format="json"), chart.title),
        python_menu(chart.title, resource, scene, options),
        about(
            chart.title,
            chart.about,
            view.sql.get(chart.frame),
            frame.height,
            view.totals.get(chart.frame),
        ),
    ]
    return links


def table_toggle(chart: Chart, scene: Scene, as_table: bool) -> html.A:
    """The link between a chart and the same numbers as a table; the key `t` presses it."""
    words = "Chart" if as_table else "Table"
    return html.A(
        words,
        href=scene.address.toggled("table", chart.key).href(scene.prefix),
        title="Same numbers as a table (t)",
        className="ss-tool",
        **attrs({"data-table-toggle": "", "aria-label": f"{words}: {chart.title}"}),
    )


def outside(text: str, href: str, title: str) -> html.A:
    """A small link of a card that leads out of the page, to the API."""
    return html.A(
        text,
        href=href,
        target="_blank",
        className="ss-tool",
        **attrs({"aria-label": f"{text}: {title}"}),
    )


def about(
    title: str, words: str, sql: str | None, rows: int, total: int | None = None
) -> html.Details:
    """The "i" of a card: definition, query text and number of rows, and of how many they are."""
    more = f", the first of {total:,}" if total is not None and total > rows else ""
    inside: list[Any] = [
        html.P(words),
        html.P(f"{rows:,} rows behind this picture{more}.", className="ss-dim"),
    ]
    if sql:
        inside.append(html.Pre(html.Code(sql.strip()), tabIndex=0, **attrs({"aria-label": "SQL"})))
    summary = html.Summary(
        "i", className="ss-tool ss-i", **attrs({"aria-label": f"About: {title}"})
    )
    return html.Details(
        [summary, html.Div(inside, className="ss-pop ss-pop-right ss-about")], className="ss-menu"
    )


def part_id(key: str) -> dict[str, str]:
    """The id of a part whose inside a refresh may replace while all around it stays."""
    return {"type": "part", "key": key}


def grid(*slots: Slot | Unshown, key: str = "") -> html.Div:
    """Cards on a twelve-column grid without holes; what could not be filled is listed last.

    Args:
        slots: the cards, in order.
        key: tells the grids of one page apart.
    """
    shown = [slot for slot in slots if isinstance(slot, Slot)]
    missing = [slot for slot in slots if isinstance(slot, Unshown)]
    for row in _rows(shown):
        spare = 12 - sum(slot.span for slot in row)
        for slot in row:
            widest = slot is row[-1]
            slot.card.className = f"ss-card ss-span-{slot.span + (spare if widest else 0)}"
    cards: list[Any] = [slot.card for slot in shown]
    if missing:
        cards.append(_missing_card(missing, key))
    return html.Div(cards, className="ss-grid")


def _rows(slots: Sequence[Slot]) -> list[list[Slot]]:
    rows: list[list[Slot]] = []
    for slot in slots:
        if rows and sum(s.span for s in rows[-1]) + slot.span <= 12:
            rows[-1].append(slot)
        else:
            rows.append([slot])
    return rows


def _missing_card(missing: Sequence[Unshown], key: str) -> html.Section:
    rows: list[Any] = []
    for slot in missing:
        rows += [html.Dt(slot.title), html.Dd(slot.why)]
    head = html.Header([html.H2("Not shown for this data")], className="ss-card-head")
    return html.Section(
        [head, html.Dl(rows)],
        className="ss-card ss-span-12 ss-missing",
        id=part_id(f"missing-{key}"),
    )


def card(
    title: str,
    body: Any,
    *,
    span: int = 12,
    tools: Any = None,
    key: str = "",
    is_chart: bool = False,
) -> Slot:
    """A card around a table, a chart or any other body."""
    links: dict[str, Any] = {"id": {"type": "tools", "key": key}} if key else {}
    head = html.Header(
        [html.H2(title), html.Div(tools, className="ss-tools", **links)], className="ss-card-head"
    )
    more: dict[str, Any] = {"id": f"card-{key}"} if key else {}
    inside: dict[str, Any] = {"id": part_id(key)} if key and not is_chart else {}
    made = html.Section([head, html.Div(body, className="ss-card-body", **inside)], **more)
    return Slot(made, span)


def frame_tools(
    view: View, frame: str, title: str, words: str, scene: Scene, **options: str
) -> list[Any]:
    """CSV, API and "i" of a table card."""
    resource = f"views/{view.name}/{frame}"
    rows, total = 0, None
    if frame in view.frames:
        rows, total = view.frames[frame].height, view.total(frame)
    return [
        outside("CSV", scene.api(resource, **options, format="csv"), title),
        outside("API", scene.api(resource, **options, format="json"), title),
        python_menu(title, resource, scene, options),
        about(title, words, view.sql.get(frame), rows, total),
    ]


def verdict(sentences: Sequence[str], *, tone: str = "plain", key: str = "page") -> html.Div | None:
    """The first thing on a page: one sentence, and what else was found below it."""
    if not sentences:
        return None
    first, *more = (text if text.endswith((".", "!", "?")) else f"{text}." for text in sentences)
    rest = [html.Li(text) for text in more[:3]]
    body: list[Any] = [html.P(first, className="ss-verdict-first")]
    if rest:
        body.append(html.Ul(rest))
    return html.Div(
        body, className=f"ss-verdict tone-{tone}", role="status", id=part_id(f"verdict-{key}")
    )


def tabs(
    title: str,
    option: str,
    chosen: str,
    names: Mapping[str, str],
    scene: Scene,
    **also: str | None,
) -> html.Nav:
    """Links that choose one value of an option; each has its own address.

    Args:
        title: what is chosen, for screen readers.
        option: name in the address.
        chosen: the value in force.
        names: value to words.
        scene: the page.
        also: further changes of the address.
    """
    links = []
    for name, text in names.items():
        current: dict[str, Any] = {"aria-current": "true"} if name == chosen else {}
        active = " is-active" if name == chosen else ""
        href = scene.here(**{option: name}, **also)
        links.append(html.A(text, href=href, className=f"ss-tab{active}", **current))
    return html.Nav(links, className="ss-tabs is-inline", **attrs({"aria-label": title}))
