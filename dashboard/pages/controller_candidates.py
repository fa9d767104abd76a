"""Controller: policies that are watched beside the one that decides, and what to do with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, card, grid, outside, part_id
from dashboard.forms import button, field, who_field
from dashboard.pages.controller_beside import beside, course, said, time_of
from dashboard.scene import Scene
from dashboard.services import CandidateDesk, Document, Services
from dashboard.tables import table
from store.errors import ServescopeError
from store.units import percent_text

STATES = {
    "proposed": ("none", "○", "asked for"),
    "shadow": ("watch", "◔", "in shadow"),
    "adopted": ("good", "●", "decides"),
    "refused": ("bad", "✕", "refused"),
    "withdrawn": ("none", "✕", "withdrawn"),
    "ended": ("none", "✕", "ended"),
}
OPEN = ("proposed", "shadow")
MOST_LISTED = 10
_COLUMNS = ("candidate_id", "policy_text", "pool", "state", "watched_since", "steps", "replay_id")
_KEPT = (*_COLUMNS, "pools", "text", "failures", "differing_ratio", "is_validated")
_LIST_TITLE = "Which candidates are watched beside what decides?"


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """All candidates, and the chosen one beside the policy that decides."""
    if services.control is None:
        return []
    desk = services.control.candidates
    told = desk.listed()
    rows: Sequence[Document] = told["candidates"]
    if not rows:
        return []
    chosen = _chosen(scene, rows)
    parts: list[Any] = [grid(_list(rows, chosen, scene), key="candidates")]
    if chosen is not None:
        is_running = bool(told["running"])
        parts.append(_one(chosen, desk, scene, services, is_running=is_running))
    return parts


def _chosen(scene: Scene, rows: Sequence[Document]) -> Document | None:
    """The candidate of the address, else the first that is watched or decides."""
    wanted = scene.address.params.get("candidate", "")
    named = [row for row in rows if str(row["candidate_id"]) == wanted]
    usual = [row for row in rows if row["state"] in ("shadow", "adopted")]
    return next(iter([*named, *usual]), None)


def _list(rows: Sequence[Document], chosen: Document | None, scene: Scene) -> Slot:
    shown_id = None if chosen is None else chosen["candidate_id"]

    def opener(row: Mapping[str, Any]) -> html.A:
        current: dict[str, Any] = (
            {"aria-current": "true"} if row["candidate_id"] == shown_id else {}
        )
        href = scene.here(candidate=str(row["candidate_id"]))
        return html.A(f"#{row['candidate_id']}", href=href, **current)

    cells = {
        "candidate_id": opener,
        "policy_text": lambda row: html.Div(html.Strong(row["policy_text"]), className="ss-words"),
        "pool": lambda row: ", ".join(row["pools"] or [row["pool"]]),
        "state": _state,
        "watched_since": lambda row: _when(row["watched_since"], scene, "not yet"),
        "steps": _steps,
        "replay_id": lambda row: _replay(row, scene),
    }
    heads = {
        "candidate_id": "Candidate", "policy_text": "Policy", "pool": "For", "state": "Stands",
        "watched_since": "Watched since", "steps": "Steps, with another number",
        "replay_id": "From replay",
    }  # fmt: skip
    kept = [{name: row.get(name) for name in _KEPT} for row in rows]
    frame = pl.DataFrame(kept, infer_schema_length=None)
    shown: list[Any] = [
        table(frame.head(MOST_LISTED), scene, columns=_COLUMNS, cells=cells, heads=heads,
              caption=_LIST_TITLE)
    ]  # fmt: skip
    if frame.height > MOST_LISTED:
        words = f"{MOST_LISTED} of {frame.height} rows; the API has them."
        shown.append(html.P(words, className="ss-dim ss-foot"))
    api = outside("API", f"{scene.api_root}/controller/candidates", _LIST_TITLE)
    return card(_LIST_TITLE, shown, tools=[api], key="candidates")


def _state(row: Mapping[str, Any]) -> Any:
    look, glyph, words = STATES.get(row["state"], ("none", "○", str(row["state"])))
    shown = html.Span(f"{glyph} {words}", className=f"ss-status is-{look}")
    return [shown, html.Div(row["text"], className="ss-dim ss-words")] if row["text"] else shown


def _steps(row: Mapping[str, Any]) -> str:
    """How often it was asked, how often it would have another number, how often it failed."""
    differs = row["differing_ratio"]
    said = f"{row['steps']:,}"
    if differs is not None:
        said = f"{said}, {percent_text(differs)} of them"
    return f"{said}; {row['failures']:,} without an answer" if row["failures"] else said


def _replay(row: Mapping[str, Any], scene: Scene) -> Any:
    if not row["replay_id"]:
        return "\N{EN DASH}"
    link = html.A(row["replay_id"], href=scene.link("what-if", row["replay_id"]))
    if row.get("is_validated") is None:
        return [link, html.Div("the replay is gone", className="ss-dim")]
    words = "validated" if row["is_validated"] else "not validated"
    return [link, html.Div(words, className="ss-dim")]


def _when(value: Any, scene: Scene, otherwise: str) -> str:
    return scene.when(time_of(value)) if value else otherwise


def _one(
    row: Document, desk: CandidateDesk, scene: Scene, services: Services, *, is_running: bool
) -> html.Section:
    """One candidate: what both came to, their courses, and what can be told."""
    number = row["candidate_id"]
    try:
        told = desk.compared(number)
    except ServescopeError as error:
        told = {"text": f"{error.message}.", "empty": error.message}
    title = f"Candidate {number}: {row['policy_text']} beside {told.get('live_policy', 'live')}"
    api = outside("API", f"{scene.api_root}/controller/candidates/{number}", title)
    head = html.Header(
        [html.H2(title), html.Div(api, className="ss-tools")], className="ss-card-head"
    )
    facts = html.Div(
        [html.P(said(row, told), className="ss-verdict-first"), *beside(told, scene)],
        id=part_id("candidate-facts"), className="ss-drawer-act",
    )  # fmt: skip
    return html.Section(
        [head, facts, *course(told, scene, services), _acts(row, told, is_running=is_running)],
        className="ss-card ss-drawer", id="card-candidate",
    )  # fmt: skip


def _acts(row: Document, told: Document, *, is_running: bool) -> html.Div:
    """Adopt and withdraw, or give the pools back to the configuration; each held for a second."""
    state, number = row["state"], row["candidate_id"]
    inside: list[Any] = []
    if is_running and row["version"] is not None:
        if state in OPEN:
            inside = _open_form(row, told.get("adopt_refused"))
        elif state == "adopted":
            inside = _restore_form(row)
    elif state in (*OPEN, "adopted"):
        words = "Nothing can be told to it here: no controller of its pool runs in this process."
        inside = [html.P(words, className="ss-dim")]
    return html.Div(inside, className="ss-act ss-drawer-act", id=part_id(f"candidate-act-{number}"))


def _open_form(row: Document, refused: Document | None) -> list[Any]:
    """What an open candidate can be told; adopting is disabled where it would be refused."""
    number, pools = row["candidate_id"], ", ".join(row["pools"])
    wish = {"candidate": number, "version": int(row["version"])}
    why_not = "" if row["is_watched"] else "It is not watched yet: there is nothing to go by."
    unless = None
    if refused is not None and not why_not:
        hint = str(refused["hint"])
        advice = f" {hint[:1].upper()}{hint[1:]}." if hint else ""
        why_not = f"Adopting is not possible now: {refused['why']}.{advice}"
        unless = ("override", str(refused["override"])) if refused["override"] else None
    key = f"candidate-{number}"
    return [
        html.P(f"Adopting lets {row['policy_text']} decide {pools} from the next step on, in the"
               " mode they have. Withdrawing ends the watching; what was seen is kept."),
        *([html.P(why_not, className="ss-why")] if refused is not None else []),
        field("comment", "Why", f"comment-{key}"),
        who_field(f"by-{key}"),
        field("override", "The pool's name, to adopt for an active pool before it was watched long",
              f"override-{key}", "leave it empty"),
        html.Div(
            [
                button("Adopt", {"act": "adopt", **wish}, label=f"Adopt candidate {number} for"
                       f" {pools}", needs="comment", is_held=True, why_not=why_not,
                       unless=unless, look="is-primary"),
                button("Withdraw", {"act": "withdraw", **wish},
                       label=f"Withdraw candidate {number}", is_held=True),
            ],
            className="ss-row",
        ),
    ]  # fmt: skip


def _restore_form(row: Document) -> list[Any]:
    names, number = list(row["pools"]), row["candidate_id"]
    wish = {"act": "restore", "pools": names, "version": int(row["version"])}
    words = f"Lets the policy that the configuration names decide {', '.join(names)} again."
    return [
        html.P(words),
        field("comment", "Why", f"comment-restore-{number}"),
        who_field(f"by-restore-{number}"),
        html.Div(
            button("Return to the configuration", wish, label=words, needs="comment",
                   is_held=True, look="is-freeze"),
            className="ss-row",
        ),
    ]  # fmt: skip
