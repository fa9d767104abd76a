"""The requests of the latency page: fifty at a time, and the waterfall of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Slot, card, chart_card, frame_tools, grid, verdict
from dashboard.figures import latency as figures
from dashboard.narrowing import name_cell
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import Cell, cell_text, table
from dashboard.text import heading
from dashboard.theme import attrs
from dashboard.url_state import Address

_OPTIONS = ("sort", "page", "status", "over")
_COLUMNS = (
    "arrived_at", "status", "model", "instance", "tenant", "input_tokens", "output_tokens",
    "queue_seconds", "prefill_seconds", "decode_seconds", "ttft_seconds", "tpot_seconds",
    "e2e_seconds",
)  # fmt: skip
_SORTS = (
    "arrived_at", "e2e_seconds", "ttft_seconds", "tpot_seconds", "queue_seconds",
    "prefill_seconds", "decode_seconds", "input_tokens", "output_tokens",
)  # fmt: skip
_STATUSES = ("ok", "failed", "refused", "aborted")
_OVERS = ("1", "5", "10", "30", "60")
_ABOUT = "Sorted, filtered and cut into pages by the store; the arrival opens one request."


def options(address: Address) -> Mapping[str, str]:
    """Order, page and filters from the address."""
    return {name: address.params[name] for name in _OPTIONS if address.params.get(name)}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The table of requests with its filters and its pages."""
    if view is None or view.empty is not None:
        return []
    return [grid(_card(view, scene))]


def _card(view: View, scene: Scene) -> Slot:
    title = "Which requests were slow?"
    frame = view.frames["requests"]
    total = int(view.measures["requests"].value or 0)
    parts: list[Any] = [_filters(scene)]
    if frame.is_empty():
        parts.append(html.P("No request passes these filters.", className="ss-dim ss-foot"))
    else:
        parts += [_table(frame, scene, title), _pages(view, scene)]
    tools = frame_tools(view, "requests", title, _ABOUT, scene, **options(scene.address))
    return card(f"{title} {total:,} in all", parts, tools=tools, key="requests")


def _table(frame: pl.DataFrame, scene: Scene, title: str) -> html.Div:
    known = [c for c in _COLUMNS if frame[c].null_count() < frame.height]
    cells: dict[str, Cell] = {name: _name(name, scene) for name in ("model", "instance", "tenant")}
    cells |= {"arrived_at": lambda row: _opener(row, scene), "status": _status}
    heads = {name: _head(name, scene) for name in known}
    return table(frame, scene, columns=known, cells=cells, heads=heads, caption=title)


def _name(name: str, scene: Scene) -> Cell:
    return lambda row: name_cell(name, row[name], scene)


def _opener(row: Mapping[str, Any], scene: Scene) -> html.A:
    href = scene.here(request=row["request"]) + "#card-waterfall"
    return html.A(cell_text("arrived_at", row["arrived_at"], scene), href=href)


def _status(row: Mapping[str, Any]) -> Any:
    if row["status"] == "ok":
        return "ok"
    return html.Span(f"✕ {row['status']}", className="ss-status is-bad")


def _head(name: str, scene: Scene) -> Any:
    """A column head that sorts by it; a second click turns the order round."""
    if name not in _SORTS:
        return heading(name)
    now = scene.address.params.get("sort") or "-e2e_seconds"
    mark = {name: " ↑", f"-{name}": " ↓"}.get(now, "")
    wanted = name if now == f"-{name}" else f"-{name}"
    order = {"aria-label": f"Sort by {heading(name)}"}
    return html.A(f"{heading(name)}{mark}", href=scene.here(sort=wanted, page=None), **attrs(order))


def _filters(scene: Scene) -> html.Div:
    chosen = scene.address.values("status")
    links: list[Any] = [html.Span("Status", className="ss-dim")]
    for name in _STATUSES:
        href = scene.address.toggled("status", name).changed(page=None).href(scene.prefix)
        links.append(_chip(name, href, name in chosen))
    over = scene.address.params.get("over", "")
    links.append(html.Span("E2E over", className="ss-dim"))
    for text in _OVERS:
        href = scene.here(over=None if over == text else text, page=None)
        links.append(_chip(f"{text} s", href, over == text))
    return html.Div(links, className="ss-row ss-filter-row")


