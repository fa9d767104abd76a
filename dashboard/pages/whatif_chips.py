"""What-if: the parts of the form; each choice is a link to the page with that choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html

from dashboard.scene import Scene
from dashboard.theme import attrs


def part(title: str, inside: Sequence[Any], words: str = "") -> html.Div:
    """One question of the form, with what there is to know about it."""
    parts: list[Any] = [html.H3(title), html.Div(list(inside), className="ss-chips")]
    if words:
        parts.append(html.P(words, className="ss-dim"))
    return html.Div(parts, className="ss-ask-part")


def chip(words: str, href: str, *, is_on: bool) -> html.A:
    """One choice."""
    current: dict[str, Any] = {"aria-current": "true"} if is_on else {}
    look = " is-on" if is_on else ""
    return html.A(words, href=href, className=f"ss-chip{look}", **current)


def one_of(
    scene: Scene, name: str, now: str, usual: str, values: Mapping[str, str]
) -> list[html.A]:
    """Choices of which one is in force.

    Args:
        scene: the page.
        name: in the address.
        now: the value in force, shown even where it is none of `values`.
        usual: the value without a word in the address.
        values: value to words.
    """
    shown = {**values, now: values.get(now, now)}
    return [
        chip(words, scene.here(**{name: None if value == usual else value}), is_on=value == now)
        for value, words in shown.items()
    ]


def some_of(
    scene: Scene, name: str, chosen: Sequence[str], values: Sequence[str],
    words: Mapping[str, str] | None = None, *, may_be_none: bool = False,
) -> list[html.A]:  # fmt: skip
    """Choices of which several may be in force.

    Args:
        scene: the page.
        name: in the address.
        chosen: those in force.
        values: all of them.
        words: on them, where that is not the value.
        may_be_none: whether the last one can be taken away; else nothing would mean the usual.
    """
    made = []
    for value in dict.fromkeys((*values, *chosen)):
        kept = [one for one in chosen if one != value]
        if len(kept) == len(chosen):
            kept.append(value)
        href = scene.here(**{name: ",".join(kept if kept or may_be_none else chosen)})
        made.append(chip((words or {}).get(value, value), href, is_on=value in chosen))
    return made


def menu(scene: Scene, name: str, now: str, values: Sequence[str]) -> html.Details:
    """Many choices of which one is in force, folded."""
    links = [
        chip(value, scene.here(**{name: value}), is_on=value == now)
        for value in dict.fromkeys((*values, now))
    ]
    summary = html.Summary(html.Span(now, className="ss-menu-value"), className="ss-chip")
    return html.Details(
        [summary, html.Div(links, className="ss-pop ss-pop-left ss-list")], className="ss-menu"
    )


def typed(scene: Scene, label: str, fields: Sequence[tuple[str, str, str, str]]) -> html.Form:
    """What is typed, and set together.

    Args:
        scene: the page.
        label: of the form.
        fields: name in the address, words, what stands there, what is meant where it is empty.
    """
    inside = [
        html.Label(
            [
                words,
                dcc.Input(
                    name=name, value=value, type="text", id=f"whatif-{name}", autoComplete="off",
                    placeholder=hint,
                ),
            ],
        )
        for name, words, value, hint in fields
    ]  # fmt: skip
    return html.Form(
        [*inside, html.Button("Set", className="ss-button is-small", type="submit")],
        action=scene.here(**{name: None for name, *_ in fields}),
        className="ss-range-form is-flat",
        **attrs({"aria-label": label}),
    )
