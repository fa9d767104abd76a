"""Controller: how each pool is treated, what waits for a yes, and how to change that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.acting import until_words
from dashboard.cards import card, grid, outside
from dashboard.control_badge import freeze_form, resume_form
from dashboard.forms import button, field, who_field
from dashboard.pages.controller_beside import time_of
from dashboard.pages.controller_terms import terms
from dashboard.scene import Scene
from dashboard.services import Document, Services
from dashboard.text import number_text, when
from dashboard.theme import attrs
from store.units import percent_text

MODES = {
    "off": "nothing is decided",
    "dry-run": "decided and recorded, never done",
    "approve": "done after somebody's yes",
    "active": "done at once",
}
ACTING = ("approve", "active")
LOOKS = {"active": "watch", "approve": "watch"}


def modes_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Every pool: mode, by whom and since when, and its replicas now."""
    status = _status(services)
    if not status.get("pools"):
        return []
    title = "How is each pool treated, and what has it now?"
    heads = (
        "Pool", "Mode", "Set by", "Frozen", "Policy", "Wanted", "Running", "Starting", "Draining",
        "Decided", "Limits", "What is wrong",
    )  # fmt: skip
    rows = [html.Tr([html.Td(cell) for cell in _row(pool, scene)]) for pool in status["pools"]]
    head = html.Thead(html.Tr([html.Th(text, scope="col") for text in heads]))
    shown = html.Div(
        html.Table(
            [html.Caption(title, className="ss-visually-hidden"), head, html.Tbody(rows)],
            className="ss-table",
        ),
        className="ss-table-wrap", tabIndex=0, role="group", **attrs({"aria-label": title}),
    )  # fmt: skip
    api = outside("API", f"{scene.api_root}/controller/status", title)
    return [grid(card(title, shown, tools=api, key="modes"), key="modes")]


def _status(services: Services) -> Document:
    return services.control.status() if services.control else {}


def _row(pool: Document, scene: Scene) -> Sequence[Any]:
    mode = str(pool["mode"])
    since = f" since {when(time_of(pool['mode_at']), scene.zone)}" if pool.get("mode_at") else ""
    comment = f": {pool['mode_comment']}" if pool.get("mode_comment") else ""
    return (
        html.Strong(pool["pool"]),
        html.Span(mode.upper(), className=f"ss-status is-{LOOKS.get(mode, 'none')}"),
        html.Div(f"{pool.get('mode_by') or 'nobody'}{since}{comment}", className="ss-dim ss-words"),
        _frozen(pool),
        _policy(pool),
        *(number_text(pool.get(key)) for key in ("wanted", "ready", "starting")),
        _draining(pool),
        number_text(pool.get("desired")),
        f"{pool['least']} to {pool['most']}" if "least" in pool else "",
        html.Span(_wrong(pool), className="ss-why"),
    )


def _draining(pool: Document) -> Any:
    """How many finish what they have, and how many requests the pool has in flight meanwhile."""
    many, requests = pool.get("draining"), pool.get("requests_running")
    if not many or requests is None:
        return number_text(many)
    words = f"{number_text(requests)} requests in flight in the pool"
    return [number_text(many), html.Div(words, className="ss-dim")]


def _policy(pool: Document) -> Any:
    """What decides it, and where that came from when it is not the configuration."""
    name, adopted = str(pool.get("policy") or ""), pool.get("adopted")
    if adopted:
        return [name, html.Div(adopted.get("text") or "adopted", className="ss-dim")]
    note = pool.get("adoption_note")
    return [name, html.Div(note, className="ss-dim")] if note else name


def _frozen(pool: Document) -> Any:
    if not pool.get("is_frozen"):
        return "no"
    comment = f": {pool['frozen_comment']}" if pool.get("frozen_comment") else ""
    words = f"{until_words(pool.get('frozen_until'))}, by {pool.get('frozen_by')}{comment}"
    return html.Span(words, className="ss-why")


def _wrong(pool: Document) -> str:
    found = [str(pool["doubt"])] if pool.get("doubt") else []
    if pool.get("foreign") is not None:
        found.append(f"somebody else set it to {pool['foreign']}: held until resumed")
    found += [str(note) for note in pool.get("notes") or ()]
    return "; ".join(found)


def act_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """What waits for a yes, then what can be told to each pool."""
    status = _status(services)
    if view is None or not status.get("running"):
        return _not_running(status)
    parts: list[Any] = []
    pools, refused = status["pools"], services.control.refused_modes() if services.control else {}
    # The record has what it would change, the controller knows what it still waits for.
    still = {row["decision_id"] for row in status["pending"]}
    rows = [] if view.empty else view.frames["pending"].rows(named=True)
    waiting = [row for row in rows if row["decision_id"] in still]
    if waiting:
        cards = [_waiting(row, scene, status) for row in waiting]
        parts.append(grid(*cards, key="queue"))
    parts.append(
        html.Details(
            [
                html.Summary("Freeze, resume or change the mode of a pool"),
                grid(*(_pool_card(pool, refused, len(pools)) for pool in pools)),
                terms(),
            ],
            className="ss-card ss-fold",
            id="controller-fold",
        )
    )
    return parts


def _not_running(status: Document) -> Sequence[Any]:
    if not status.get("pools"):
        return []
    words = (
        "This process controls nothing: what you see was recorded before. Start servescope up"
        " with the pools to go on."
    )
    return [html.Div(words, className="ss-note is-stale")]


