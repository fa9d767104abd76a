"""What-if: what is replayed, against what, how often. Every choice is in the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.forms import button
from dashboard.pages.whatif_chips import chip, menu, one_of, part, some_of, typed
from dashboard.range_words import range_words
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.url_state import Address
from store.units import seconds_text

SEEDS = ("3", "5", "10")
SCALES = {"0.5": "half of them", "1": "as recorded", "2": "twice", "4": "four times"}
STARTUPS = ("0", "30", "60", "180", "300", "600")
TUNES = {"0": "off", "8": "8 trials", "20": "20 trials"}
SWITCH = {"off": "off", "on": "on"}
OBJECTIVE = "ttft=2,tpot=0.1,attainment=0.99"
DEFAULTS = {"seeds": "5", "scale": "1", "startups": "60", "tune": "0", "objective": OBJECTIVE}
RARE = ("seeds", "tune", "guards", "forecasts")
_WHY_SCALE = {
    "0.5": "Every second request is left out.",
    "2": "Every request is there twice, moved by up to a second.",
    "4": "Every request is there four times, moved by up to a second.",
}
_OF_PROFILE = ("least", "most")
Choices = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the address asks for.

    Attributes:
        policies: names.
        startups: seconds, as text.
        profile: its name; counts where no pools are named.
        pools: configured ones that are replayed together, with their own limits and guards.
        guards: "on" or "off"; usually on with pools.
        forecasts: "on" or "off".
        others: seeds, scale, tune, objective, least, most, as text.
    """

    policies: tuple[str, ...]
    startups: tuple[str, ...]
    profile: str
    pools: tuple[str, ...]
    guards: str
    forecasts: str
    others: Mapping[str, str]

    @property
    def usual_guards(self) -> str:
        """Whether guards stand behind policies where nobody says so."""
        return "on" if self.pools else "off"

    def about(self, scope: Mapping[str, str]) -> dict[str, Any]:
        """As POST /replays takes it; what makes no sense is refused there, in words."""
        found: dict[str, Any] = {
            **scope,
            "policies": list(self.policies),
            "startups": list(self.startups),
        }
        found |= {"pools": list(self.pools)} if self.pools else {"profile": self.profile}
        if self.guards != self.usual_guards:
            found["guards"] = _switched(self.guards)
        if self.forecasts != "off":
            found["forecasts"] = _switched(self.forecasts)
        for name, value in self.others.items():
            if not (self.pools and name in _OF_PROFILE):
                found[name] = value if name == "objective" else _number(value)
        return found


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _switched(text: str) -> bool | str:
    return {"on": True, "off": False}.get(text, text)


def choice(address: Address, choices: Choices) -> Choice:
    """Read the address; what it leaves out is as usual."""
    params = address.params
    others = {name: params.get(name, usual) for name, usual in DEFAULTS.items()}
    others.pop("startups")
    others |= {name: params[name] for name in _OF_PROFILE if name in params}
    pools = address.values("pools")
    return Choice(
        address.values("policies") or tuple(choices["usual"]),
        address.values("startups") or (DEFAULTS["startups"],),
        params.get("profile", choices["profiles"][0]),
        pools,
        params.get("guards", "on" if pools else "off"),
        params.get("forecasts", "off"),
        others,
    )


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The choices as links, and the button that asks for it."""
    if services.replays is None:
        return [html.Div("Nothing can be replayed here.", className="ss-note is-stale")]
    choices = services.replays.choices()
    chosen = choice(scene.address, choices)
    wish = {"act": "replay", "about": chosen.about(_scope(scene))}
    press = button("Replay", wish, label="Replay this in the background", look="is-primary")
    return [
        html.Section(
            [
                html.Header(html.H2("Replay what, against what?"), className="ss-card-head"),
                html.Div(
                    [
                        _traffic(scene),
                        html.Div(press, className="ss-row ss-act"),
                        html.P(_work(chosen), className="ss-dim ss-small"),
                        part("Requests", _one(scene, "scale", chosen, SCALES),
                             _WHY_SCALE.get(chosen.others["scale"], "")),
                        part("Policies", some_of(scene, "policies", chosen.policies,
                                                 choices["policies"]),
                             _policy_words(chosen, choices)),
                        *_fleet(scene, chosen, choices),
                        _startups(scene, chosen),
                        _goal(scene, chosen),
                        _rare(scene, chosen),
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


def _work(chosen: Choice) -> str:
    many = len(chosen.policies) * len(chosen.startups) + len(chosen.startups) * 2
    seeds = chosen.others["seeds"]
    return f"{many} ways at least, each with {seeds} seeds, in processes beside this server."


def _traffic(scene: Scene) -> html.Div:
    names = ", ".join(source.name for source in scene.sources) or "nothing yet"
    words = "What the header shows: choose another source or range there."
    return part("Traffic", [html.P([html.Strong(names), f", {range_words(scene)}"])], words)


def _one(scene: Scene, name: str, chosen: Choice, values: Mapping[str, str]) -> list[html.A]:
    return one_of(scene, name, chosen.others[name], DEFAULTS[name], values)


def _policy_words(chosen: Choice, choices: Choices) -> str:
    always = "A fixed fleet for the peak and one that knows the future are always there"
    is_usual = chosen.policies == tuple(choices["usual"])
    # Who names policies gets those; the usual ones are joined by what there is.
    too = chosen.pools and is_usual
    return f"{always}; so is the policy that decides the pools today." if too else f"{always}."


def _fleet(scene: Scene, chosen: Choice, choices: Choices) -> list[html.Div]:
    """Replicas of one kind, or one's own pools where there are some."""
    own, unable = choices.get("pools", ()), choices.get("pools_without_profile", ())
    names = menu(scene, "profile", chosen.profile, choices["profiles"])
    lacks = (
        f"{', '.join(unable)} cannot be replayed: no profile says what a replica can do."
        " servescope calibrate makes one."
        if unable
        else ""
    )
    if not (own or chosen.pools):
        return [part("Replica", [names], lacks)]
    plain = chip("one kind of replica", scene.here(pools=None), is_on=not chosen.pools)
    pools = some_of(scene, "pools", chosen.pools, own, may_be_none=True)
    brings = "Your own pools as they are configured: profile, limits, price and guards. "
    fleet = part("Fleet", [plain, *pools], (brings if chosen.pools else "") + lacks)
    return [fleet] if chosen.pools else [fleet, part("Replica", [names])]


