"""Admin: is the data complete, and can I trust these pages?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools, grid, verdict
from dashboard.navigation import Page, Panel
from dashboard.pages import (
    admin_clocks,
    admin_coverage,
    admin_gateways,
    admin_pace,
    admin_people,
    admin_server,
    admin_trust,
)
from dashboard.row_counts import QUERY
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import Cell, table
from dashboard.text import heading, when
from dashboard.theme import attrs
from dashboard.tiles import tile, tiles

TILES = (
    ("Rows", "rows_total"),
    ("Store", "store_bytes"),
    ("Write lag", "write_lag_seconds"),
    ("Newest sample", "data_age_seconds"),
    ("Last backup", "backup_age_seconds"),
)

COVERAGE_LOOKS = {"full": ("good", "●"), "partial": ("watch", "◐"), "none": ("none", "○")}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Sources, targets, coverage, tables and imports."""
    if view is None:
        return []
    parts = [
        verdict(view.sentences, tone=_tone(view)),
        tiles(*(tile(label, view.measures.get(key)) for label, key in TILES)),
        grid(
            _targets(view, scene),
            _agents(view, scene),
            admin_clocks.clocks(view, scene),
            _discovery(view, scene),
            _sources(view, scene),
            _coverage(view, scene),
            _tables(view, scene, services),
            _plain(
                view,
                scene,
                "imports",
                "What was imported?",
                "Every import run; rejected rows are in the file it names.",
                12,
            ),
        ),
    ]
    return [part for part in parts if part is not None]


def _targets(view: View, scene: Scene) -> Slot | Unshown:
    cells: dict[str, Cell] = {
        "url": lambda row: html.Strong(row["url"]),
        "state": _state_cell,
        "last_success_at": lambda row: when(row["last_success_at"], scene.zone),
        "engine": lambda row: (
            " ".join(filter(None, (row["engine"], row["engine_version"]))) or "not recognised"
        ),
        "error": lambda row: html.Span(row["error"] or "", className="ss-why"),
    }
    columns = (
        "url",
        "engine",
        "state",
        "data_age_seconds",
        "scrape_seconds",
        "samples_per_second",
        "bad_lines",
        "unknown_families",
        "error",
    )
    words = "Each scraped endpoint. Bad lines are counted, the rest of its page is kept."
    why = "No endpoint is scraped. Connect one with: servescope up --target http://localhost:8000"
    return _plain(
        view,
        scene,
        "targets",
        "Do all targets answer?",
        words,
        12,
        columns=columns,
        cells=cells,
        why=why,
    )


def _agents(view: View, scene: Scene) -> Slot | Unshown:
    cells: dict[str, Cell] = {
        "name": lambda row: html.Strong(row["name"]),
        "state": _state_cell,
        "last_seen_at": lambda row: when(row["last_seen_at"], scene.zone),
        "why": lambda row: html.Span(row["why"] or "", className="ss-why"),
        "drops": lambda row: html.Span(row["drops"] or "", className="ss-dim"),
    }
    columns = (
        "name", "version", "state", "last_seen_at", "targets", "targets_failing", "waiting_batches",
        "spool_bytes", "waiting_seconds", "parked_batches", "dropped_rows", "drops", "why",
    )  # fmt: skip
    words = (
        "Agents by their last heartbeat: what waits in the spool of each and for how long, and what"
        " it lost since it was started, by reason."
    )
    why = "No agent has reported. Start one on a node with: servescope agent --server URL"
    return _plain(
        view, scene, "agents", "Do all agents deliver?", words, 12,
        columns=columns, cells=cells, why=why,
    )  # fmt: skip


def _discovery(view: View, scene: Scene) -> Slot | Unshown:
    cells: dict[str, Cell] = {
        "source": lambda row: html.Strong(row["source"]),
        "problem": lambda row: html.Span(row["problem"] or "", className="ss-why"),
    }
    words = "Sources of targets. One that does not answer keeps the targets that it named last."
    why = "No targets are discovered. Name a source with: servescope up --discover SOURCE"
    return _plain(
        view, scene, "discovery", "Where do targets come from?", words, 12, cells=cells, why=why
    )


def _tone(view: View) -> str:
    """Bad while something that is connected does not answer."""
    frame = view.frames.get("targets", pl.DataFrame())
    return "bad" if not frame.is_empty() and (frame["state"] != "ready").any() else "plain"


def _state_cell(row: Mapping[str, Any]) -> html.Span:
    state = str(row["state"] or "unknown")
    look, glyph = ("good", "●") if state in ("up", "ok", "ready", "fresh") else ("bad", "✕")
    if state in ("unknown", "pending"):
        look, glyph = "none", "○"
    return html.Span(
        [html.Span(glyph, **attrs({"aria-hidden": "true"})), f" {state}"],
        className=f"ss-status is-{look}",
    )


