"""Controller: one decision: what was seen, forecast, limited, done, and what would flip it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools, grid, outside
from dashboard.forms import button, field
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import number_text
from dashboard.url_state import Address
from store.errors import ServescopeError

_INPUTS_ABOUT = (
    "What the policy was handed: each signal, how it was graded, how old it was, and what share of "
    "the pool's replicas told it."
)
_FORECASTS_ABOUT = "Forecasts that the policy was handed, by horizon and quantile, with their age."
# Frame -> title, definition, and what is said where it is empty.
_FRAMES = {
    "clips": (
        "Which limits changed it?", "Guards that changed what the policy wanted, in their order.",
        "No limit changed what the policy wanted.",
    ),
    "actions": (
        "What was done?", "Every attempt, with what the platform answered.",
        "The platform was not told anything.",
    ),
    "outcomes": (
        "What came of it?", "Expected and observed after the settling time.",
        "The settling time is not over, or there was nothing to compare.",
    ),
}  # fmt: skip
GRADES = {"fresh": "good", "partial": "watch", "stale": "bad", "missing": "none"}


def option(address: Address) -> Mapping[str, str]:
    """The decision of the address."""
    return {"decision": address.params.get("decision", "")}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The drawer of a decision; nothing where none was chosen."""
    if view is None or view.empty is not None or not scene.address.params.get("decision"):
        return []
    row = view.frames["decision"].row(0, named=True)
    flips, candidates, why_not = _explained(services, row["decision_id"])
    return [
        html.Section(
            [
                _head(row, scene),
                html.P(_said(row), className="ss-verdict-first"),
                _facts(row, flips, why_not),
                grid(
                    _inputs(view, scene),
                    _forecasts(view, scene),
                    _candidates(candidates, row["decision_id"], scene),
                    *(_frame(view, scene, name, *words) for name, words in _FRAMES.items()),
                    key="decision",
                ),
                _rollback(row, services),
            ],
            className="ss-card ss-drawer",
            id="card-decision",
        )
    ]


def _explained(services: Services, number: int) -> tuple[list[str], pl.DataFrame, str]:
    """What would flip it, what else could have been, and whether it can be made again."""
    if services.control is None:
        return [], pl.DataFrame(), ""
    try:
        found = services.control.explain(number)
    except ServescopeError as error:
        return [], pl.DataFrame(), error.message
    flips = [str(flip.get("text", "")) for flip in found.get("flips") or ()]
    candidates = pl.DataFrame(found.get("candidates") or [], infer_schema_length=None)
    return flips, candidates, str(found.get("why_not") or "")


def _head(row: Mapping[str, Any], scene: Scene) -> html.Header:
    close = html.A("Close", href=scene.here(decision=None), className="ss-tool")
    number = row["decision_id"]
    whole = outside("API", _document(number, scene), f"Decision {number}")
    title = f"Decision {row['decision_id']} of {row['pool']}, {scene.when(row['decided_at'])}"
    return html.Header(
        [html.H2(title), html.Div([whole, close], className="ss-tools")], className="ss-card-head"
    )


def _said(row: Mapping[str, Any]) -> str:
    before, final = number_text(row["before_replicas"]), number_text(row["final_replicas"])
    what = f"Left at {final}" if row["kind"] == "hold" else f"{before} \u2192 {final} replicas"
    return f"{what}: {row['reason']} ({row['code']})."


def _facts(row: Mapping[str, Any], flips: Sequence[str], why_not: str) -> html.Dl:
    pairs = [
        ("Policy", row["policy"]),
        ("Mode", str(row["mode"]).upper()),
        ("Wanted by the policy", number_text(row["proposed_replicas"])),
        ("Bound by", row["binding"] or "nothing"),
        (
            "There then",
            f"{number_text(row['ready'])} running, {number_text(row['starting'])} starting,"
            f" {number_text(row['draining'])} draining",
        ),
        ("What would flip it", "; ".join(flips) or "nothing that was tried"),
        ("Done", _done(row)),
    ]
    if row.get("verdict"):
        comment = f": {row['verdict_comment']}" if row.get("verdict_comment") else ""
        pairs.append(("Verdict", f"{row['verdict']} by {row['verdict_by']}{comment}"))
    if why_not:
        pairs.append(("Made again", why_not))
    rows: list[Any] = []
    for term, text in pairs:
        rows += [html.Dt(term), html.Dd(text)]
    return html.Dl(rows, className="ss-facts-list")


