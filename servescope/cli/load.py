"""`servescope load`: a recorded trace sent to a real endpoint."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from servescope.cli.options import From, Json, Plain, Tenant, To, scope_of

if TYPE_CHECKING:
    from servescope.cli.output import Output
    from servescope.load.running import Done

_Targets = Annotated[
    list[str],
    typer.Option("--target", help="URL to send to; may be repeated, the idlest gets the request."),
]
_Keys = Annotated[
    Path | None,
    typer.Option("--keys", help='TOML file of API keys: tenant = "key", "*" is everybody else.'),
]
_Hold = Annotated[
    float, typer.Option("--hold", help="Seconds to wait for a free one; then it is not sent.")
]
_Retries = Annotated[
    int,
    typer.Option("--retries", help="Attempts after a refusal, honouring Retry-After as SDKs do."),
]
_Exact = Annotated[
    bool,
    typer.Option("--exact/--no-exact", help="Ask for the output length of the trace (ignore_eos)."),
]
_Stream = Annotated[
    bool, typer.Option("--stream/--no-stream", help="Streamed answers; others tell no TTFT.")
]
_PerWord = Annotated[
    float | None,
    typer.Option("--tokens-per-word", help="Of the tokeniser; else two short requests measure it."),
]
_Map = Annotated[
    list[str] | None, typer.Option("--map", help="STORED=COLUMN[:UNIT] for unknown formats.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(load)


def load(
    trace: Annotated[
        str, typer.Argument(metavar="TRACE", help="A trace file, or azure-2023-conv.")
    ],
    *,
    target: _Targets,
    speed: Annotated[float, typer.Option("--speed", help="2 sends in half the time.")] = 1.0,
    skip: Annotated[float, typer.Option("--skip", help="Seconds of the trace to skip.")] = 0.0,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Seconds of the trace to send.")
    ] = None,
    most: Annotated[int | None, typer.Option("--most", help="Requests to send at most.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Name that the target knows; else it is asked.")
    ] = None,
    api: Annotated[str, typer.Option("--api", help="chat or completions.")] = "chat",
    stream: _Stream = True,
    exact: _Exact = True,
    keys: _Keys = None,
    tenant_header: Annotated[
        str, typer.Option("--tenant-header", help="Header that names the tenant; empty is none.")
    ] = "x-llm-d-inference-fairness-id",
    connections: Annotated[
        int, typer.Option("--connections", help="Open at once, at most.")
    ] = 2000,
    hold: _Hold = 10.0,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds of an attempt.")] = 600.0,
    retries: _Retries = 0,
    tokens_per_word: _PerWord = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Parquet file for `servescope import`.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Source that the rows are imported as.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="Format of the trace.")] = "auto",
    maps: _Map = None,
    from_: From = None,
    to: To = None,
    tenant: Tenant = None,
    as_json: Json = False,
    plain: Plain = False,
) -> None:
    """Send a recorded trace to a real endpoint in open loop, and measure what clients get."""
    from collector.traces.format import check_name
    from collector.traces.plan import parse_map
    from servescope.cli.output import CommandError, ExitCode, Output, Progress
    from servescope.load import result_file, running
    from servescope.load.planning import Slice
    from servescope.load.sender import Rules
    from store.clock import WallClock

    out_, clock = Output(as_json=as_json, plain=plain), WallClock()
    source = name or f"load-{clock.now():%Y%m%d-%H%M%S}"
    check_name(source)
    if out is not None:
        result_file.check(out)
    _check(api, connections, retries, (hold, timeout), tokens_per_word)
    part = Slice(skip, seconds, speed, most)
    wording = _wording(model, api, keys, tenant_header, is_stream=stream, is_exact=exact)
    plan = running.read_trace(
        _file(trace), scope_of(None, from_, to, tenant=tenant), part, clock, form,
        parse_map(maps or ()),
    )  # fmt: skip
    out_.note(f"{len(plan.requests):,} requests in {plan.seconds:,.0f} s to {', '.join(target)}")
    what = running.Run(
        tuple(target), plan, wording,
        Rules(connections, hold, timeout, most_retries=retries), tokens_per_word, out, source,
        {"trace": Path(trace).name, "speed": speed, "skip_seconds": skip},
    )  # fmt: skip
    bar = Progress(out_, "sending")
    done = asyncio.run(running.run(what, clock, bar, out_.note))
    bar.done()
    _shown(out_, done)
    if done.problem:
        raise CommandError(
            f"no rows were kept: {done.problem}", ExitCode.FAILED, where=str(out), hint="disk full?"
        )
    if done.was_stopped:
        out_.note("stopped; what was done by then is kept")
        raise typer.Exit(int(ExitCode.INTERRUPTED))


def _file(trace: str) -> Path:
    from servescope.replaying.traces import EXAMPLES, example
    from store.errors import InputError

    path = Path(trace)
    if path.exists():
        return path
    packaged = example(trace)
    if packaged is None:
        raise InputError(
            f"there is no trace '{trace}': no such file",
            hint=f"name a file, or one of {', '.join(EXAMPLES)}",
        )
    return packaged


def _check(
    api: str, connections: int, retries: int, times: tuple[float, float], per_word: float | None
) -> None:
    from servescope.load.asking import PATHS
    from store.errors import InputError

    wrong = (
        (api not in PATHS, f"--api {api} is not known", f"one of: {', '.join(PATHS)}"),
        (connections < 1, "--connections must be at least 1", "2000 is usual"),
        (not 0 <= retries <= 100, "--retries must be 0 to 100", "SDKs try 2 times more"),
        (not min(times) > 0, "--hold and --timeout must be above 0", "they are in seconds"),
        (
            per_word is not None and not 0.01 <= per_word <= 100,
            "--tokens-per-word must be 0.01 to 100", "1.3 is usual",
        ),
    )  # fmt: skip
    for is_wrong, message, hint in wrong:
        if is_wrong:
            raise InputError(message, hint=hint)


def _wording(
    model: str | None,
    api: str,
    keys: Path | None,
    tenant_header: str,
    *,
    is_stream: bool,
    is_exact: bool,
) -> Any:
    from servescope.load.asking import Wording

    return Wording(model or "", api, is_stream, is_exact, tenant_header, _read_keys(keys))  # type: ignore[arg-type]


def _read_keys(file: Path | None) -> dict[str, str]:
    """Tenant -> key; from a file, as every user of a host sees its command lines."""
    from store.errors import ConfigError

    if file is None:
        return {}
    try:
        told = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"keys cannot be read ({reason})", where=str(file), hint='write: tenant = "key"'
        ) from error
    for name, key in told.items():
        if not isinstance(key, str) or not key or not (key.isascii() and key.isprintable()):
            raise ConfigError(
                f"the key of '{name}' is no plain text",
                where=str(file),
                hint='write: tenant = "key"',
            )
    return {("" if name == "*" else name): key for name, key in told.items()}


def _shown(out: Output, done: Done) -> None:
    for text in done.warnings:
        out.warn(text)
    summary = done.summary
    out.document("load", summary)
    out.line(
        f"{summary['requests']:,} of {summary['planned']:,} requests in "
        f"{summary['seconds']:,.1f} s:"
        f" {summary['ok']:,} ok, {summary['refused']:,} refused, {summary['failed']:,} failed,"
        f" {summary['aborted']:,} stopped, {summary['not_sent']:,} not sent;"
        f" {summary['attempts']:,} attempts"
    )
    names = {
        "ttft_seconds": "TTFT from intended", "ttft_from_send_seconds": "TTFT from sending",
        "tpot_seconds": "TPOT", "e2e_seconds": "E2E from intended",
        "e2e_from_send_seconds": "E2E from sending",
        "first_or_end_since_first_attempt_seconds": "first answer, all attempts",
        "sender_lag_seconds": "sender late", "held_seconds": "waited for a connection",
    }  # fmt: skip
    rows = [
        [text, *(summary[key][one] for one in ("p50", "p95", "p99", "max", "n"))]
        for key, text in names.items()
        if summary[key]["n"]
    ]
    out.table(["seconds", "p50", "p95", "p99", "max", "n"], rows)
    tenants = summary["tenants"]
    if len(tenants) > 1:
        out.line()
        columns = list(tenants[0])
        out.table(columns, [[one[name] for name in columns] for one in tenants[:50]])
    for reason, count in summary["reasons"].items():
        out.line(f"{count:,} times {reason}")
    if summary["file"]:
        out.line(f"{summary['file_rows']:,} rows: servescope import {summary['file']}")