def _sources(view: View, scene: Scene) -> Slot | Unshown:
    def time_cell(column: str) -> Cell:
        return lambda row: when(row[column], scene.zone, row["clock"]) if row[column] else "\u2013"

    cells: dict[str, Cell] = {
        "name": lambda row: html.Strong(row["name"]),
        "first_at": time_cell("first_at"),
        "last_at": time_cell("last_at"),
    }
    return _plain(
        view,
        scene,
        "sources",
        "Which bodies of data are there?",
        "Each source has one clock.",
        12,
        cells=cells,
    )


def _coverage(view: View, scene: Scene) -> Slot | Unshown:
    """Page by source as a matrix of full, partial and none, with what is missing."""
    title = "Which page can show what?"
    frame = view.frames.get("coverage", pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "Nothing to cover yet.")
    columns = frame.get_column("target_or_source").unique(maintain_order=True).to_list()
    rows = []
    for page in frame.get_column("page").unique(maintain_order=True).to_list():
        part = {
            r["target_or_source"]: r
            for r in frame.filter(pl.col("page") == page).iter_rows(named=True)
        }
        rows.append(
            html.Tr(
                [
                    html.Th(page, scope="row"),
                    *(html.Td(_coverage_cell(part.get(c))) for c in columns),
                ]
            )
        )
    head = html.Thead(
        html.Tr([html.Th("Page", scope="col"), *(html.Th(c, scope="col") for c in columns)])
    )
    shown = html.Div(
        html.Table(
            [html.Caption(title, className="ss-visually-hidden"), head, html.Tbody(rows)],
            className="ss-table",
        ),
        className="ss-table-wrap",
        tabIndex=0,
        role="group",
        **attrs({"aria-label": title}),
    )
    words = (
        "Full: all the page's numbers can be had from this source. Else it says what is missing."
        " Alerts and Reports say what these pages say."
    )
    return card(
        title,
        shown,
        span=12,
        tools=frame_tools(view, "coverage", title, words, scene),
        key="coverage",
    )


def _coverage_cell(row: Mapping[str, Any] | None) -> Any:
    if row is None:
        return "\u2013"
    look, glyph = COVERAGE_LOOKS.get(row["state"], ("none", "○"))
    parts: list[Any] = [html.Span(f"{glyph} {row['state']}", className=f"ss-status is-{look}")]
    if row["missing"]:
        parts.append(html.Div(f"without {_missing_words(row['missing'])}", className="ss-dim"))
    return parts


def _missing_words(missing: str) -> str:
    """Names of columns as words: "ttft_seconds, session_key" is "TTFT, session key"."""
    words = [heading(name.strip()) for name in missing.split(",")]
    return ", ".join(w if w.isupper() else w[:1].lower() + w[1:] for w in words)


def _tables(view: View, scene: Scene, services: Services) -> Slot | Unshown:
    """Tables with rows, the largest first; empty ones are counted only; what is kept how long."""
    title = "How much is stored?"
    frame = view.frames.get("tables", pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "The store has no tables yet.")
    filled = frame.filter(pl.col("rows") > 0).sort("rows", descending=True)
    shown: list[Any] = [table(filled, scene, caption=title)]
    if frame.height > filled.height:
        words = f"{frame.height - filled.height} more tables are empty."
        shown.append(html.P(words, className="ss-dim ss-foot"))
    kept = admin_server.kept_words(services)
    if kept:
        shown.append(html.P(kept, className="ss-dim ss-foot"))
    tools = frame_tools(view, "tables", title, "Rows and time span of each table.", scene)
    return card(title, shown, span=12, tools=tools, key="tables")


def _plain(
    view: View,
    scene: Scene,
    name: str,
    title: str,
    words: str,
    span: int,
    *,
    columns: Sequence[str] = (),
    cells: Mapping[str, Cell] | None = None,
    why: str = "None yet.",
) -> Slot | Unshown:
    frame = view.frames.get(name, pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, why)
    shown = table(
        frame, scene, columns=columns, cells=cells, caption=title, total=view.total(name),
        others=QUERY,
    )  # fmt: skip
    tools = frame_tools(view, name, title, words, scene)
    return card(title, shown, span=span, tools=tools, key=name)


PAGE = Page(
    "Admin",
    "Is the data complete, and can I trust these pages?",
    (
        admin_gateways.ALARM,
        Panel("admin-main", "admin", body),
        admin_gateways.PANEL,
        admin_people.PANEL,
        Panel("admin-trust", "trust", admin_trust.body),
        Panel(
            "admin-signals",
            "signal_coverage",
            admin_coverage.body,
            follows_clock=False,
            is_aside=True,
        ),
        admin_server.JOBS,
        admin_pace.PANEL,
        admin_server.SERVER,
    ),
)
