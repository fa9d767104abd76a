"""Controller: what each mode does, and what can be told to a pool in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from dashboard.theme import attrs

_MODES = ("OFF", "DRY-RUN", "APPROVE", "ACTIVE")
_TERMS = (
    ("decided and recorded", "no", "yes", "yes", "yes"),
    ("done", "no", "no", "after approval, in time", "at once"),
    ("while frozen", "no", "recorded", "recorded, cannot be approved", "recorded, not done"),
)
_NO_MORE = "no: nothing was done"
# Action, then what comes of it in each mode, and while frozen.
_ACTS = (
    ("Freeze", "yes", "yes", "yes", "yes", "yes, with the new end"),
    ("Resume", *("nothing to resume",) * 4, "yes, with a comment"),
    ("Set OFF or DRY-RUN", "yes", "yes", "yes", "yes", "yes, it stays frozen"),
    ("Set APPROVE", "yes", "yes", "", "yes", "yes, it stays frozen"),
    ("Set ACTIVE", *("after its hours of dry-run, with sound telemetry; or with its name typed",)
     * 3, "", "the same, it stays frozen"),
    ("Approve", *("no: nothing waits",) * 2, "yes, until it expires or is replaced",
     "no: nothing waits", "no: resume first"),
    ("Reject", *("no: nothing waits",) * 2, "yes, until it expires or is replaced",
     "no: nothing waits", "yes"),
    ("Roll back", _NO_MORE, _NO_MORE, "yes, with a comment", "yes, with a comment",
     "yes in APPROVE and ACTIVE"),
    ("Adopt a candidate", *("yes, with a comment",) * 3,
     "once it was watched long enough; or with its name typed", "yes, nothing is done yet"),
)  # fmt: skip


def terms() -> html.Details:
    """Both tables, folded away."""
    inside = [
        _table("What each mode does", _MODES, _TERMS),
        _table("What can be told to a pool", (*_MODES, "frozen"), _ACTS),
    ]
    summary = html.Summary("What each mode does, and what can be told in it")
    return html.Details([summary, *inside], className="ss-inner-fold", id="controller-terms")


def _table(caption: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> html.Div:
    head = html.Tr(
        [html.Th(caption, scope="col"), *(html.Th(words, scope="col") for words in heads)]
    )
    rows: list[Any] = [
        html.Tr([html.Th(name, scope="row"), *(html.Td(words or "\N{EN DASH}") for words in rest)])
        for name, *rest in lines
    ]
    shown = html.Table([html.Thead(head), html.Tbody(rows)], className="ss-table")
    return html.Div(shown, className="ss-table-wrap", tabIndex=0, role="group",
                    **attrs({"aria-label": caption}))  # fmt: skip
