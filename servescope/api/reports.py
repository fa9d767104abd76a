"""Scheduled reports: what is due when, what became of it, and the files."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Body, Depends, Query
from fastapi.responses import Response

from servescope.access.caller import recorded
from servescope.api import negotiate
from servescope.api.access import READS, needs
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import RuntimeDep, answers, only_known
from servescope.documents import plain
from servescope.reporting import answers as told
from servescope.reporting.channels.base import File
from store.errors import InputError

router = APIRouter(route_class=JsonRoute, tags=["reports"], dependencies=[Depends(only_known)])

_RUN = {
    "run_id": "weekly.2026-W46.1", "schedule": "weekly", "period": "2026-W46", "cause": "due",
    "asked_by": "schedule", "asked_at": "2026-11-16T07:00:00Z", "due_at": "2026-11-16T07:00:00Z",
    "state": "sent", "text": "sent, 4 charts, 212.0 KiB", "changed_at": "2026-11-16T07:00:09Z",
    "channels": ["mail"], "attempts": 1, "acknowledged": 1, "charts": 4, "bytes": 217088,
    "files": ["weekly-2026-W46.html"],
}  # fmt: skip
_TABLE = {
    "name": "weekly", "template": "weekly", "when": "weekly mon 08:00", "zone": "Europe/Berlin",
    "formats": ["html", "pdf"], "channels": ["mail"], "recipients": ["team@example.org"],
    "scope": {"model": "llama-70b"},
}  # fmt: skip
_SCHEDULE = {
    "schedule": "weekly", "next_at": "2026-11-23T07:00:00Z", "zone": "Europe/Berlin",
    "when": "weekly mon 08:00", "template": "weekly", "is_on": True, "place": "store",
    "last_state": "sent", "last_result": "sent, 4 charts, 212.0 KiB",
}  # fmt: skip
_CHANNEL = {"name": "mail", "kind": "email", "place": "smtp.example.org:587 from ops@example.org"}
_ATTEMPT = {"channel": "mail", "attempt": 1, "state": "acknowledged", "text": "taken for 1 address"}
_ONE_RUN = {**_RUN, "attempts": [_ATTEMPT], "lines": []}
# A report carries its own styles and pictures, and may do nothing else.
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"

Period = Annotated[
    str, Query(description="2026-W46, 2026-11-20 or 2026-11, as the template has it; the newest.")
]


@router.get("/reports", responses=answers(
    {"schedules": [_SCHEDULE], "channels": [_CHANNEL], "runs": [_RUN]}
), dependencies=[READS])  # fmt: skip
def get_reports(runtime: RuntimeDep) -> Response:
    """Schedules with last result and next time, channels without their secrets, newest runs."""
    return negotiate.document(plain(told.listed(runtime)))


@router.post(
    "/reports/schedules", responses=answers(_SCHEDULE), dependencies=[needs("report_save")]
)
def post_schedule(
    runtime: RuntimeDep,
    table: Annotated[dict[str, Any], Body(
        description="A schedule as in docs/reports.md; `by` says who, `replace` changes one,"
        " `dry_run` keeps nothing and answers with its next times.",
        examples=[_TABLE],
    )],
) -> Response:  # fmt: skip
    """Add a schedule; those of servescope.toml cannot be changed here."""
    given = dict(table)
    by, replace = recorded(str(given.pop("by", "api")))[:100], bool(given.pop("replace", False))
    if given.pop("dry_run", False):
        return negotiate.document(plain(told.planned(runtime, given, may_replace=replace)))
    scheduled = runtime.reporting.book.add(given, by, may_replace=replace)
    runtime.reporting.wake()
    return negotiate.document(plain(told.one(runtime, scheduled.definition.name)))


@router.get(
    "/reports/schedules/{name}",
    responses=answers({**_SCHEDULE, "runs": [_RUN]}),
    dependencies=[READS],
)
def get_schedule(runtime: RuntimeDep, name: str) -> Response:
    """One schedule with its runs."""
    return negotiate.document(plain(told.one(runtime, name)))


@router.delete(
    "/reports/schedules/{name}",
    responses=answers({"schedule": "weekly"}),
    dependencies=[needs("report_remove")],
)
def delete_schedule(runtime: RuntimeDep, name: str) -> Response:
    """Remove a schedule that was added; what it made stays."""
    runtime.reporting.book.remove(name, recorded("api"))
    return negotiate.document({"schedule": name})


@router.post(
    "/reports/schedules/{name}/{verb}", responses=answers(_RUN), dependencies=[needs("report_run")]
)
def post_verb(
    runtime: RuntimeDep,
    name: str,
    verb: str,
    about: Annotated[dict[str, Any] | None, Body(
        description="run: period, send. test: channel, to (a list). by: who.",
        examples=[{"period": "2026-W46", "send": True}],
    )] = None,
) -> Response:  # fmt: skip
    """run, test, enable or disable. A run goes on by itself; a test is done when it answers."""
    given = dict(about or {})
    by = recorded(str(given.pop("by", "api")))[:100]
    if verb not in _VERBS:
        raise InputError(f"a schedule cannot be told to {verb}", hint=", ".join(_VERBS))
    return negotiate.document(plain(_VERBS[verb](runtime, name, by, given)))


@router.get(
    "/reports/schedules/{name}/preview",
    response_class=Response,
    responses=answers({}),
    dependencies=[READS],
)
def get_preview(runtime: RuntimeDep, name: str, period: Period = "") -> Response:
    """The report as a page, made now and kept nowhere."""
    return _page(told.preview(runtime, {"name": name}, period))


@router.get(
    "/reports/preview/{name}", response_class=Response, responses=answers({}), dependencies=[READS]
)
def get_draft_preview(
    runtime: RuntimeDep,
    name: str,
    template: Annotated[str, Query(description="Name of a template.")] = "weekly",
    when: Annotated[str, Query(description="As in a schedule; only checked.")] = "",
    zone: Annotated[str, Query(description="IANA name; UTC.")] = "",
    formats: Annotated[str, Query(description="As in a schedule; only checked.")] = "",
    channels: Annotated[str, Query(description="As in a schedule; only checked.")] = "",
    recipients: Annotated[str, Query(description="As in a schedule; only checked.")] = "",
    period: Period = "",
    source: str = "", model: str = "", tenant: str = "", route: str = "", instance: str = "",
) -> Response:  # fmt: skip
    """The report of a schedule that is not kept yet, as a page; nothing is sent or kept."""
    told_so = {"formats": formats, "channels": channels, "recipients": recipients}
    table = {
        "name": name, "template": template, "when": when or "daily 00:00", "zone": zone or "UTC",
        "scope": {"source": source, "model": model, "tenant": tenant, "route": route,
                  "instance": instance},
        **{key: value for key, value in told_so.items() if value},
    }  # fmt: skip
    return _page(told.preview(runtime, table, period))


@router.get("/reports/runs/{run_id}", responses=answers(_ONE_RUN), dependencies=[READS])
def get_run(runtime: RuntimeDep, run_id: str) -> Response:
    """One run: how it stands, its files, and every attempt to deliver it."""
    return negotiate.document(plain(told.run_document(runtime, run_id)))


@router.get(
    "/reports/runs/{run_id}/files/{name}",
    response_class=Response,
    responses=answers({}),
    dependencies=[READS],
)
def get_file(runtime: RuntimeDep, run_id: str, name: str) -> Response:
    """A file of a run, as it was sent."""
    runtime.reporting.run(run_id)
    return _page(runtime.reporting.shelf.file(run_id, name))


def _page(file: File) -> Response:
    is_page = file.media_type.startswith("text/html")
    headers = {
        "Content-Security-Policy": _PAGE_POLICY,
        "Content-Disposition": f"{'inline' if is_page else 'attachment'};"
        f" filename*=UTF-8''{quote(file.name, safe='')}",
    }
    return Response(file.content, media_type=file.media_type, headers=headers)


def _run(runtime: Any, name: str, by: str, about: dict[str, Any]) -> Any:
    period, send = str(about.pop("period", None) or ""), bool(about.pop("send", False))
    _nothing_else(about, "run: period, send")
    return told.run_now(runtime, name, by, period=period, send=send)


def _test(runtime: Any, name: str, by: str, about: dict[str, Any]) -> Any:
    channel, to = str(about.pop("channel", None) or ""), about.pop("to", None) or []
    _nothing_else(about, "test: channel, to")
    addresses = [to] if isinstance(to, str) else [str(one) for one in to]
    asked = told.send_test(runtime, name, by, channel=channel, to=addresses)
    runtime.reporting.finish(asked["run_id"])
    return told.run_document(runtime, asked["run_id"])


def _enable(runtime: Any, name: str, by: str, about: dict[str, Any]) -> Any:
    _nothing_else(about, "enable needs nothing")
    runtime.reporting.book.switch(name, by, on=True)
    return told.one(runtime, name)


def _disable(runtime: Any, name: str, by: str, about: dict[str, Any]) -> Any:
    _nothing_else(about, "disable needs nothing")
    runtime.reporting.book.switch(name, by, on=False)
    return told.one(runtime, name)


def _nothing_else(about: dict[str, Any], hint: str) -> None:
    if about:
        raise InputError(f"there is no parameter '{next(iter(about))}'", hint=hint)


_VERBS = {"run": _run, "test": _test, "enable": _enable, "disable": _disable}
