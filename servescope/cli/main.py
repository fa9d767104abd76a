"""The commands.

This module imports next to nothing, so that `servescope --help` is instant; each command imports
its own work when it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from servescope.cli import calibration
from servescope.cli.alerts_group import alerts_app
from servescope.cli.backup_group import register as register_backup
from servescope.cli.config_group import config_app
from servescope.cli.controller import controller_app
from servescope.cli.cost import register as register_cost
from servescope.cli.degradation import register as register_degradation
from servescope.cli.gateway import register as register_gateway
from servescope.cli.lab import lab_app
from servescope.cli.load import register as register_load
from servescope.cli.options import (
    ConfigFile,
    From,
    Json,
    Model,
    Plain,
    Source,
    Store,
    Tenant,
    To,
    scope_of,
)
from servescope.cli.people_group import access_app
from servescope.cli.predicting import predictors_app, register
from servescope.cli.replay import register as register_replay
from servescope.cli.report import report_app
from servescope.cli.slo_group import slo_app
from servescope.cli.starts_group import starts_app
from servescope.cli.top import register as register_top
from servescope.cli.version_option import versioned
from servescope.cli.views_group import register as register_views
from servescope.cli.why import register as register_why

app = typer.Typer(
    name="servescope",
    help="See, explain and steer a fleet of LLM servers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(versioned)
app.add_typer(slo_app, name="slo")
app.add_typer(starts_app, name="starts")
app.add_typer(config_app, name="config")
app.add_typer(predictors_app, name="predictors")
app.add_typer(lab_app, name="lab")
app.add_typer(controller_app, name="controller")
app.add_typer(report_app, name="report")
app.add_typer(alerts_app, name="alerts")
app.add_typer(access_app, name="access")


@app.command()
def demo(
    *,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    port: Annotated[int | None, typer.Option(help="Port of the dashboard.")] = None,
    store: Store = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Use a temporary store, gone at the end.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start with a new demo store.")] = False,
    no_serve: Annotated[
        bool, typer.Option("--no-serve", help="Print the findings and stop.")
    ] = False,
    live: Annotated[
        bool,
        typer.Option("--live", help="Instead, watch a real llama-server with a tiny random model."),
    ] = False,
) -> None:
    """Load a built-in real trace, print what is worth knowing, then serve the dashboard."""
    if live:
        from servescope.live.demo import run as run_live

        run_live(store=store, port=port)
        return
    from servescope.demo import run

    run(
        store=store, port=port, ephemeral=ephemeral, fresh=fresh,
        open_browser=not no_open, serve=not no_serve,
    )  # fmt: skip


@app.command()
def up(
    *,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="URL of an engine; may be repeated.")
    ] = None,
    discover: Annotated[
        list[str] | None,
        typer.Option("--discover", help="Source of targets: file:PATH, a URL, dns:…, kubernetes:…"),
    ] = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT, loopback only.")] = None,
    store: Store = None,
    config: ConfigFile = None,
    slo: Annotated[Path | None, typer.Option("--slo", help="File with the objectives.")] = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Use a temporary store, gone at the end.")
    ] = False,
) -> None:
    """Run the server: scraping, REST API, dashboard, jobs."""
    from servescope.cli.serve import run

    run(target, listen, store, config, slo, ephemeral=ephemeral, discover=discover)


@app.command()
def agent(
    *,
    server: Annotated[
        str | None, typer.Option("--server", help="URL of the servescope server to report to.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="URL of an engine here; may be repeated.")
    ] = None,
    config: ConfigFile = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What the server calls it; default: the host.")
    ] = None,
    spool: Annotated[
        Path | None, typer.Option("--spool", help="Folder for what was not delivered yet.")
    ] = None,
    otlp: Annotated[
        str | None, typer.Option("--otlp", help="HOST:PORT on loopback that takes OTLP.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Read and deliver once, then stop.")] = False,
    show: Annotated[
        bool, typer.Option("--print", help="With --once: print what is read, no server needed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read engines, GPUs and the host on this node, and report them to a server."""
    from servescope.cli.agent import run

    run(server, target, config, name, spool, otlp, once=once, show=show, as_json=as_json)


@app.command("import")
def import_(
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Trace files.")],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="auto, azure, burstgpt, mooncake, vtc, servegen, vllm-bench, aiperf, guidellm,"
            " servescope, mapped.",
        ),
    ] = "auto",
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="STORED=COLUMN[:UNIT], such as arrived_at=ts:ms; repeatable, or with commas.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the source.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Where rejected rows go.")] = None,
    store: Store = None,
    config: ConfigFile = None,
    as_json: Json = False,
    plain: Plain = False,
) -> None:
    """Import request traces; a second import of the same rows changes nothing."""
    from servescope.cli.traces import run_import

    run_import(files, format_, map_, name, rejects, store, config, as_json=as_json, plain=plain)


