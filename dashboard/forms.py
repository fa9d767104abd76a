"""Buttons that tell the server something, and what is typed beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dash import html

from dashboard.plain import Plain
from dashboard.theme import attrs
from dashboard.wishes import MOST_TEXT, Wish

WHO = "data-who"
"""Marks the field for a name, which whoever has signed in need not fill (`dashboard.account`)."""


def button(
    words: str,
    wish: Wish,
    *,
    label: str = "",
    needs: str = "",
    is_held: bool = False,
    why_not: str = "",
    unless: tuple[str, str] | None = None,
    look: str = "",
) -> html.Button:
    """A button that tells the server something.

    Args:
        words: on it.
        wish: what is told; `act` names it.
        label: the whole of it, for screen readers and before it is done.
        needs: field of its form that must not be empty.
        is_held: whether it must be held for a second.
        why_not: why it cannot be used now; it stays reachable and says so.
        unless: (field of its form, text): with that typed it can be used all the same.
        look: further classes.
    """
    more: dict[str, str] = {"data-act": json.dumps(wish)}
    title = "Hold it for one second" if is_held else ""
    if label:
        more["aria-label"] = label
    if needs:
        more["data-needs"] = needs
    if is_held:
        more["data-hold"] = ""
    if why_not:
        more["aria-disabled"] = "true"
        title = why_not
        if unless is not None:
            more["data-unless"] = json.dumps(unless)
    held = " is-hold" if is_held else ""
    return html.Button(
        words, className=f"ss-button{held} {look}".rstrip(), type="button", title=title,
        **attrs(more),
    )  # fmt: skip


def who_field(key: str, words: str = "Who") -> Plain:
    """Where people write their names, for the record; see `field`."""
    made = field("by", words, key, "dashboard")
    made.tree[0][1][WHO] = ""
    return made


def field(
    name: str, words: str, key: str, placeholder: str = "", *, value: str = "", kind: str = "text"
) -> Plain:
    """One line to type into, sent with the button beside it.

    The browser keeps what is typed; no callback follows it, so it needs no component of its own.

    Args:
        name: under which it is sent.
        words: before it.
        key: makes its id unique on the page.
        placeholder: what is meant where it is empty.
        value: what stands there at first.
        kind: "password" hides what is typed.
    """
    fills = "new-password" if kind == "password" else "off"
    about = {
        "name": name, "type": kind, "id": f"field-{name}-{key}", "autoComplete": fills,
        "placeholder": placeholder, "maxLength": MOST_TEXT,
        **({"defaultValue": value} if value else {}),
    }  # fmt: skip
    typed = ["div", {"className": "ss-input"}, ["input", about]]
    return Plain([["label", {"className": "ss-field"}, words, typed]])


def menu_field(name: str, words: str, key: str, values: Sequence[str], value: str = "") -> Plain:
    """A choice of one, sent with the button beside it.

    Args:
        name: under which it is sent.
        words: before it.
        key: makes its id unique on the page.
        values: to choose from; an empty list shows nothing to choose.
        value: what is chosen at first, even where it is none of them.
    """
    known = dict.fromkeys((*values, *([value] if value else ())))
    options = [["option", {"value": one}, one] for one in known]
    about = {"name": name, "id": f"field-{name}-{key}", "defaultValue": value}
    chosen = ["div", {"className": "ss-input"}, ["select", about, *options]]
    return Plain([["label", {"className": "ss-field"}, words, chosen]])
