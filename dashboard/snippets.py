"""*Open in Python*: six lines that ask the API for the numbers of a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from dash import html

from dashboard.scene import Scene
from dashboard.theme import attrs
from store.queries.scope import join_values

# Filled in by assets/cards.js when somebody looks: where this server is, and the range that the
# picture shows at that moment.
ORIGIN, START, END = "__ORIGIN__", "__FROM__", "__TO__"


def python_menu(
    title: str, resource: str, scene: Scene, options: Mapping[str, str]
) -> html.Details:
    """A menu with the snippet and a button that copies it.

    Args:
        title: of the card.
        resource: below the API's root, such as "views/fleet/sparklines".
        scene: the page.
        options: of the view.
    """
    code = html.Pre(
        html.Code(snippet(address(resource, scene, options))),
        tabIndex=0,
        **attrs({"data-snippet": "", "aria-label": f"Python: {title}"}),
    )
    inside = [
        html.P("The numbers of this card, in Python. Nothing has to be installed."),
        code,
        html.Button("Copy", type="button", className="ss-button is-small",
                    **attrs({"data-copy-snippet": ""})),
    ]  # fmt: skip
    summary = html.Summary(
        "Python", className="ss-tool", **attrs({"aria-label": f"Open in Python: {title}"})
    )
    return html.Details(
        [summary, html.Div(inside, className="ss-pop ss-pop-right ss-about")],
        className="ss-menu ss-python",
    )


def address(resource: str, scene: Scene, options: Mapping[str, str]) -> str:
    """The address of a table with absolute times, so that tomorrow it gives the same numbers."""
    sources = join_values(source.name for source in scene.sources)
    asked: dict[str, Any] = {
        **scene.address.scope_params(), **({"source": sources} if sources else {}),
        "from": START, "to": END, **options, "format": "json",
    }  # fmt: skip
    return f"{ORIGIN}{scene.api_root}/{resource}?{urlencode(asked, quote_via=quote, safe=',:')}"


def snippet(url: str) -> str:
    """Six lines that print the rows of a table."""
    return "\n".join(
        (
            "import json, urllib.request",
            f'address = "{url}"',
            "with urllib.request.urlopen(address) as answer:",
            "    table = json.load(answer)",
            'for row in table["rows"]:',
            "    print(row)",
        )
    )
