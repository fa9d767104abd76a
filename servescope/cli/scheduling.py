"""What `servescope report list|test|schedule` and `report run --schedule` do."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote

import typer

from servescope.cli import access
from servescope.cli.controlling import post
from servescope.cli.data import configured
from servescope.cli.output import CommandError, ExitCode, Output
from store.errors import InputError

_OPEN = ("waiting", "making", "sending")
_LOOK_SECONDS = 0.5
_LISTED = (
    "schedule",
    "last result",
    "period",
    "next",
    "zone",
    "template",
    "channels",
    "written in",
)
_RUNS = ("run", "cause", "state", "result")
_ATTEMPTS = ("channel", "attempt", "at", "state", "answer")
_PLACES = {"file": "servescope.toml", "store": "this server"}
_WAY = "or write [[reports.schedule]] into servescope.toml"


def run_list(store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print schedules with their last result and next time."""
    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        view = way.view("reports", {})
    rows = view["frames"]["schedules"]["rows"]
    out.document("report.list", {"schedules": rows})
    if not rows:
        out.line(f"No report is scheduled: servescope report schedule add, {_WAY}.")
        return
    out.table(_LISTED, [_listed(row) for row in rows])
    for row in rows:
        if row["note"]:
            out.line(f"{row['schedule']}: {row['note']}")


def run_show(name: str, store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print one schedule with its runs."""
    out = Output(as_json=as_json)
    server = access.the_server(configured(store, config_file))
    told = server.get(f"/reports/schedules/{quote(name, safe='')}", {})
    runs = told["runs"]
    newest = server.get(f"/reports/runs/{runs[0]['run_id']}", {}) if runs else None
    out.document("report.schedule.show", {**told, "newest": newest})
    out.table(_LISTED, [_listed(told)])
    if told["note"]:
        out.line(told["note"])
    out.line()
    out.table(_RUNS, [[run["run_id"], run["cause"], run["state"], run["text"]] for run in runs])
    if newest and newest["attempts"]:
        out.line()
        out.table(_ATTEMPTS, _attempts(newest))


def run_add(
    table: Mapping[str, Any],
    by: str | None,
    store: Path | None,
    config_file: Path | None,
    *,
    replace: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add a schedule, or say what it would be."""
    out = Output(as_json=as_json)
    body = {**table, "by": by, "replace": replace, "dry_run": dry_run}
    told = post(store, config_file, "/reports/schedules", body)
    out.document("report.schedule.add", told)
    if dry_run:
        times = ", ".join(f"{at[:16]}Z" for at in told["next_times"])
        out.line(f"{table['name']} would be due at {times}; nothing was kept")
        return
    out.line(f"{told['schedule']}: next at {told['next_at']}, {told['when']} {told['zone']}")


def run_remove(
    name: str,
    store: Path | None,
    config_file: Path | None,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove a schedule once somebody has said yes."""
    out = Output(as_json=as_json)
    server = access.the_server(configured(store, config_file))
    path = f"/reports/schedules/{quote(name, safe='')}"
    there = server.get(path, {})
    words = f"{name} ({there['template']}, {there['when']} {there['zone']})"
    if dry_run:
        out.document("report.schedule.remove", {"schedule": name, "removed": False})
        out.line(f"{words} would be removed; nothing was done")
        return
    if not yes:
        _ask(f"Remove {words}?")
    server.send("DELETE", path)
    out.document("report.schedule.remove", {"schedule": name, "removed": True})
    out.line(f"{words} is removed; what it made stays")


def run_switch(
    name: str,
    verb: str,
    by: str | None,
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Let a schedule rest or work."""
    out = Output(as_json=as_json)
    told = post(store, config_file, f"/reports/schedules/{quote(name, safe='')}/{verb}", {"by": by})
    out.document(f"report.schedule.{verb}", told)
    out.line(f"{name}: next at {told['next_at']}" if told["is_on"] else f"{name}: {told['note']}")


def run_test(
    name: str,
    channel: str | None,
    to: Sequence[str],
    by: str | None,
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Send a test and print what the channel answered.

    Raises:
        typer.Exit: with 1, when it was not taken.
    """
    out = Output(as_json=as_json)
    body = {"channel": channel, "to": list(to), "by": by}
    told = post(store, config_file, f"/reports/schedules/{quote(name, safe='')}/test", body)
    out.document("report.test", told)
    for attempt in told["attempts"]:
        out.line(f"{attempt['channel']}: {attempt['state']}: {attempt['text']}")
    if told["state"] != "sent":
        if not told["attempts"]:
            out.line(told["text"] or told["state"])
        raise typer.Exit(ExitCode.FINDING if told["state"] == "skipped" else ExitCode.FAILED)


def run_scheduled(
    name: str | None,
    period: str | None,
    store: Path | None,
    config_file: Path | None,
    *,
    send: bool,
    as_json: bool,
) -> None:
    """Have the server make the report of a schedule, and wait until it is done.

    Raises:
        InputError: `--send` without a schedule.
        typer.Exit: with 3 when there is nothing to report, with 1 when it failed.
    """
    if name is None:
        raise InputError("--send needs --schedule", hint="a schedule says to whom")
    out = Output(as_json=as_json)
    body = {"period": period, "send": send}
    told = post(store, config_file, f"/reports/schedules/{quote(name, safe='')}/run", body)
    server = access.the_server(configured(store, config_file))
    out.note(f"{told['run_id']}: the server makes it")
    told = _ended(server, told["run_id"])
    out.document("report.run.scheduled", told)
    for line in told["lines"]:
        out.line(line)
    out.line(f"{told['run_id']}: {told['text']}")
    for file in told["files"]:
        out.line(f"{server.url}{access.API}/reports/runs/{told['run_id']}/files/{file['name']}")
    if told["state"] in ("failed", "skipped"):
        is_empty = told["state"] == "skipped"
        raise typer.Exit(ExitCode.FINDING if is_empty else ExitCode.FAILED)


def _ended(server: access.ServerAccess, run_id: str) -> dict[str, Any]:
    pause = Event()  # nobody sets it
    while (told := server.get(f"/reports/runs/{run_id}", {}))["state"] in _OPEN:
        pause.wait(_LOOK_SECONDS)
    return told


def _ask(question: str) -> None:
    """Go on only after a yes.

    Raises:
        CommandError: exit 5, when nobody can be asked, or says no.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError(
            "nobody can be asked here", ExitCode.REFUSED, hint="add --yes", code="refused"
        )
    if not typer.confirm(question, err=True):
        raise CommandError("not done", ExitCode.REFUSED, code="refused")


def _listed(row: Mapping[str, Any]) -> list[Any]:
    following = f"{row['next_at'][:16]}Z" if row["next_at"] else "rests"
    return [
        row["schedule"], row["last_result"] or "never made", row["last_period"], following,
        row["zone"], row["template"], ", ".join(row["channels"]) or "none", _PLACES[row["place"]],
    ]  # fmt: skip


def _attempts(run: Mapping[str, Any]) -> list[list[Any]]:
    return [
        [one["channel"], one["attempt"], one["attempted_at"][:19], one["state"], one["text"]]
        for one in run["attempts"]
    ]
