"""What a viewer tells the controller, the replays and the alerts: one way in, one sentence back.

Buttons carry what they mean; the browser posts it (never a link, never a GET), and whoever has not
seen the newest state is refused with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from dash import Dash, Input, Output, State, no_update

from dashboard import control_badge, saved
from dashboard.alert_acts import ALERT_ACTS
from dashboard.model_desk import MODEL_ACTS
from dashboard.people_desk import PEOPLE_ACTS, Once
from dashboard.plain import plain
from dashboard.report_acts import REPORT_ACTS
from dashboard.scene import scene_of
from dashboard.services import ControlDesk, ReplayDesk, Services
from dashboard.slo_desk import SLO_ACTS
from dashboard.text import when
from dashboard.url_state import parse
from dashboard.wishes import typed
from store.errors import InputError, ServescopeError

Wish = Mapping[str, Any]
ANYBODY = "dashboard"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a wish.

    Attributes:
        text: one or two sentences.
        is_done: whether it was done.
        secret: something that is shown this one time; "" as a rule.
    """

    text: str
    is_done: bool
    secret: str = ""


def register(app: Dash, services: Services, prefix: str) -> None:
    """One callback for all wishes, and the place in the header that says how it stands."""

    @app.callback(
        Output("shell-told", "data"), Input("shell-act", "data"), prevent_initial_call=True
    )
    def tell(wish: Any) -> Any:
        if not isinstance(wish, dict):
            return no_update
        told = answered(services, wish)
        news = {"text": told.text, "ok": told.is_done, "at": wish.get("at")}
        return {**news, "secret": told.secret} if told.secret else news

    @app.callback(
        Output("shell-control-badge", "children"),
        Output("shell-control-word", "children"),
        Output("shell-control-inside", "children"),
        Output("shell-control-menu", "hidden"),
        Output("shell-control-shown", "data"),
        Input("shell-url", "pathname"),
        Input("shell-url", "search"),
        Input("shell-pulse", "data"),
        Input("shell-control-tick", "n_intervals"),
        State("shell-control-shown", "data"),
    )
    def control(pathname: str, search: str, pulse: object, tick: object, shown: Any) -> Any:
        scene = scene_of(services, parse(pathname, search, prefix), prefix)
        made = control_badge.badge(services, scene)
        before = shown if isinstance(shown, dict) else {}
        # What is typed into an open menu stays until the menu says something else.
        menu = (no_update,) * 3 if made.menu_said == before.get("menu") else made.menu
        badge = no_update if made.said == before.get("badge") else plain(made.badge)
        return badge, *menu, {"badge": made.said, "menu": made.menu_said}

    app.clientside_callback(  # type: ignore[no-untyped-call]
        "function (news) { return window.servescope.told(news); }",
        Output("shell-pulse", "data", allow_duplicate=True),
        Input("shell-told", "data"),
        prevent_initial_call=True,
    )


def answered(services: Services, wish: Wish) -> Told:
    """Do what is wished, or say why not.

    Args:
        services: whom to tell.
        wish: from the browser, so nothing of it is taken for granted: `act`, what the act needs,
            and `fields`, what was typed.
    """
    try:
        does = _ACTS.get(str(wish.get("act")))
        if does is None:
            raise InputError("this page asked for something unknown", hint="reload it")
        services.rights().check(str(wish["act"]))
        said = does(services, wish)
        if isinstance(said, Once):
            return Told(said.text, is_done=True, secret=said.secret)
        return Told(said, is_done=True)
    except ServescopeError as error:
        _log.info("wish_refused", extra={"act": str(wish.get("act")), "why": error.message})
        return Told(_refusal(error), is_done=False)
    except (KeyError, TypeError, ValueError):
        return Told("This page asked for something that makes no sense. Reload it.", is_done=False)


def _refusal(error: ServescopeError) -> str:
    """What was not done, how it stands now, and what to do."""
    parts = [_sentence(error.message)]
    state = getattr(error, "state", None)
    if isinstance(state, Mapping):
        parts += [control_words(one) for one in state.values() if isinstance(one, Mapping)]
        if "decision_id" in state:
            parts.append(
                f"The newest is decision {state['decision_id']}: {state.get('before_replicas')} to"
                f" {state.get('final_replicas')} replicas."
            )
    if error.hint:
        parts.append(_sentence(error.hint))
    return " ".join(parts)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def control_words(state: Mapping[str, Any]) -> str:
    """One pool's treatment as a sentence."""
    pool, mode = state.get("pool"), state.get("mode")
    if state.get("is_frozen"):
        by = f" by {state['frozen_by']}" if state.get("frozen_by") else ""
        return f"{pool} is in {mode}, frozen {until_words(state.get('frozen_until'))}{by}."
    by = f", set by {state['mode_by']}" if state.get("mode_by") else ""
    return f"{pool} is in {mode}{by}, not frozen."


