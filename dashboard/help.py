"""The help: which keys there are, and what the words on the pages mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from dashboard.navigation import NAVIGATION, go_keys
from dashboard.theme import attrs


def help_dialog(version: str) -> html.Dialog:
    """The help, closed; see assets/frame.js."""
    keys = (
        ("t", "table or chart of the card under the pointer, or of the card with the focus"),
        ("/", "filter: open the first filter, then type or use the arrows"),
        ("g + letter", f"go to a page: {_letters()}"),
        ("?", "this help"),
        ("Esc", "close a menu"),
        (
            "drag",
            "zoom into a chart; on a time axis the whole page follows (go back with the browser)",
        ),
        ("double click", "back to the whole chart"),
    )
    words = (
        ("TTFT", "time to first token: from arrival to the first token, queue included"),
        ("TPOT", "time per output token, the first one excluded"),
        ("E2E", "from arrival to the last token"),
        (
            "burn rate",
            "1 spends the budget exactly over its window; 14.4 spends 2 % of 30 days in one hour",
        ),
        (
            "interval",
            "read from a histogram's buckets a quantile is known only to lie between two edges",
        ),
    )
    head = [
        html.H2("Help"),
        html.Button(
            "✕", className="ss-icon-button", type="button", **attrs({"aria-label": "Close"})
        ),
    ]
    return html.Dialog(
        [
            html.Header(head, className="ss-help-head"),
            _terms("Keys", [(html.Kbd(key), text) for key, text in keys]),
            _terms("Words", [(html.B(word), text) for word, text in words]),
            html.P(
                "Everything on a page is in its address: copy it, reload it, send it. "
                "No key changes anything but what you see.",
                className="ss-dim",
            ),
            html.P(f"servescope {version}", className="ss-dim"),
        ],
        id="shell-help",
        className="ss-help",
        **attrs({"aria-label": "Help"}),
    )


def _letters() -> str:
    """The letters of the pages, with their names."""
    names = {item.path: item.title for _, items in NAVIGATION for item in items}
    return ", ".join(f"{letter} ({names[path]})" for path, letter in go_keys().items())


def _terms(title: str, pairs: Sequence[tuple[Any, str]]) -> html.Div:
    rows: list[Any] = []
    for term, text in pairs:
        rows += [html.Dt(term), html.Dd(text)]
    return html.Div([html.H3(title), html.Dl(rows)], className="ss-terms")