@app.command()
def analyze(
    *,
    trace: Annotated[
        str | None,
        typer.Argument(metavar="[TRACE]", help="A trace file, or the name of a source."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option("--compare", help="A second file or source to set beside it.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="As for import.")] = "auto",
    map_: Annotated[list[str] | None, typer.Option("--map", help="As for import.")] = None,
    store: Store = None,
    config: ConfigFile = None,
    as_json: Json = False,
    plain: Plain = False,
) -> None:
    """Characterise a workload: arrivals, lengths, clients, sessions, prefixes, findings."""
    from servescope.cli.traces import run_analyze

    run_analyze(trace, compare, format_, map_, store, config, as_json=as_json, plain=plain)


@app.command()
def latency(
    source: Source = None, from_: From = None, to: To = None, model: Model = None,
    tenant: Tenant = None, store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Where the time of requests goes, and what makes the slowest slow."""
    from servescope.cli.latency import run_latency

    run_latency(scope_of(source, from_, to, model=model, tenant=tenant), store, config,
                as_json=as_json)  # fmt: skip


@app.command()
def fairness(
    source: Source = None, from_: From = None, to: To = None, model: Model = None,
    tenant: Tenant = None,
    weights: Annotated[
        str | None, typer.Option(help="Shares of tenants, such as a:2,b:1; else as told, or 1.")
    ] = None,
    window: Annotated[str | None, typer.Option(help="Of what is compared, such as 60s.")] = None,
    batch_tokens: Annotated[
        str | None, typer.Option("--batch-tokens", help="Tokens in a batch, for the bound.")
    ] = None,
    slo: Annotated[str | None, typer.Option("--slo", help="Objective to judge tenants by.")] = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Who gets which part of the service, who waits, and whether that is fair."""
    from servescope.cli.fairness import run_fairness

    options = {"weights": weights, "window": window, "batch_tokens": batch_tokens, "slo": slo}
    scope = scope_of(source, from_, to, model=model, tenant=tenant)
    run_fairness(scope, options, store, config, as_json=as_json)


@app.command()
def query(
    sql: Annotated[
        str, typer.Argument(help='One SELECT, such as "SELECT count(*) FROM requests".')
    ],
    output: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    store: Store = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Read-only SQL over the store, with a time limit and a row cap."""
    from servescope.cli.data import run_query

    run_query(sql, output, store, config, as_json=as_json)


@app.command()
def export(
    *,
    to: Annotated[Path, typer.Argument(help="File to write; - is stdout.")],
    format_: Annotated[
        str, typer.Option("--format", help="parquet, azure, mooncake or burstgpt.")
    ] = "parquet",
    everything: Annotated[
        bool, typer.Option("--all", help="Every table, as a folder of Parquet files.")
    ] = False,
    keep: Annotated[float, typer.Option(help="Share of the sessions that stay.")] = 1.0,
    speed: Annotated[float, typer.Option(help="Times by which arrivals come faster.")] = 1.0,
    source: Source = None,
    from_: From = None,
    until: To = None,
    model: Model = None,
    tenant: Tenant = None,
    store: Store = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Write requests to a file in a public format, or everything to a folder."""
    from servescope.cli.data import run_export, run_export_all
    from store.export_change import Change

    if everything:
        run_export_all(to, store, config, as_json=as_json)
        return
    params = scope_of(source, from_, until, model=model, tenant=tenant)
    run_export(to, format_, params, store, config, Change(keep, speed), as_json=as_json)


@app.command()
def sources(store: Store = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """What is in the store: traces, the live fleet, and the targets with their health."""
    from servescope.cli.data import run_sources

    run_sources(store, config, as_json=as_json)


@app.command()
def trust(
    everything: Annotated[bool, typer.Option("--all", help="Signals that are well, too.")] = False,
    model: Model = None, store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """How far each signal of each target can be trusted, with evidence and advice."""
    from servescope.cli.trust import run_trust

    params = scope_of(None, None, None, model=model)
    run_trust(params, store, config, everything=everything, as_json=as_json)


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="URL of an engine, such as http://gpu-3:8000.")],
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Connect an engine to the running server."""
    from servescope.cli.data import run_add

    run_add(url, store, config, as_json=as_json)


@app.command()
def doctor(
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Mend the store, step by step.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before each step.")] = False,
) -> None:  # fmt: skip
    """Say what is wrong with this installation and its store, each line with the fix."""
    from servescope.cli import repairing

    repairing.run_doctor(store, config, repair=repair, yes=yes, as_json=as_json)


@app.command()
def version(as_json: Json = False) -> None:
    """Version of servescope and of what it stands on."""
    from servescope.cli.configuration import run_version

    run_version(as_json=as_json)


register(app)
calibration.register(app)
register_replay(app)
register_gateway(app)
register_load(app)
register_why(app)
register_backup(app)
register_top(app)
register_views(app)
register_cost(app)
register_degradation(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        the exit code, see `servescope.cli.output.ExitCode`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    if sys.stdout is None:  # `>&-`: whoever started us wants no output
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for good
    try:
        code = int(app(arguments, prog_name="servescope", standalone_mode=False) or 0)
        sys.stdout.flush()
    except BrokenPipeError:
        return _without_stdout(0)
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return _without_stdout(0)  # Typer made it an exit of its own
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the end of the process: say it in one line
        from servescope.cli.failures import explain

        return explain(error, as_json=as_json)
    return code


def _without_stdout(code: int) -> int:
    """The reader of our output left (`| head`): not an error, but nothing more can be written."""
    from servescope.cli.failures import drop_unwritten

    drop_unwritten()
    return code


if __name__ == "__main__":
    sys.exit(main())
