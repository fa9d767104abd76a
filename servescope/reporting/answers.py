"""What is told of scheduled reports, and what can be asked of them: the same for API and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from analysis.reports import periods
from analysis.reports.periods import Period
from servescope.reporting.channels.base import File
from servescope.reporting.definition import Definition
from servescope.reporting.rows import runs
from servescope.reporting.workshop import Busy, Order
from store import audit, reports
from store.errors import InputError
from store.queries import reports as queries

if TYPE_CHECKING:
    from servescope.runtime import Runtime

Document = Mapping[str, Any]
MOST_RUNS = 50
MOST_TIMES = 3
MOST_OPEN = 20


def listed(runtime: Runtime) -> dict[str, Any]:
    """Schedules with their last result and next time, channels, and runs, newest first."""
    view = runtime.view("reports", {})
    found = runs(queries.runs(runtime.database.reader, limit=MOST_RUNS))
    return {
        "schedules": view.frames["schedules"].to_dicts(),
        "channels": channel_documents(runtime),
        "runs": [_brief(run) for run in found],
    }


def channel_documents(runtime: Runtime) -> list[dict[str, Any]]:
    """Channels without secrets: name, kind, and where they lead."""
    return [
        {"name": one.name, "kind": one.kind, "place": one.place()}
        for one in runtime.reporting.channels.values()
    ]


def one(runtime: Runtime, name: str) -> dict[str, Any]:
    """A schedule with its runs.

    Raises:
        InputError: there is none.
    """
    scheduled = runtime.reporting.book.one(name)
    view = runtime.view("reports", {})
    row = next(row for row in view.frames["schedules"].to_dicts() if row["schedule"] == name)
    found = runs(queries.runs(runtime.database.reader, schedule=name, limit=MOST_RUNS))
    shown = [_brief(run) for run in found]
    return {**row, "definition": scheduled.definition.document(), "runs": shown}


def planned(runtime: Runtime, table: Document, *, may_replace: bool) -> dict[str, Any]:
    """What a schedule would be and when it would be due next; it is not kept.

    Raises:
        InputError: it cannot work, or its name is taken.
    """
    found = runtime.reporting.book.addable(table, may_replace=may_replace)
    times, at = [], runtime.clock.now()
    for _ in range(MOST_TIMES):
        at = found.timetable().next_after(at)
        times.append(at)
    return {"definition": found.document(), "next_times": times}


def run_document(runtime: Runtime, run_id: str) -> dict[str, Any]:
    """A run with its files and every attempt to deliver it.

    Raises:
        InputError: there is none.
    """
    run = runtime.reporting.run(run_id)
    attempts = queries.deliveries(runtime.database.reader, run_id).drop("run_id").to_dicts()
    manifest = runtime.reporting.shelf.manifest(run_id)
    kept = [] if manifest is None else [f for f in manifest["files"] if f["role"] == "report"]
    told = runtime.reporting.book.kept(run["definition"]).document()
    return {**_brief(run), "definition": told, "files": kept, "attempts": attempts,
            "lines": run["details"].get("lines", [])}  # fmt: skip


def period_of(runtime: Runtime, scheduled: Definition, text: str) -> Period:
    """The period that is meant; without a text the newest that is over.

    Raises:
        InputError: it is no period of the schedule's template, or it is not over.
    """
    kind = runtime.reporting.template(scheduled.template).kind
    now = runtime.clock.now()
    if not text:
        return periods.last_complete(kind, now, scheduled.zone)
    found = periods.read(kind, text, scheduled.zone)
    if found.end > now:
        raise InputError(
            f"{found.key} is not over", hint=f"it ends at {found.end:%Y-%m-%d %H:%M} UTC"
        )
    return found


def run_now(
    runtime: Runtime, name: str, by: str, *, period: str = "", send: bool = False
) -> dict[str, Any]:
    """Ask for the report of a period, whether it was made before or not; gives the run.

    Args:
        runtime: the server's state.
        name: of the schedule.
        by: who asks.
        period: as its template names them; "" is the newest that is over.
        send: whether it goes to the channels of the schedule.

    Raises:
        InputError: no such schedule or period.
        Busy: too many wait.
    """
    found = runtime.reporting.book.one(name).definition
    chosen = period_of(runtime, found, period)
    channels = found.channels if send else ()
    _check_queue(runtime)
    run = reports.Run(
        name, chosen.key, "asked", by, runtime.clock.now(), None, found.document(), channels
    )
    run_id = reports.claim(runtime.database.writer, run).result()
    assert run_id is not None  # noqa: S101 - only those that are due can be refused
    note(runtime, by, "reports.run", name, {"run_id": run_id, "send": send})
    runtime.reporting.wake()
    return _brief(runtime.reporting.run(run_id))


def send_test(
    runtime: Runtime, name: str, by: str, *, channel: str = "", to: Sequence[str] = ()
) -> dict[str, Any]:
    """Ask for the newest report to be made and sent to one channel, once; gives the run.

    Args:
        runtime: the server's state.
        name: of the schedule.
        by: who asks.
        channel: of its channels, or any other; "" is the first of its own.
        to: addresses in place of its recipients, for e-mail.

    Raises:
        InputError: no such schedule or channel, or an address the channel may not write to.
    """
    reporting = runtime.reporting
    found = reporting.book.one(name).definition
    if not channel and not found.channels:
        raise InputError(f"'{name}' has no channel", hint="say which: --channel")
    chosen = reporting.book.channel(channel or found.channels[0])
    changed = replace(found, channels=(chosen.name,), recipients=tuple(to) or found.recipients)
    if chosen.kind == "email":
        reporting.book.checked(changed.document())
    elif to:
        raise InputError(f"the channel {chosen.name} takes no addresses")
    _check_queue(runtime)
    key = period_of(runtime, found, "").key
    asked = reports.Run(
        name, key, "test", by, runtime.clock.now(), None, changed.document(), (chosen.name,)
    )
    run_id = reports.claim(runtime.database.writer, asked).result()
    assert run_id is not None  # noqa: S101 - only those that are due can be refused
    note(runtime, by, "reports.test", name, {"run_id": run_id, "channel": chosen.name})
    reporting.wake()
    return _brief(reporting.run(run_id))


def _check_queue(runtime: Runtime) -> None:
    if len(runtime.reporting.open_runs()) >= MOST_OPEN:
        raise Busy(f"{MOST_OPEN} reports wait already", hint="GET /api/v1/reports shows them")


def preview(runtime: Runtime, table: Document, period: str) -> File:
    """A report as a page, kept nowhere; by the same maker and renderer as one that is sent.

    Args:
        runtime: the server's state.
        table: a schedule, which need not be kept; or one that is, by its name alone.
        period: as its template names them; "" is the newest that is over.

    Raises:
        InputError: the schedule cannot work, or nothing is there to say.
        NotMade: it cannot be made.
    """
    reporting = runtime.reporting
    known = set(table) == {"name"}
    found = reporting.book.one(table["name"]).definition if known else reporting.book.checked(table)
    order = Order(replace(found, formats=("html",)), period_of(runtime, found, period).key)
    with reporting.shelf.draft() as draft:
        manifest = reporting.maker(order, draft, reporting.stop)
        if manifest["outcome"] != "made":
            raise InputError(f"nothing would be sent: {manifest['reason']}")
        page = next(file for file in manifest["files"] if file["role"] == "report")
        return File(page["name"], page["media_type"], (draft / page["name"]).read_bytes())


def note(runtime: Runtime, by: str, action: str, subject: str, after: Document) -> None:
    """Keep in the record that somebody did something."""
    change = audit.Change(by, action, subject, None, after, by)
    audit.note(runtime.database.writer, runtime.clock.now(), change).result()


def _brief(run: Document) -> dict[str, Any]:
    """A run without what only its own page needs."""
    names = (
        "run_id", "schedule", "period", "cause", "asked_by", "asked_at", "due_at", "state", "text",
        "changed_at", "channels", "attempts", "acknowledged",
    )  # fmt: skip
    details = run["details"]
    return {
        **{name: run[name] for name in names},
        "charts": details.get("charts"),
        "bytes": details.get("bytes"),
        "files": [file["name"] for file in details.get("files", [])],
    }
