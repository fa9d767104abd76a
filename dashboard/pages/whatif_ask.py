"""What-if: what is replayed, against what, how often. Every choice is in the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dash import dcc, html

from analysis.measure import View
from dashboard.controls import range_words
from dashboard.forms import button
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.theme import attrs
from dashboard.url_state import Address
from store.units import seconds_text

SEEDS = ("3", "5", "10")
SCALES = {"0.5": "half of them", "1": "as recorded", "2": "twice", "4": "four times"}
STARTUPS = ("0", "30", "60", "180", "300", "600")
TUNES = {"0": "off", "8": "8 trials", "20": "20 trials"}
OBJECTIVE = "ttft=2,tpot=0.1,attainment=0.99"
DEFAULTS = {"seeds": "5", "scale": "1", "startups": "60", "tune": "0", "objective": OBJECTIVE}
_WHY_SCALE = {
    "0.5": "Every second request is left out.",
    "2": "Every request is there twice, moved by up to a second.",
    "4": "Every request is there four times, moved by up to a second.",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the address asks for.

    Attributes:
        policies: names.
        startups: seconds, as text.
        profile: its name.
        others: seeds, scale, tune, objective, least, most, as text.
    """

    policies: tuple[str, ...]
    startups: tuple[str, ...]
    profile: str
    others: Mapping[str, str]

    def about(self, scope: Mapping[str, str]) -> dict[str, Any]:
        """As POST /replays takes it; what makes no sense is refused there, in words."""
        found: dict[str, Any] = {
            **scope,
            "policies": list(self.policies),
            "startups": list(self.startups),
            "profile": self.profile,
        }
        for name, value in self.others.items():
            found[name] = value if name == "objective" else _number(value)
        return found


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def choice(address: Address, choices: Mapping[str, Sequence[str]]) -> Choice:
    """Read the address; what it leaves out is as usual."""
    params = address.params
    others = {name: params.get(name, usual) for name, usual in DEFAULTS.items()}
    others.pop("startups")
    others |= {name: params[name] for name in ("least", "most") if name in params}
    return Choice(
        address.values("policies") or tuple(choices["usual"]),
        address.values("startups") or (DEFAULTS["startups"],),
        params.get("profile", choices["profiles"][0]),
        others,
    )


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The choices as links, and the button that asks for it."""
    if services.replays is None:
        return [html.Div("Nothing can be replayed here.", className="ss-note is-stale")]
    choices = services.replays.choices()
    chosen = choice(scene.address, choices)
    many = len(chosen.policies) * len(chosen.startups)
    wish = {"act": "replay", "about": chosen.about(_scope(scene))}
    return [
        html.Section(
            [
                html.Header(html.H2("Replay what, against what?"), className="ss-card-head"),
                html.Div(
                    [
                        _traffic(scene),
                        html.Div(
                            button("Replay", wish, label="Replay this in the background",
                                   look="is-primary"),
                            className="ss-row ss-act",
                        ),
                        html.P(
                            f"{many + len(chosen.startups) * 2} ways at least, each with"
                            f" {chosen.others['seeds']} seeds, in processes beside this server.",
                            className="ss-dim ss-small",
                        ),
                        _part("Requests", _links(scene, "scale", chosen, SCALES),
                              _WHY_SCALE.get(chosen.others["scale"], "")),
                        _part("Policies", _toggles(scene, "policies", chosen.policies,
                                                   choices["policies"]),
                              "A fixed fleet for the peak and one that knows the future are always"
                              " there."),
                        _part("Replica", _profiles(scene, chosen, choices["profiles"])),
                        _part("Start-up of a replica", _toggles(
                            scene, "startups", chosen.startups, STARTUPS,
                            {name: seconds_text(float(name)) for name in STARTUPS}),
                            "Each is a comparison of its own."),
                        _part("Seeds", _links(scene, "seeds", chosen,
                                              {name: name for name in SEEDS}),
                              "They decide start-ups and dice, not the traffic. Every number is a"
                              " median with its range over them."),
                        _part("Tuning on the first half", _links(scene, "tune", chosen, TUNES)),
                        _goal(scene, chosen),
                    ],
                    className="ss-ask",
                ),
            ],
            className="ss-card",
        )
    ]  # fmt: skip


def _scope(scene: Scene) -> dict[str, str]:
    found = scene.address.scope_params()
    if "source" not in found and scene.sources:
        found["source"] = ",".join(source.name for source in scene.sources)
    return found


def _traffic(scene: Scene) -> html.Div:
    names = ", ".join(source.name for source in scene.sources) or "nothing yet"
    words = "What the header shows: choose another source or range there."
    return _part("Traffic", [html.P([html.Strong(names), f", {range_words(scene)}"])], words)


def _part(title: str, inside: Sequence[Any], words: str = "") -> html.Div:
    parts: list[Any] = [html.H3(title), html.Div(list(inside), className="ss-chips")]
    if words:
        parts.append(html.P(words, className="ss-dim"))
    return html.Div(parts, className="ss-ask-part")


def _chip(words: str, href: str, *, is_on: bool) -> html.A:
    current: dict[str, Any] = {"aria-current": "true"} if is_on else {}
    look = " is-on" if is_on else ""
    return html.A(words, href=href, className=f"ss-chip{look}", **current)


def _links(scene: Scene, name: str, chosen: Choice, values: Mapping[str, str]) -> list[Any]:
    now = chosen.others[name]
    shown = {**values, now: values.get(now, now)}
    return [
        _chip(words, scene.here(**{name: None if value == DEFAULTS[name] else value}),
              is_on=value == now)
        for value, words in shown.items()
    ]  # fmt: skip


def _toggles(
    scene: Scene, name: str, chosen: Sequence[str], values: Sequence[str],
    words: Mapping[str, str] | None = None,
) -> list[Any]:  # fmt: skip
    made = []
    for value in dict.fromkeys((*values, *chosen)):
        kept = [one for one in chosen if one != value]
        if len(kept) == len(chosen):
            kept.append(value)
        # The last one stays: nothing chosen would mean the usual ones.
        href = scene.here(**{name: ",".join(kept or chosen)})
        made.append(_chip((words or {}).get(value, value), href, is_on=value in chosen))
    return made


def _profiles(scene: Scene, chosen: Choice, names: Sequence[str]) -> list[Any]:
    links = [
        _chip(name, scene.here(profile=name), is_on=name == chosen.profile)
        for name in dict.fromkeys((*names, chosen.profile))
    ]
    summary = html.Summary(html.Span(chosen.profile, className="ss-menu-value"),
                           className="ss-chip")  # fmt: skip
    return [
        html.Details(
            [summary, html.Div(links, className="ss-pop ss-pop-left ss-list")], className="ss-menu"
        )
    ]


def _goal(scene: Scene, chosen: Choice) -> html.Div:
    fields = [
        html.Label(
            [
                words,
                dcc.Input(
                    name=name, value=chosen.others.get(name, ""), type="text",
                    id=f"whatif-{name}", autoComplete="off", placeholder=hint,
                ),
            ],
        )
        for name, words, hint in (
            ("objective", "Goal", OBJECTIVE),
            ("least", "Least", "1"),
            ("most", "Most", "four times the peak"),
        )
    ]  # fmt: skip
    form = html.Form(
        [*fields, html.Button("Set", className="ss-button is-small", type="submit")],
        action=scene.here(objective=None, least=None, most=None),
        className="ss-range-form is-flat",
        **attrs({"aria-label": "Goal and limits"}),
    )
    return _part("Goal and limits", [form])
