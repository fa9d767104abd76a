"""What `servescope load` does: reads the trace, sends it, shows what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from collector.traces.format import check_name
from collector.traces.plan import parse_map
from servescope.cli.output import CommandError, ExitCode, Output, Progress
from servescope.load import result_file, running
from servescope.load.asking import PATHS, Wording
from servescope.load.planning import Slice
from servescope.load.running import Done
from servescope.load.sender import Rules
from servescope.replaying.traces import EXAMPLES, example
from store import toml
from store.clock import WallClock
from store.errors import ConfigError, InputError


@dataclass(frozen=True, slots=True)
class Asked:
    """The options as they were given; see the help of the command."""

    targets: tuple[str, ...]
    speed: float
    skip: float
    seconds: float | None
    most: int | None
    model: str | None
    api: str
    is_stream: bool
    is_exact: bool
    keys: Path | None
    tenant_header: str
    connections: int
    hold: float
    timeout: float
    retries: int
    tokens_per_word: float | None
    out: Path | None
    name: str | None
    form: str
    maps: Sequence[str]


def run_load(
    trace: str, asked: Asked, params: Mapping[str, str], *, as_json: bool, plain: bool
) -> None:
    """Send a trace."""
    out, clock = Output(as_json=as_json, plain=plain), WallClock()
    source = asked.name or f"load-{clock.now():%Y%m%d-%H%M%S}"
    check_name(source)
    if asked.out is not None:
        result_file.check(asked.out)
    _check(asked)
    part = Slice(asked.skip, asked.seconds, asked.speed, asked.most)
    wording = Wording(
        asked.model or "", asked.api, asked.is_stream, asked.is_exact, asked.tenant_header,  # type: ignore[arg-type]
        _read_keys(asked.keys),
    )  # fmt: skip
    plan = running.read_trace(_file(trace), params, part, clock, asked.form, parse_map(asked.maps))
    where = ", ".join(asked.targets)
    out.note(f"{len(plan.requests):,} requests in {plan.seconds:,.0f} s to {where}")
    what = running.Run(
        asked.targets, plan, wording,
        Rules(asked.connections, asked.hold, asked.timeout, most_retries=asked.retries),
        asked.tokens_per_word, asked.out, source,
        {"trace": Path(trace).name, "speed": asked.speed, "skip_seconds": asked.skip},
    )  # fmt: skip
    bar = Progress(out, "sending")
    done = asyncio.run(running.run(what, clock, bar, out.note))
    bar.done()
    _shown(out, done)
    if done.problem:
        raise CommandError(
            f"no rows were kept: {done.problem}",
            ExitCode.FAILED,
            where=str(asked.out),
            hint="is the disk full?",
        )
    if done.was_stopped:
        out.note("stopped; what was done by then is kept")
        raise typer.Exit(int(ExitCode.INTERRUPTED))


def _file(trace: str) -> Path:
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


def _check(asked: Asked) -> None:
    per_word, api = asked.tokens_per_word, asked.api
    wrong = (
        (api not in PATHS, f"--api {api} is not known", f"one of: {', '.join(PATHS)}"),
        (asked.connections < 1, "--connections must be at least 1", "2000 is usual"),
        (not 0 <= asked.retries <= 100, "--retries must be 0 to 100", "SDKs try 2 times more"),
        (
            not (asked.hold > 0 and asked.timeout > 0),
            "--hold and --timeout must be above 0", "they are in seconds",
        ),
        (
            per_word is not None and not 0.01 <= per_word <= 100,
            "--tokens-per-word must be 0.01 to 100", "1.3 is usual",
        ),
    )  # fmt: skip
    for is_wrong, message, hint in wrong:
        if is_wrong:
            raise InputError(message, hint=hint)


def _read_keys(file: Path | None) -> dict[str, str]:
    """Tenant -> key; from a file, as every user of a host sees its command lines."""
    if file is None:
        return {}
    try:
        told = toml.loads(file.read_text())
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