def _done(row: Mapping[str, Any]) -> str:
    if row["kind"] == "hold":
        return "nothing was to be done"
    if not row.get("action_outcome"):
        return "no: nothing is done in dry-run" if row["mode"] == "dry-run" else "no"
    return f"{row['action_outcome']}: {row['action_text']}"


def _inputs(view: View, scene: Scene) -> Slot | Unshown:
    title = "What was seen?"
    frame = view.frames["inputs"]
    if frame.is_empty():
        return Unshown(title, "What was seen then was deleted, or nothing was asked for.")
    cells = {
        "grade": lambda row: html.Span(
            row["grade"], className=f"ss-status is-{GRADES.get(row['grade'], 'none')}"
        )
    }
    heads = {"share_ratio": "Told by", "age_seconds": "Age"}
    shown = table(frame, scene, cells=cells, heads=heads, caption=title)
    tools = _tools(view, "inputs", title, _INPUTS_ABOUT, scene)
    return card(title, shown, span=6, tools=tools, key="inputs")


def _forecasts(view: View, scene: Scene) -> Slot | Unshown:
    title = "What was forecast?"
    frame = view.frames["forecasts"]
    if frame.is_empty():
        return Unshown(title, "No forecast was used.")
    tools = _tools(view, "forecasts", title, _FORECASTS_ABOUT, scene)
    return card(title, table(frame, scene, caption=title), span=6, tools=tools, key="forecasts")


def _candidates(frame: pl.DataFrame, number: int, scene: Scene) -> Slot | Unshown:
    title = "What else could have been?"
    if frame.is_empty():
        return Unshown(title, "What other numbers of replicas would give is not known.")
    # It is worked out anew, by the policy itself: no table of the store has it.
    tools = outside("API", _document(number, scene), title)
    return card(title, table(frame, scene, caption=title), span=6, tools=tools, key="candidates")


def _document(number: int, scene: Scene) -> str:
    """The address of a decision with everything about it."""
    return f"{scene.api_root}/controller/decisions/{number}"


def _tools(view: View, name: str, title: str, words: str, scene: Scene) -> list[Any]:
    number = str(view.frames["decision"]["decision_id"][0])
    return frame_tools(view, name, title, words, scene, decision=number)


def _frame(
    view: View, scene: Scene, name: str, title: str, about: str, nothing: str
) -> Slot | Unshown:
    frame = view.frames[name]
    if frame.is_empty():
        return Unshown(title, nothing)
    kept = [column for column in frame.columns if column not in ("decision_id", "details")]
    shown = table(frame.select(kept), scene, caption=title)
    tools = _tools(view, name, title, about, scene)
    return card(title, shown, span=6, tools=tools, key=f"of-{name}")


def _rollback(row: Mapping[str, Any], services: Services) -> Any:
    """What a rollback would do, said first; then the button."""
    if services.control is None or row["kind"] == "hold":
        return None
    try:
        plan = services.control.rollback_of(int(row["decision_id"]))
        pools = services.control.status()["pools"]
    except ServescopeError as error:
        return html.P(f"No rollback: {error.message}.", className="ss-dim")
    state = next((one for one in pools if one["pool"] == plan["pool"]), None)
    if state is None:
        return None
    now, then = plan["from_replicas"], plan["to_replicas"]
    words = (
        f"Rollback: {plan['pool']} goes from {number_text(now)} to {then} replicas, and is frozen"
        " for 15 minutes."
    )
    acts = state["mode"] in ("approve", "active")
    why_not = "" if acts else f"{plan['pool']} is in {state['mode']}: nothing is done to it."
    number = row["decision_id"]
    wish = {"act": "rollback", "decision": number, "version": int(state["version"])}
    form = [
        html.P(words),
        field("comment", "Why", f"rollback-{number}"),
        html.Div(
            button(
                "Roll back", wish, label=words, needs="comment", is_held=True, why_not=why_not,
                look="is-freeze",
            ),
            className="ss-row",
        ),
    ]  # fmt: skip
    if why_not:
        form.append(html.P(why_not, className="ss-dim"))
    return html.Div(form, className="ss-act ss-drawer-act")