def _chip(text: str, href: str, on: bool) -> html.A:
    current: dict[str, Any] = {"aria-current": "true"} if on else {}
    return html.A(
        f"✓ {text}" if on else text,
        href=href,
        className=f"ss-chip{' is-on' if on else ''}",
        **current,
    )


def _pages(view: View, scene: Scene) -> html.Div:
    number = int(view.measures["page"].value or 1)
    last = int(view.measures["pages"].value or 1)
    parts: list[Any] = []
    if number > 1:
        back = None if number == 2 else str(number - 1)
        parts.append(html.A("Previous", href=scene.here(page=back), className="ss-button"))
    parts.append(html.Span(f"Page {number:,} of {last:,}", className="ss-dim"))
    if number < last:
        parts.append(html.A("Next", href=scene.here(page=str(number + 1)), className="ss-button"))
    return html.Div(parts, className="ss-row ss-foot")


REQUESTS = Panel(
    "latency-requests", "latency_requests", body, options, is_aside=True, is_compared=False
)


def one_options(address: Address) -> Mapping[str, str]:
    """The request that the address names."""
    return {"request": address.params.get("request", "")}


def one_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The waterfall of the request that the address names; nothing when it names none."""
    if view is None or not view.frames:
        return []
    chart = Chart(
        "waterfall",
        "Where did the time of this request go?",
        "spans",
        figures.waterfall,
        "Phases one after the other. Rows carry lengths, not stamps: each phase begins where the "
        "one before it ends. Lengths that the row does not carry are derived, and the hover says "
        "how. Unattributed is what the phases leave of E2E.",
        span=7,
        height=330,
    )
    named = one_options(scene.address)
    close = html.A("Close", href=scene.here(request=None), className="ss-button is-small")
    parts = [
        verdict(view.sentences, key="request"),
        grid(
            chart_card(view, chart, scene, named),
            _facts(view, scene, [close], named, services.trace_url),
        ),
    ]
    return [part for part in parts if part is not None]


def _facts(
    view: View, scene: Scene, more: Sequence[Any], named: Mapping[str, str], trace_url: str
) -> Slot:
    """What is known about one request: labels, lengths, its trace, the decision in force."""
    row = view.frames["request"].row(0, named=True)
    shown: list[tuple[str, Any]] = [
        (heading(name), cell_text(name, row[name], scene))
        for name in ("arrived_at", "status", *_LABELS, *_LENGTHS)
        if row.get(name) is not None
    ]
    shown += [("Retries", _attempts(view)), ("Decision in force", _decision(view))]
    if row["trace_id"]:
        shown.append(("Trace", _trace(str(row["trace_id"]), trace_url)))
    rows: list[Any] = []
    for term, value in shown:
        rows += [html.Dt(term), html.Dd(value)]
    tools = [*frame_tools(view, "request", "This request", _ABOUT, scene, **named), *more]
    facts = html.Dl(rows, className="ss-facts-list")
    return card("This request", facts, span=5, tools=tools, key="facts")


def _trace(trace_id: str, trace_url: str) -> Any:
    """The id of a trace, leading to the tool that shows it where one is configured."""
    code = html.Code(trace_id)
    if not trace_url:
        return code
    # Tools of OpenTelemetry write ids without dashes.
    href = trace_url.replace("{trace_id}", trace_id.replace("-", ""))
    return html.A(code, href=href, target="_blank", rel="noreferrer")


_LABELS = ("source", "model", "instance", "tenant", "route", "finish_reason", "session_id")
_LENGTHS = (
    "input_tokens", "cached_tokens", "output_tokens", "ttft_seconds", "tpot_seconds", "e2e_seconds",
)  # fmt: skip


def _attempts(view: View) -> str:
    frame = view.frames["attempts"]
    if frame.is_empty():
        return "not known: the row carries no trace id"
    if frame.height == 1:
        return "none in its trace"
    statuses = ", ".join(frame["status"].to_list())
    return f"{frame.height} requests in its trace: {statuses}"


def _decision(view: View) -> str:
    frame = view.frames["decision"]
    if frame.is_empty():
        return "none was made"
    row = frame.row(0, named=True)
    return f"#{row['decision_id']} {row['policy']} ({row['mode']})"


ONE = Panel(
    "latency-request",
    "latency_request",
    one_body,
    one_options,
    asks=lambda address: bool(one_options(address)["request"]),
    follows_clock=False,
    is_aside=True,
    is_compared=False,
)
