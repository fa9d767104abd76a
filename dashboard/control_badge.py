"""How the controller stands, in the header of every page, and the way to stop it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dash import html

from dashboard import forms
from dashboard.rights import refusing
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.theme import attrs
from store.errors import ServescopeError

LEAD = "Controller:"
FREEZES: tuple[tuple[str, float | None], ...] = (
    ("for 15 minutes", 900.0),
    ("for 1 hour", 3600.0),
    ("until resumed", None),
)


@dataclass(frozen=True, slots=True)
class Badge:
    """What the header shows of the controller.

    Attributes:
        badge: how it stands, as a link to its page.
        word: on the button of the menu.
        inside: of the menu; empty without pools.
        said: tells this badge from another.
        menu_said: tells this menu from another.
    """

    badge: html.A
    word: str
    inside: list[Any]
    said: str
    menu_said: str

    @property
    def menu(self) -> tuple[str, list[Any], bool]:
        """(word, inside, whether there is none)."""
        return self.word, self.inside, not self.inside


def badge(services: Services, scene: Scene) -> Badge:
    """The badge with the menu that freezes or resumes.

    Args:
        services: the controller.
        scene: the page.
    """
    pools, version, trouble = _standing(services)
    words, look = _words(pools, trouble, scene)
    link = scene.link("controller")
    shown = html.A(
        [
            html.Span(className=f"ss-dot is-{look}"),
            html.Span(f"{LEAD} ", className="ss-badge-lead"),
            html.Span(words, className="ss-badge-words"),
        ],
        href=link,
        title=f"{LEAD} {words}",
        className=f"ss-badge is-{look}",
    )
    frozen = [pool for pool in pools if pool.get("is_frozen")]
    is_whole = bool(pools) and len(frozen) == len(pools)
    inside = _menu(frozen, version, is_whole) if pools else []
    inside = refusing(inside, services.rights(), "shell")
    names = [str(pool["pool"]) for pool in pools]
    return Badge(
        shown,
        "Resume" if is_whole else "Freeze",
        inside,
        json.dumps([words, link]),
        json.dumps([version, names, len(frozen)]),
    )


def _standing(services: Services) -> tuple[Sequence[Mapping[str, Any]], int, str]:
    if services.control is None:
        return (), 0, ""
    try:
        status = services.control.status()
    except ServescopeError as error:
        return (), 0, error.message
    if not status.get("running"):
        return (), 0, ""
    return status["pools"], newest(status["pools"]), ""


def newest(pools: Sequence[Mapping[str, Any]]) -> int:
    """The newest version of these pools: what whoever acts must have seen."""
    return max((int(pool.get("version") or 0) for pool in pools), default=0)


def _words(pools: Sequence[Mapping[str, Any]], trouble: str, scene: Scene) -> tuple[str, str]:
    if trouble:
        return f"unknown ({trouble})", "stale"
    if not pools:
        return "OFF, watching only", "off"
    frozen = [pool for pool in pools if pool.get("is_frozen")]
    modes = Counter(str(pool["mode"]).upper() for pool in pools)
    (said, _), *more = modes.most_common()
    words = said if not more else " · ".join(f"{n} {mode}" for mode, n in modes.most_common())
    if not frozen:
        return words, "acting" if {"ACTIVE", "APPROVE"} & set(modes) else "fresh"
    if len(frozen) < len(pools):
        return f"{words} · {len(frozen)} of {len(pools)} FROZEN", "stale"
    return f"{words} · FROZEN {_until(frozen, scene)}", "stale"


def _until(frozen: Sequence[Mapping[str, Any]], scene: Scene) -> str:
    ends = [pool.get("frozen_until") for pool in frozen]
    if any(end is None for end in ends):
        return "until resumed"
    last = max(_time(end) for end in ends)
    return f"until {last.astimezone(scene.zone):%H:%M}"


def _time(value: Any) -> datetime:
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _menu(frozen: Sequence[Mapping[str, Any]], version: int, is_whole: bool) -> list[Any]:
    inside: list[Any] = []
    if not is_whole:
        inside += freeze_form([], version, "shell")
    if frozen:
        names = [str(pool["pool"]) for pool in frozen]
        inside += resume_form(names, newest(frozen), "shell")
    return inside


def freeze_form(pools: Sequence[str], version: int, key: str) -> list[Any]:
    """Three buttons to hold; nothing needs to be typed."""
    whom = ", ".join(pools) or "all pools"
    buttons = [
        forms.button(
            f"Freeze {words}",
            {"act": "freeze", "pools": list(pools), "seconds": seconds, "version": version},
            label=f"Freeze {whom} {words}", is_held=True, look="is-freeze",
        )
        for words, seconds in FREEZES
    ]  # fmt: skip
    words = f"Holds {whom} as they are. Decisions are still made and recorded. Hold for a second."
    return [html.P(words, className="ss-dim"), html.Div(buttons, className="ss-row", **_key(key))]


def resume_form(pools: Sequence[str], version: int, key: str) -> list[Any]:
    """A comment, then the button."""
    whom = ", ".join(pools)
    wish = {"act": "resume", "pools": list(pools), "version": version}
    return [
        html.P(f"Lets {whom} go on from what is there now.", className="ss-dim"),
        forms.field("comment", "Why", f"resume-{key}", "rack 4 is back"),
        html.Div(
            forms.button("Resume", wish, label=f"Resume {whom}", needs="comment"),
            className="ss-row",
        ),
    ]


def _key(key: str) -> dict[str, Any]:
    return attrs({"data-form": key})