def _waiting(row: Mapping[str, Any], scene: Scene, status: Document) -> Any:
    number, pool = row["decision_id"], row["pool"]
    title = f"{pool}: {row['before_replicas']} \u2192 {row['final_replicas']} replicas?"
    state: Document = next((one for one in status["pools"] if one["pool"] == pool), {})
    why_not = "The pool is frozen: resume it first." if state.get("is_frozen") else ""
    wish = {"decision": number}
    href = scene.here(decision=str(number), pool=pool)
    inside = [
        html.P([html.A(f"Decision {number}", href=href), f": {row['reason']}."]),
        html.P(_expected(row), className="ss-dim"),
        *_drained(row, state),
        html.P(f"Expires {scene.when(row['expires_at'])}.", className="ss-dim"),
        field("comment", "Comment", f"decision-{number}"),
        html.Div(
            [
                button(
                    "Approve", {"act": "approve", **wish}, label=f"Approve decision {number}",
                    is_held=True, why_not=why_not, look="is-primary",
                ),
                button("Reject", {"act": "reject", **wish}, label=f"Reject decision {number}"),
            ],
            className="ss-row",
        ),
    ]  # fmt: skip
    return card(title, html.Div(inside, className="ss-act"), span=6, key=f"waiting-{number}")


def _expected(row: Mapping[str, Any]) -> str:
    """What is expected of it beside what is expected without it."""
    parts = []
    with_it, without = row["attainment_ratio"], row["attainment_ratio_unchanged"]
    if with_it is not None and without is not None:
        parts.append(f"attainment {percent_text(without)} \u2192 {percent_text(with_it)}")
    with_it, without = row["cost"], row["cost_unchanged"]
    if with_it is not None and without is not None:
        parts.append(f"cost {number_text(without)} \u2192 {number_text(with_it)}{_hourly(row)}")
    if not parts:
        return "What it would lead to is not known."
    return f"Expected over the settling time: {', '.join(parts)}."


def _hourly(row: Mapping[str, Any]) -> str:
    """What it adds to or takes from the cost of an hour, in the currency of the prices."""
    more = row["cost_per_hour_change"]
    if more is None:
        return ""
    sign = "+" if more >= 0 else "\N{MINUS SIGN}"
    return f", {sign}{number_text(abs(more))} an hour"


def _drained(row: Mapping[str, Any], state: Document) -> list[Any]:
    """Said of fewer replicas: what runs on those that go is finished first."""
    if (row["final_replicas"] or 0) >= (row["before_replicas"] or 0):
        return []
    running = state.get("requests_running")
    known = "" if running is None else f" The pool has {number_text(running)} requests in flight."
    words = f"Replicas that go are drained first: they finish what they have.{known}"
    return [html.P(words, className="ss-dim")]


def _pool_card(pool: Document, refused: Mapping[str, Any], count: int) -> Any:
    name, version = str(pool["pool"]), int(pool["version"])
    if pool.get("is_frozen") or pool.get("foreign") is not None:
        stop = resume_form([name], version, f"pool-{name}")
    else:
        stop = freeze_form([name], version, f"pool-{name}")
    inside = [
        html.Div(stop, className="ss-act"),
        html.Div(_mode_form(pool, refused.get(name, {})), className="ss-act"),
    ]
    span = 6 if count > 1 else 12
    return card(name, html.Div(inside, className="ss-acts"), span=span, key=f"pool-{name}")


def _mode_form(pool: Document, refused: Mapping[str, Document]) -> list[Any]:
    """Buttons of the modes; one that would be refused is disabled, with why and what to do."""
    name, now = str(pool["pool"]), str(pool["mode"])
    barred = {mode: refused[mode] for mode in MODES if mode != now and mode in refused}
    return [
        html.P(
            f"Now {now.upper()}: {MODES[now]}. Approve and active are held for a second.",
            className="ss-dim",
        ),
        *(html.P(_barred_words(mode, why), className="ss-why") for mode, why in barred.items()),
        field("comment", "Why", f"mode-{name}"),
        who_field(f"by-{name}"),
        field(
            "override", "The pool's name, to act without rehearsal", f"override-{name}",
            "leave it empty",
        ),
        html.Div([_mode_button(pool, mode, barred) for mode in MODES], className="ss-row"),
    ]  # fmt: skip


def _mode_button(pool: Document, mode: str, barred: Mapping[str, Document]) -> html.Button:
    name = str(pool["pool"])
    why_not = "It is in this mode." if mode == pool["mode"] else ""
    unless = None
    if mode in barred:
        why_not = _barred_words(mode, barred[mode])
        unless = ("override", name) if barred[mode]["may_override"] else None
    return button(
        mode.upper(),
        {"act": "mode", "pools": [name], "mode": mode, "version": int(pool["version"])},
        label=f"Set {name} to {mode}: {MODES[mode]}",
        is_held=mode in ACTING, why_not=why_not, unless=unless,
    )  # fmt: skip


def _barred_words(mode: str, why: Document) -> str:
    """Why a mode cannot be set now, and what to do."""
    hint = str(why.get("hint") or "")
    advice = f" {hint[:1].upper()}{hint[1:]}." if hint else ""
    return f"{mode.upper()} is not possible now: {why['why']}.{advice}"