def _startups(scene: Scene, chosen: Choice) -> html.Div:
    times = {name: seconds_text(float(name)) for name in STARTUPS}
    words = "Each is a comparison of its own."
    if chosen.pools:
        words = f"For pools that have none of their own. {words}"
    links = some_of(scene, "startups", chosen.startups, STARTUPS, times)
    return part("Start-up of a replica", links, words)


def _goal(scene: Scene, chosen: Choice) -> html.Div:
    goal = chosen.others["objective"]
    if chosen.pools:
        own = "" if goal == OBJECTIVE else goal
        form = typed(scene, "Goal", (("objective", "Goal", own, "that of the pools"),))
        return part("Goal", [form])
    fields = (
        ("objective", "Goal", goal, OBJECTIVE),
        ("least", "Least", chosen.others.get("least", ""), "1"),
        ("most", "Most", chosen.others.get("most", ""), "four times the peak"),
    )
    return part("Goal and limits", [typed(scene, "Goal and limits", fields)])


def _rare(scene: Scene, chosen: Choice) -> html.Details:
    """What few change, folded; the fold says what is in force, and stays open while one chooses."""
    seeds, tune = chosen.others["seeds"], chosen.others["tune"]
    tuned = "no tuning" if tune == "0" else f"{TUNES.get(tune, tune)} of tuning"
    guards = "guards" if chosen.guards == "on" else "no guards"
    foresight = "forecasts" if chosen.forecasts == "on" else "no forecasts"
    is_set = any(name in scene.address.params for name in (*RARE, "more"))
    scene = replace(scene, address=scene.address.changed(more="on"))
    opened: dict[str, Any] = {"open": True} if is_set else {}
    inside = [
        part("Seeds", _one(scene, "seeds", chosen, {name: name for name in SEEDS}),
             "They decide start-ups and dice, not the traffic. Every number is a median with its"
             " range over them."),
        part("Tuning on the first half", _one(scene, "tune", chosen, TUNES),
             "Each policy gets so many trials; what is judged is the second half."),
        part("Guards behind every policy",
             one_of(scene, "guards", chosen.guards, chosen.usual_guards, SWITCH),
             "The very guards of the controller: limits, trust, cooldowns, steps, budget. With them"
             " the answer is what live would do."),
        part("Forecasts", one_of(scene, "forecasts", chosen.forecasts, "off", SWITCH),
             "Hands policies forecasts of the request rate, as live, made from what had come by"
             " then. Of the shipped policies risk listens."),
    ]  # fmt: skip
    return html.Details(
        [
            html.Summary([
                html.Span("More: "),
                html.Span(f"{seeds} seeds, {tuned}, {guards}, {foresight}", className="ss-dim"),
            ]),
            *inside,
        ],
        className="ss-inner-fold ss-ask-more", id="whatif-more",
        **opened,
    )  # fmt: skip
