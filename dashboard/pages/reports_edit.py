"""Reports: one schedule, what can be done with it, and the form that it is written in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import card, grid
from dashboard.forms import button, field, menu_field, who_field
from dashboard.plain import Plain
from dashboard.report_acts import LABELS
from dashboard.scene import Scene
from dashboard.services import Services

NEW = "new"
_WRITTEN = "It stands in servescope.toml: change it there."
_HELP = (
    "When: weekly mon 08:00, daily 08:00, weekdays 08:00, monthly 1 08:00, hourly, or cron such as"
    " 0 8 * * 1, on the clock of the time zone. The report is about the newest day, week or month"
    " that is over then. Several forms, channels and addresses: commas between them."
)


def _name(scene: Scene) -> str | None:
    return scene.address.path[1] if len(scene.address.path) > 1 else None


def acts_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """What can be done with the schedule that is open."""
    name = _name(scene)
    if view is None or services.reports is None or name in (None, NEW):
        return []
    found = view.frames["schedules"].filter(pl.col("schedule") == name)
    if found.is_empty():
        return [_gone(str(name), scene)]
    row = found.row(0, named=True)
    channels = [str(one["name"]) for one in services.reports.choices()["channels"]]
    inside = [_make(row, scene), _send_test(row, channels), _keep(row)]
    return [grid(card(f"What to do with {name}?", html.Div(inside, className="ss-acts"),
                      key="reports-acts"), key="reports-acts")]  # fmt: skip


def _gone(name: str, scene: Scene) -> html.Div:
    back = html.A("All schedules", href=scene.link("reports"))
    return html.Div([html.H2(f"No schedule is called {name}."), html.P(back)], className="ss-empty")


def _make(row: Mapping[str, Any], scene: Scene) -> html.Div:
    name = str(row["schedule"])
    root = f"{scene.api_root}/reports/schedules/{quote(name, safe='')}"
    why_not = "" if row["channels"] else "It has no channel: name one below."
    wish = {"act": "report_run", "schedule": name}
    parts = [
        field("period", "For which period", f"run-{name}", "the newest that is over"),
        html.Div(
            [
                html.A("Preview", href=f"{root}/preview", target="_blank", className="ss-button",
                       title="The newest, made now and kept nowhere"),
                button("Run now", wish, label=f"Make {name} now and send it to nobody"),
                button("Run and send", {**wish, "send": True}, is_held=True, why_not=why_not,
                       label=f"Make {name} now and send it to its channels"),
            ],
            className="ss-row",
        ),
    ]  # fmt: skip
    return html.Div(parts, className="ss-act")


def _send_test(row: Mapping[str, Any], channels: Sequence[str]) -> html.Div:
    name = str(row["schedule"])
    chosen = next(iter(row["channels"]), "")
    why_not = "" if channels else "No channel is configured: write [[reports.channel]]."
    parts = [
        menu_field("channel", "Channel", f"test-{name}", channels, chosen),
        field("to", "To whom, for e-mail", f"test-{name}", "those of the schedule"),
        html.Div(
            button("Send a test", {"act": "report_test", "schedule": name}, why_not=why_not,
                   label=f"Send the newest {name} to one channel, marked as a test"),
            className="ss-row",
        ),
    ]  # fmt: skip
    return html.Div(parts, className="ss-act")


def _keep(row: Mapping[str, Any]) -> html.Div:
    name, on = str(row["schedule"]), bool(row["is_on"])
    is_written = row["place"] == "file"
    rests = "enabled = false" in (row["note"] or "")
    switch = button(
        "Disable" if on else "Enable",
        {"act": "report_switch", "schedule": name, "on": not on},
        label=f"{'Disable' if on else 'Enable'} {name}",
        why_not="It is written with enabled = false: change it there." if rests else "",
    )
    remove = button(
        "Remove", {"act": "report_remove", "schedule": name}, is_held=True,
        label=f"Remove {name}", why_not=_WRITTEN if is_written else "",
    )  # fmt: skip
    words = "It works." if on else f"It rests: {row['note']}."
    parts = [html.P(words, className="ss-dim"), who_field(f"keep-{name}"),
             html.Div([switch, remove], className="ss-row")]  # fmt: skip
    return html.Div(parts, className="ss-act")


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The form of the schedule that is open, or of a new one."""
    name = _name(scene)
    if services.reports is None or name is None:
        return []
    told = {} if name == NEW else services.reports.definition(name)
    if told is None:
        return []
    choices = services.reports.choices()
    title = "A new schedule" if name == NEW else f"How is {name} written?"
    return [
        grid(card(title, _form(name, told, choices, scene), key="reports-edit"), key="reports-edit")
    ]


def _form(
    name: str, told: Mapping[str, Any], choices: Mapping[str, Sequence[Any]], scene: Scene
) -> html.Div:
    """What is typed is saved by a button, or shown as a report by the form itself."""
    is_new = name == NEW
    why_not = "" if is_new or told.get("place") != "file" else _WRITTEN
    wish = {"act": "report_save", "replace": not is_new}
    save = button("Save", wish, look="" if why_not else "is-primary", why_not=why_not,
                  label="Save this schedule")  # fmt: skip
    preview = html.Button("Preview", type="submit", className="ss-button",
                          title="The report as typed here, made now and kept nowhere")  # fmt: skip
    who = [
        field("name", "Name", name, "weekly-chat", value="" if is_new else name),
        who_field(f"edit-{name}", "Who changes it"),
    ]
    what = html.Form(
        [
            html.Div([*_what(name, told, choices), *_whom(name, told, choices)],
                     className="ss-fields"),
            html.P(_HELP, className="ss-dim"),
            html.Div([save, preview], className="ss-row"),
        ],
        action=f"{scene.api_root}/reports/preview/draft", target="_blank",
    )  # fmt: skip
    return html.Div([html.Div(who, className="ss-fields"), what], className="ss-act")


def _what(name: str, told: Mapping[str, Any], choices: Mapping[str, Sequence[Any]]) -> list[Plain]:
    scope = told.get("scope") or {}
    return [
        menu_field("template", "Says", name, choices["templates"], told.get("template", "weekly")),
        field("when", "When", name, "weekly mon 08:00", value=told.get("when", "")),
        field("zone", "Time zone", name, "UTC", value=told.get("zone", "")),
        *(
            field(label, f"Only {label}", name, "all", value=scope.get(label, ""))
            for label in LABELS[:3]
        ),
        *(Plain([["input", {"type": "hidden", "name": label, "value": scope[label]}]])
          for label in LABELS[3:] if scope.get(label)),
    ]  # fmt: skip


def _whom(name: str, told: Mapping[str, Any], choices: Mapping[str, Sequence[Any]]) -> list[Plain]:
    channels = [f"{one['name']} ({one['kind']})" for one in choices["channels"]]
    known = f"there are {', '.join(channels)}" if channels else "none is configured"
    return [
        field("formats", f"Forms: {', '.join(choices['formats'])}", name, "html",
              value=", ".join(told.get("formats") or ("html",))),
        field("channels", f"Channels: {known}", name, "nobody",
              value=", ".join(told.get("channels") or ())),
        field("recipients", "To, for e-mail", name, "those of the channel",
              value=", ".join(told.get("recipients") or ())),
    ]  # fmt: skip