def until_words(until: Any) -> str:
    """Until when a freeze lasts."""
    if until is None:
        return "until resumed"
    at = until if isinstance(until, datetime) else datetime.fromisoformat(str(until))
    return f"until {when(at, ZoneInfo('UTC'))}"


def _control(services: Services) -> ControlDesk:
    if services.control is None:
        raise InputError("nothing can be told to the controller here")
    return services.control


def _replays(services: Services) -> ReplayDesk:
    if services.replays is None:
        raise InputError("nothing can be replayed here")
    return services.replays


def _by(services: Services, wish: Wish) -> str:
    return services.who(typed(wish, "by") or ANYBODY)


def _pools(wish: Wish) -> list[str]:
    return [str(pool) for pool in wish.get("pools") or ()]


def _version(wish: Wish) -> int:
    # Never None: a page that does not say what it saw must not act.
    return int(wish["version"])


def _freeze(services: Services, wish: Wish) -> str:
    seconds = None if wish["seconds"] is None else float(wish["seconds"])
    found = _control(services).freeze(
        _pools(wish), seconds, _by(services, wish), typed(wish, "comment"), _version(wish)
    )
    return " ".join(control_words(state) for state in found)


def _resume(services: Services, wish: Wish) -> str:
    comment = typed(wish, "comment")
    found = _control(services).resume(_pools(wish), _by(services, wish), comment, _version(wish))
    return " ".join(control_words(state) for state in found)


def _mode(services: Services, wish: Wish) -> str:
    found = _control(services).mode(
        _pools(wish),
        str(wish["mode"]),
        _by(services, wish),
        typed(wish, "comment"),
        _version(wish),
        typed(wish, "override"),
    )
    return " ".join(control_words(state) for state in found)


def _approve(services: Services, wish: Wish) -> str:
    made = _control(services).approve(
        int(wish["decision"]), _by(services, wish), typed(wish, "comment")
    )
    return f"Decision {wish['decision']} approved: {made['outcome']}."


def _reject(services: Services, wish: Wish) -> str:
    _control(services).reject(int(wish["decision"]), _by(services, wish), typed(wish, "comment"))
    return f"Decision {wish['decision']} rejected; nothing is done."


def _rollback(services: Services, wish: Wish) -> str:
    made = _control(services).rollback(
        int(wish["decision"]), _by(services, wish), typed(wish, "comment"), _version(wish)
    )
    return (
        f"{made['pool']} returns to {made['to_replicas']} replicas ({made['outcome']}), frozen for"
        " 15 minutes."
    )


def _submit(services: Services, wish: Wish) -> str:
    made = _replays(services).submit(dict(wish["about"]), services.who(ANYBODY))
    return f"Queued as {made['replay_id']}."


def _cancel(services: Services, wish: Wish) -> str:
    state = _replays(services).cancel(str(wish["replay"]), services.who(ANYBODY))
    return f"Replay {wish['replay']}: {state}. What was done is kept."


def _propose(services: Services, wish: Wish) -> str:
    made = _replays(services).propose(
        str(wish["replay"]), dict(wish["about"]), services.who(ANYBODY)
    )
    return (
        f"{made['policy']} is candidate {made['candidate_id']} for {made['pool']}: watched in"
        " dry-run, it acts on nothing."
    )


def _adopt(services: Services, wish: Wish) -> str:
    made = _control(services).candidates.adopt(
        int(wish["candidate"]), _by(services, wish), typed(wish, "comment"), _version(wish),
        typed(wish, "override"),
    )  # fmt: skip
    return f"{made['policy_text']} decides {', '.join(made['pools'])} from the next step on."


def _withdraw(services: Services, wish: Wish) -> str:
    candidates = _control(services).candidates
    made = candidates.withdraw(
        int(wish["candidate"]), _by(services, wish), typed(wish, "comment"), _version(wish)
    )
    return f"Candidate {made['candidate_id']} is watched no more; what it would have done is kept."


def _restore(services: Services, wish: Wish) -> str:
    states = _control(services).candidates.restore_policy(
        _pools(wish), _by(services, wish), typed(wish, "comment"), _version(wish)
    )
    names = ", ".join(str(state["pool"]) for state in states)
    return f"The policy of the configuration decides {names} again."


_ACTS: Mapping[str, Callable[[Services, Wish], str | Once]] = {
    "freeze": _freeze,
    "resume": _resume,
    "mode": _mode,
    "approve": _approve,
    "reject": _reject,
    "rollback": _rollback,
    "adopt": _adopt,
    "withdraw": _withdraw,
    "restore": _restore,
    "replay": _submit,
    "cancel": _cancel,
    "propose": _propose,
    **ALERT_ACTS,
    **REPORT_ACTS,
    **MODEL_ACTS,
    **saved.ACTS,
    **SLO_ACTS,
    **PEOPLE_ACTS,
}
ACTS: Sequence[str] = tuple(_ACTS)
