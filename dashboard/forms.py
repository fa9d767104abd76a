"""Buttons that tell the server something, and what is typed beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dash import html

from dashboard.plain import Plain
from dashboard.theme import attrs

Wish = Mapping[str, Any]
MOST_TEXT = 500


def typed(wish: Wish, name: str) -> str:
    """What was typed into a field of the wish's form; "" where there is none."""
    return str((wish.get("fields") or {}).get(name) or "").strip()[:MOST_TEXT]


def button(
    words: str,
    wish: Wish,
    *,
    label: str = "",
    needs: str = "",
    is_held: bool = False,
    why_not: str = "",
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
    held = " is-hold" if is_held else ""
    return html.Button(
        words, className=f"ss-button{held} {look}".rstrip(), type="button", title=title,
        **attrs(more),
    )  # fmt: skip


def field(name: str, words: str, key: str, placeholder: str = "") -> Plain:
    """One line to type into, sent with the button beside it.

    The browser keeps what is typed; no callback follows it, so it needs no component of its own.
    """
    about = {
        "name": name, "type": "text", "id": f"field-{name}-{key}", "autoComplete": "off",
        "placeholder": placeholder, "maxLength": MOST_TEXT,
    }  # fmt: skip
    typed = ["div", {"className": "ss-input"}, ["input", about]]
    return Plain([["label", {"className": "ss-field"}, words, typed]])
