"""What somebody's role does not allow stays in sight, disabled, and says why.

No page takes care of this: every part that goes to a browser passes here, so none can forget. It
is no protection; whoever acts is asked for the role again (`dashboard.acting`, the API).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboard.theme import attrs
from store.access import ACTS, Rights, Role

DOES = "data-does"
"""Names the act of a button that tells the server so in a way of its own, by a callback say."""


def refusing(parts: Sequence[Any], rights: Rights, key: str) -> list[Any]:
    """The same parts; buttons that the role forbids are disabled, and a line says why.

    It stands right above the first part with such a button.

    Args:
        parts: of a page; changed where they lie.
        rights: of whoever looks.
        key: makes the id of the line unique on the page.
    """
    refused: dict[str, int] = {}
    for place, part in enumerate(parts):
        for button, act in _acting(part):
            why_not = rights.why_not(act)
            if why_not:
                refused.setdefault(act, place)
                _disable(button, why_not, _line_id(key))
    if not refused:
        return list(parts)
    first = min(refused.values())
    return [*parts[:first], _line(list(refused), rights, key), *parts[first:]]


def _disable(button: Any, why_not: str, line: str) -> None:
    """It can still be reached by keyboard, and says why it does nothing."""
    button.title = why_not
    setattr(button, "aria-disabled", "true")
    setattr(button, "aria-describedby", line)
    if hasattr(button, "data-unless"):  # nothing that is typed gives a role
        delattr(button, "data-unless")


def _acting(part: Any) -> Iterator[tuple[html.Button, str]]:
    """Every button of a tree that tells the server something, with its act."""
    if isinstance(part, list | tuple):
        for one in part:
            yield from _acting(one)
    elif isinstance(part, html.Button):
        wish = getattr(part, "data-act", None)
        act = json.loads(wish)["act"] if wish else getattr(part, DOES, None)
        if act:
            yield part, act
    elif isinstance(part, Component):
        yield from _acting(getattr(part, "children", None))


def _line(acts: Sequence[str], rights: Rights, key: str) -> html.P:
    said = [
        f"{_listed([ACTS[act].words for act in acts if ACTS[act].least is role])} needs the role"
        f" {role.word}."
        for role in Role
        if any(ACTS[act].least is role for act in acts)
    ]
    words = f"You have the role {rights.role.word} ({rights.set_by}). {' '.join(said)}"
    return html.P(words, id=_line_id(key), className="ss-note is-role", **attrs({"role": "note"}))


def _line_id(key: str) -> str:
    return f"why-not-{key}"


def _listed(words: Sequence[str]) -> str:
    """`Freezing, resuming or setting a mode`."""
    first, *more = words
    rest = [word[:1].lower() + word[1:] for word in more]
    if not rest:
        return first
    return f"{', '.join([first, *rest[:-1]])} or {rest[-1]}"
