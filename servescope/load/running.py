"""A run of the load generator: trace in, requests out, rows and a summary at the end."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from servescope import importing
from servescope.load import probing
from servescope.load.asking import Wording
from servescope.load.planning import Plan, Slice, plan_of
from servescope.load.prompts import Prompts
from servescope.load.result_file import ResultFile
from servescope.load.sender import Rules, Sender
from servescope.load.tally import LATE_SECONDS, Tally
from store.clock import Clock
from store.database import Database
from store.errors import InputError
from store.queries import catalog
from store.queries import replays as queries
from store.queries.scope import resolve
from store.settings import StoreSettings

MOST_REQUESTS = 1_000_000
TICK_SECONDS = 0.5
Tick = Callable[[float, str], None]
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """What to do.

    Attributes:
        urls: of the targets.
        plan: what to send.
        wording: how to put it; an empty model is asked of the first target.
        rules: limits of sending.
        tokens_per_word: of the targets' tokeniser; None measures it.
        out: result file; None keeps no rows.
        name: of the source in that file, and in front of request ids.
        details: kept with it.
    """

    urls: tuple[str, ...]
    plan: Plan
    wording: Wording
    rules: Rules = field(default_factory=Rules)
    tokens_per_word: float | None = None
    out: Path | None = None
    name: str = "load"
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it.

    Attributes:
        summary: of `Tally`, and of the file.
        warnings: one line each.
        was_stopped: by Ctrl-C.
        problem: why no rows were kept; "" is none.
    """

    summary: dict[str, Any]
    warnings: tuple[str, ...]
    was_stopped: bool
    problem: str = ""


def read_trace(
    file: Path, params: Mapping[str, str], part: Slice, clock: Clock, form: str = "auto",
    mapping: Mapping[str, str] | None = None,
) -> Plan:  # fmt: skip
    """Plan a trace file in any format that can be imported.

    Args:
        file: the trace.
        params: from, to, model, tenant.
        part: which of it, and how fast.
        clock: the time.
        form: its format, or "auto".
        mapping: columns of an unknown one.

    Raises:
        InputError: it cannot be read, is too large, or nothing is left to send.
    """
    with tempfile.TemporaryDirectory(prefix="servescope-load-") as folder:
        options = importing.Options(
            (file,), form, mapping or None, rejects=Path(folder) / "rejects.csv"
        )
        loads = importing.planned(options)
        store = Path(folder) / "load.duckdb"
        with Database.open(store, StoreSettings(), clock, allow_files=True) as database:
            reports = importing.load_files(database, loads)
            known = [
                {**params, "source": name} for name in dict.fromkeys(r.source for r in reports)
            ]
            sources = catalog.sources(database.reader)
            rows, tokens = [], []
            for one in known:
                scope = resolve(one, _recordings(sources), clock.now())
                rows.append(queries.requests(database.reader, scope, MOST_REQUESTS))
                tokens.append(queries.block_tokens(database.reader, scope))
    frame = pl.concat(rows)
    if frame.height > MOST_REQUESTS:
        raise InputError(
            f"more than {MOST_REQUESTS:,} requests",
            where=str(file),
            hint="take a part: --from, --to",
        )
    return plan_of(frame, part, tokens[0])


def _recordings(sources: Sequence[Any]) -> list[Any]:
    """A file is a recording, of a live fleet too: its "now" is its last row."""
    from dataclasses import replace

    return [replace(one, kind="trace") for one in sources]


