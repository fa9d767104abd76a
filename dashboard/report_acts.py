"""What a viewer tells about scheduled reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dashboard.report_desk import ReportDesk
from dashboard.services import Services
from dashboard.wishes import Wish, typed
from store.errors import InputError
from store.queries.scope import split_values

ANYBODY = "dashboard"
LABELS = ("source", "model", "tenant", "route", "instance")


def _desk(services: Services) -> ReportDesk:
    if services.reports is None:
        raise InputError("nothing can be told about reports here")
    return services.reports


def _by(services: Services, wish: Wish) -> str:
    return services.who(typed(wish, "by") or ANYBODY)


def _save(services: Services, wish: Wish) -> str:
    table = {
        **{name: typed(wish, name) for name in ("name", "template", "when")},
        "zone": typed(wish, "zone") or "UTC",
        **{name: split_values(typed(wish, name)) for name in ("formats", "channels", "recipients")},
        "scope": {name: typed(wish, name) for name in LABELS},
    }
    made = _desk(services).save(table, _by(services, wish), may_replace=bool(wish.get("replace")))
    following = str(made["next_at"])[:16].replace("T", " ")
    return f"{made['schedule']} is kept; it is next due at {following} UTC."


def _remove(services: Services, wish: Wish) -> str:
    desk, name = _desk(services), str(wish["schedule"])
    desk.remove(name, _by(services, wish))
    return f"{name} is removed; what it made stays."


def _switch(services: Services, wish: Wish) -> str:
    desk, name = _desk(services), str(wish["schedule"])
    made = desk.switch(name, _by(services, wish), on=bool(wish["on"]))
    if not made["is_on"]:
        return f"{name} rests: nothing is made until it is enabled."
    return f"{name} is next due at {str(made['next_at'])[:16].replace('T', ' ')} UTC."


def _run(services: Services, wish: Wish) -> str:
    desk, name = _desk(services), str(wish["schedule"])
    period, send = typed(wish, "period"), bool(wish.get("send"))
    made = desk.run(name, _by(services, wish), period, send=send)
    then = "and sent to its channels" if send else "and sent to nobody"
    return f"{name} for {made['period']} is made now {then}; the list shows what becomes of it."


def _test(services: Services, wish: Wish) -> str:
    desk, name = _desk(services), str(wish["schedule"])
    channel = typed(wish, "channel")
    made = desk.test(name, _by(services, wish), channel, split_values(typed(wish, "to")))
    where = ", ".join(made["channels"])
    return f"A test of {name} goes to {where}; the list shows what it answers."


REPORT_ACTS: Mapping[str, Callable[[Services, Wish], str]] = {
    "report_save": _save,
    "report_remove": _remove,
    "report_switch": _switch,
    "report_run": _run,
    "report_test": _test,
}
