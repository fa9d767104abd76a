"""`servescope report list|test|schedule …`: how the commands look."""

from __future__ import annotations

from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, Json, Model, Source, Store, Tenant, scope_of

schedule_app = typer.Typer(
    help="Schedules of reports that the running server makes and sends.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="Of the schedule.")]
By = Annotated[str | None, typer.Option("--by", help="Who; the user where left out.")]


@schedule_app.command("add")
def add(
    name: Name,
    when: Annotated[
        str, typer.Option("--when", help='"weekly mon 08:00", "daily 08:00", or cron "0 8 * * 1".')
    ],
    template: Annotated[
        str, typer.Option("--template", help="daily, weekly, monthly, or one of your own.")
    ] = "weekly",
    zone: Annotated[
        str, typer.Option("--zone", help="Time zone of the time and of the days, as IANA name.")
    ] = "UTC",
    forms: Annotated[
        str, typer.Option("--format", help="html, pdf, json, csv, md; several with commas.")
    ] = "html",
    channel: Annotated[
        list[str] | None, typer.Option("--channel", help="Where it goes; may be repeated.")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Address, for e-mail; may be repeated.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change one that is there.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Keep nothing; say when it would be due.")
    ] = False,
    by: By = None, source: Source = None, model: Model = None, tenant: Tenant = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Add a schedule to the running server."""
    from servescope.cli.scheduling import run_add

    table = {
        "name": name, "template": template, "when": when, "zone": zone, "formats": forms,
        "channels": channel or [], "recipients": to or [],
        "scope": scope_of(source, None, None, model=model, tenant=tenant),
    }  # fmt: skip
    run_add(table, by, store, config, replace=replace, dry_run=dry_run, as_json=as_json)


@schedule_app.command("remove")
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Remove a schedule that was added; what it made stays."""
    from servescope.cli.scheduling import run_remove

    run_remove(name, store, config, yes=yes, dry_run=dry_run, as_json=as_json)


@schedule_app.command("enable")
def enable(
    name: Name, by: By = None, store: Store = None, config: ConfigFile = None, as_json: Json = False
) -> None:
    """Let a schedule work again; what it missed meanwhile is not made up for."""
    from servescope.cli.scheduling import run_switch

    run_switch(name, "enable", by, store, config, as_json=as_json)


@schedule_app.command("disable")
def disable(
    name: Name, by: By = None, store: Store = None, config: ConfigFile = None, as_json: Json = False
) -> None:
    """Let a schedule rest."""
    from servescope.cli.scheduling import run_switch

    run_switch(name, "disable", by, store, config, as_json=as_json)


@schedule_app.command("show")
def show(name: Name, store: Store = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """One schedule, its last reports, and every attempt to deliver the newest."""
    from servescope.cli.scheduling import run_show

    run_show(name, store, config, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the commands that stand beside `run`."""

    @app.command("list")
    def list_(store: Store = None, config: ConfigFile = None, as_json: Json = False) -> None:
        """Schedules: what became of the last report, and when the next is due."""
        from servescope.cli.scheduling import run_list

        run_list(store, config, as_json=as_json)

    @app.command("test")
    def test(
        name: Name,
        channel: Annotated[
            str | None, typer.Option("--channel", help="Which; the first of the schedule.")
        ] = None,
        to: Annotated[
            list[str] | None, typer.Option("--to", help="Address, for e-mail; may be repeated.")
        ] = None,
        by: By = None, store: Store = None, config: ConfigFile = None, as_json: Json = False,
    ) -> None:  # fmt: skip
        """Send the newest report to one channel only, marked as a test; exit 1 if not taken."""
        from servescope.cli.scheduling import run_test

        run_test(name, channel, to or [], by, store, config, as_json=as_json)
