"""What a viewer tells about alerts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from dashboard.alert_desk import AlertDesk
from dashboard.services import Services
from dashboard.wishes import Wish, typed
from store.errors import InputError
from store.queries.scope import parse_duration

ANYBODY = "dashboard"
# A comma between two matchers, not one inside quotation marks.
_BETWEEN = re.compile(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)")


def _desk(services: Services) -> AlertDesk:
    if services.alerts is None:
        raise InputError("nothing can be told about alerts here")
    return services.alerts


def _silence(services: Services, wish: Wish) -> str:
    desk = _desk(services)
    given = [str(text) for text in wish.get("matchers") or ()]
    matchers = given or [text for text in _BETWEEN.split(typed(wish, "matchers")) if text.strip()]
    if not matchers:
        raise InputError("say what is to be silenced", hint='such as alertname="outage"')
    seconds = parse_duration(typed(wish, "duration") or "2h").total_seconds()
    by = services.who(typed(wish, "by") or ANYBODY)
    made = desk.silence(matchers, seconds, by, typed(wish, "comment"))
    return f"Silenced until {str(made['endsAt'])[:16].replace('T', ' ')} UTC: {made['text']}."


def _unsilence(services: Services, wish: Wish) -> str:
    by = services.who(typed(wish, "by") or ANYBODY)
    made = _desk(services).unsilence(str(wish["silence"]), by)
    return f"The silence of {made['text']} is over; alerts are told again."


ALERT_ACTS: Mapping[str, Callable[[Services, Wish], str]] = {
    "silence": _silence,
    "unsilence": _unsilence,
}
