"""`servescope agent`: the node agent. Imports nothing of the server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import typer

from collector.agent import logs
from collector.agent.agent import Agent, Sources, agent_name, look
from collector.agent.config import AgentConfig, load
from collector.model import Scrape
from servescope.cli.output import CommandError, ExitCode, Output
from store.clock import WallClock


def run(
    server: str | None,
    targets: Sequence[str] | None,
    config_file: Path | None,
    name: str | None,
    spool: Path | None,
    otlp: str | None,
    *,
    once: bool,
    show: bool,
    as_json: bool,
) -> None:
    """Read and report until interrupted, or once.

    Raises:
        ConfigError: settings do not fit.
        CollectError: a target is no address, or the spool cannot be used.
        CommandError: with `once`, the server did not take it; with `show`, a target failed.
    """
    flags: dict[str, Any] = {
        "server": server,
        "targets": tuple(targets) if targets else None,
        "name": name,
        "spool_folder": str(spool) if spool else None,
        "otlp_listen": otlp,
    }
    config = load(config_file, flags, os.environ)
    logs.configure("WARNING" if show else "INFO")
    out = Output(as_json=as_json)
    if show:
        _show(config, out)
    elif once:
        _once(config, out)
    else:
        asyncio.run(_run(config, out))


async def _run(config: AgentConfig, out: Output) -> None:
    agent = Agent(config, WallClock(), metadata.version("servescope"))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    note = f"agent {agent_name(config.agent)} → {config.agent.server}"
    await agent.run(stop, lambda: out.note(f"{note} · spool {agent.spool.folder} · Ctrl-C stops"))


def _once(config: AgentConfig, out: Output) -> None:
    agent = Agent(config, WallClock(), metadata.version("servescope"))
    done = asyncio.run(agent.once())
    state = agent.delivery.state
    if not done:
        lost = sum(agent.drops.totals().values())
        kept = f"{lost} rows are lost" if lost else f"it stays in {agent.spool.folder}"
        raise CommandError(
            state.problem or "the server refuses the batch", ExitCode.UNREACHABLE,
            where=config.agent.server, hint=kept, code="unreachable",
        )  # fmt: skip
    out.line(f"{state.delivered_rows} rows delivered to {config.agent.server}")
    out.document("agent", {"rows": state.delivered_rows, "server": config.agent.server})


def _show(config: AgentConfig, out: Output) -> None:
    clock = WallClock()
    told = asyncio.run(_look(config, clock))
    for url, scrape in told:
        out.line(f"# {url}: {scrape.error or 'ok'} ({1000 * scrape.duration_seconds:.0f} ms)")
        out.table(("signal", "labels", "value"), _lines(scrape))
    out.document("agent", {"targets": [_document(url, scrape) for url, scrape in told]})
    bad = [url for url, scrape in told if scrape.outcome != "ok"]
    if bad and out.as_json:
        raise typer.Exit(int(ExitCode.FINDING))  # the document has said which and why
    if bad:
        raise CommandError(
            f"{len(bad)} of {len(told)} targets cannot be read: {', '.join(bad)}",
            ExitCode.FINDING, hint="the lines above say why", code="targets",
        )  # fmt: skip


async def _look(config: AgentConfig, clock: WallClock) -> Sequence[tuple[str, Scrape]]:
    sources = Sources(config, clock)
    return await look(sources, config.collector.scrape_timeout_seconds)


def _lines(scrape: Scrape) -> list[tuple[str, str, Any]]:
    told: list[tuple[str, str, Any]] = [(s.signal, s.labels, s.value) for s in scrape.samples]
    return told + [
        (h.signal, h.labels, f"{h.observation_count:g} observations") for h in scrape.histograms
    ]


def _document(url: str, scrape: Scrape) -> dict[str, Any]:
    return {
        "url": url,
        "outcome": scrape.outcome,
        "error": scrape.error,
        "at": scrape.at,
        "duration_seconds": scrape.duration_seconds,
        "samples": [
            {"signal": s.signal, "labels": json.loads(s.labels), "value": s.value}
            for s in scrape.samples
        ],
        "histograms": [
            {
                "signal": h.signal, "labels": json.loads(h.labels),
                "observation_count": h.observation_count, "observation_sum": h.observation_sum,
                "edges": h.edges, "cumulative_counts": h.cumulative_counts,
            }
            for h in scrape.histograms
        ],
    }  # fmt: skip
