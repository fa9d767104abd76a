"""`servescope report …`: reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import (
    ConfigFile,
    Json,
    Model,
    Plain,
    Source,
    Store,
    Tenant,
    scope_of,
)
from servescope.cli.report_schedule import register, schedule_app

report_app = typer.Typer(help="Reports: made once, or on a schedule.", no_args_is_help=True)
report_app.add_typer(schedule_app, name="schedule")
register(report_app)


@report_app.command("run")
def report_run(
    template: Annotated[
        str, typer.Argument(help="daily, weekly, monthly, incident, or one of your own.")
    ] = "weekly",
    period: Annotated[
        str | None,
        typer.Option("--period", help="2026-W46, 2026-11-20 or 2026-11; default: the last whole."),
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Start of an incident.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="End of an incident.")] = None,
    zone: Annotated[
        str, typer.Option("--zone", help="Time zone in which days begin, such as Europe/Berlin.")
    ] = "UTC",
    forms: Annotated[
        str, typer.Option("--format", help="html, pdf, json, csv, md; several with commas.")
    ] = "html",
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path(),
    templates: Annotated[
        Path | None,
        typer.Option("--templates", help="Folder with your own templates; else reports.templates."),
    ] = None,
    source: Source = None, model: Model = None, tenant: Tenant = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", help="Let the server make that of a schedule.")
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="With --schedule: to its channels, again if need be.")
    ] = False,
    store: Store = None, config: ConfigFile = None, as_json: Json = False, plain: Plain = False,
) -> None:  # fmt: skip
    """Make a report and write it; exit 3 when there is nothing to report."""
    if schedule is not None or send:
        from servescope.cli.scheduling import run_scheduled

        run_scheduled(schedule, period, store, config, send=send, as_json=as_json)
        return
    from servescope.cli.reporting import run_report
    from servescope.reporting.asked import Asked

    asked = Asked(
        template, period or "", from_ or "", to or "", zone,
        scope_of(source, None, None, model=model, tenant=tenant),
        tuple(form.strip() for form in forms.split(",") if form.strip()),
    )  # fmt: skip
    run_report(asked, out, templates, store, config, as_json=as_json, plain=plain)