async def run(what: Run, clock: Clock, tick: Tick, note: Note) -> Done:
    """Send everything, then tell what came of it. Ctrl-C ends it early and loses nothing.

    Args:
        what: to do.
        clock: the time.
        tick: told the share done and how it goes, twice a second.
        note: told what people should know before it starts.

    Raises:
        CollectError: the first target cannot be used.
        InputError: the result file cannot be written.
    """
    wording, prompts = await _prepared(what, clock, note)
    warnings = _room_for(what.rules.most_connections)
    tally = Tally()
    file = (
        None if what.out is None else ResultFile(what.out, what.name, wording.model, what.details)
    )
    if file is not None:
        file.open(clock.now())

    def report(sent: Any) -> None:
        tally.add(sent)
        if file is not None:
            file.add(sent)

    sender = Sender(what.urls, wording, prompts, clock, report, rules=what.rules, name=what.name)
    began = clock.monotonic()
    with _stopped_by_signals(sender):
        ticking = asyncio.create_task(_ticking(sender, tally, what.plan, clock, tick))
        try:
            await sender.run(what.plan.requests)
        finally:
            ticking.cancel()
            rows = 0 if file is None else file.close()
    summary = tally.summary(clock.monotonic() - began)
    summary |= {
        "planned": len(what.plan.requests), "rows_without_sizes": what.plan.left_out,
        "model": wording.model, "targets": list(what.urls),
        "file": str(file.path) if rows and file is not None else None, "file_rows": rows,
        "source": what.name,
    }  # fmt: skip
    warnings += _warnings(summary, what)
    problem = "" if file is None else file.problem
    return Done(summary, tuple(warnings), sender.is_stopping, problem)


async def _prepared(what: Run, clock: Clock, note: Note) -> tuple[Wording, Prompts]:
    from dataclasses import replace

    wording, first = what.wording, what.urls[0]
    if not wording.model:
        wording = replace(wording, model=await probing.model_of(first, clock))
        note(f"model {wording.model}, as {first} names it")
    if what.tokens_per_word is not None:
        return wording, Prompts(what.tokens_per_word)
    found = await probing.measure(first, wording, clock)
    if found is None:
        note("the target tells no usage: a word of a prompt is taken for a token")
        return wording, Prompts()
    note(f"{found.tokens_per_word:.2f} tokens a word, {found.extra_tokens} more in each prompt")
    return wording, Prompts(found.tokens_per_word, found.extra_tokens)


async def _ticking(sender: Sender, tally: Tally, plan: Plan, clock: Clock, tick: Tick) -> None:
    began, total = clock.monotonic(), max(len(plan.requests), 1)
    while True:
        await clock.sleep(TICK_SECONDS)
        line = tally.line(clock.monotonic() - began)
        tick(tally.done / total, f"{line}  under way {sender.under_way:,}")


@contextlib.contextmanager
def _stopped_by_signals(sender: Sender) -> Any:
    """The first signal ends the run, the second the program."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        for one in signals:
            loop.remove_signal_handler(one)
        sender.stop()

    added = []
    for one in signals:
        # Only the main thread may.
        with contextlib.suppress(RuntimeError, ValueError):
            loop.add_signal_handler(one, stop)
            added.append(one)
    try:
        yield
    finally:
        for one in added:
            loop.remove_signal_handler(one)


def _room_for(connections: int) -> list[str]:
    """Raise the limit of open files as far as it goes; say where that is not enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 256
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return []
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most >= wanted:
        return []
    return [f"only {most:,} files may be open (ulimit -n), fewer than --connections needs"]


def _warnings(summary: Mapping[str, Any], what: Run) -> list[str]:
    found = []
    lag = summary["sender_lag_seconds"]["p99"]
    if lag is not None and lag > LATE_SECONDS:
        found.append(
            f"the sender itself was late by {1e3 * lag:.0f} ms (p99): part of the latencies is its"
            " own; lower --speed, or send from several processes"
        )
    if summary["not_sent"]:
        found.append(
            f"{summary['not_sent']:,} requests found no free connection in"
            f" {what.rules.hold_seconds:g} s and were not sent (they count as failed):"
            " raise --connections"
        )
    ratio = summary["input_tokens_to_asked_ratio"]
    if ratio is not None and not 0.8 <= ratio <= 1.25:
        found.append(
            f"prompts had {ratio:.2f} times the tokens of the trace: set --tokens-per-word"
        )
    if what.plan.left_out:
        found.append(f"{what.plan.left_out:,} rows of the trace have no sizes and were left out")
    return found
