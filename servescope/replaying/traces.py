"""Where requests come from: a source of a store, a trace file, or a packaged example."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from controller.calibration.recorded import Recorded, recorded
from controller.comparison.window import MOST_ROWS, can_be_judged
from controller.simulator.workload import Workload
from controller.workloads import BLOCK_TOKENS, workload_of
from servescope import importing
from servescope.replaying.asked import MOST_REQUESTS
from store.bulk_spec import BulkLoad
from store.clock import WallClock
from store.database import Database
from store.errors import ControllerError, InputError
from store.queries import catalog
from store.queries import replays as queries
from store.queries.scope import Scope, resolve
from store.reader import Reader
from store.settings import StoreSettings

EXAMPLES: Mapping[str, str] = {
    "azure-2023-conv": importing.EXAMPLE_FILES[0],
    "azure-2023-code": importing.EXAMPLE_FILES[1],
}


@dataclass(frozen=True, slots=True)
class Found:
    """Requests to replay.

    Attributes:
        workload: all that have both sizes.
        recorded: the latest of those with latencies; None where it is not known who served whom.
    """

    workload: Workload
    recorded: Recorded | None


def of_scope(reader: Reader, scope: Scope, where: str = "") -> Found:
    """The requests of a scope.

    Args:
        reader: the store.
        scope: which.
        where: what to call them when they cannot be replayed.

    Raises:
        InputError: there are none, or too many.
        ControllerError: none has a prompt and an output size.
    """
    rows = queries.requests(reader, scope, MOST_REQUESTS)
    if rows.is_empty() and queries.has_rates_alone(reader, scope):
        raise InputError(
            "this source has rates of clients and no requests, so there is nothing to replay",
            where=where or None,
            hint="replay needs a trace with the time, prompt and output size of each request",
        )
    if rows.is_empty():
        raise InputError(
            "no request lies in this range", hint="servescope sources shows what there is, and when"
        )
    if rows.height > MOST_REQUESTS:
        raise InputError(
            f"more than {MOST_REQUESTS:,} requests lie in this range", hint="take a shorter one"
        )
    tokens = queries.block_tokens(reader, scope) or BLOCK_TOKENS
    try:
        workload = workload_of(rows, block_tokens=tokens)
    except ControllerError as error:
        hint = _missing(rows) or error.hint
        raise ControllerError(error.message, hint=hint, where=where or None) from error
    return Found(workload, _recorded(rows, tokens))


def _missing(rows: pl.DataFrame) -> str:
    """Which of both sizes no row has; "" where it is not that."""
    names = {"input_tokens": "prompt", "output_tokens": "output"}
    lost = [word for name, word in names.items() if rows[name].is_null().all()]
    if not lost:
        return ""
    return f"no row has the tokens of its {' or its '.join(lost)}; replay needs both"


def _recorded(rows: pl.DataFrame, block_tokens: int) -> Recorded | None:
    if rows["instance"].is_null().any():
        return None
    try:
        found = recorded(rows, block_tokens).last(MOST_ROWS)
    except ControllerError:
        return None
    return found if can_be_judged(found) else None


def of_file(path: Path, params: Mapping[str, str]) -> tuple[str, Found]:
    """(name, requests) of a trace file in any format that can be imported.

    Args:
        path: the file.
        params: from, to, model, tenant.

    Raises:
        InputError: it cannot be read.
        ControllerError: no request has a prompt and an output size.
    """
    clock = WallClock()
    with tempfile.TemporaryDirectory(prefix="servescope-replay-") as folder:
        options = importing.Options((path,), rejects=Path(folder) / "rejects.csv")
        loads = _planned(options, path)
        file = Path(folder) / "replay.duckdb"
        with Database.open(file, StoreSettings(), clock, allow_files=True) as database:
            reports = importing.load_files(database, loads)
            # A file is a recording, of a live fleet too: its "now" is its last row.
            known = [replace(one, kind="trace") for one in catalog.sources(database.reader)]
            name = reports[0].source
            scope = resolve({**params, "source": name}, known, clock.now())
            return name, of_scope(database.reader, scope, str(path))


def _planned(options: importing.Options, path: Path) -> list[BulkLoad]:
    try:
        return importing.planned(options)
    except InputError as error:
        if "--map" not in (error.hint or ""):
            raise
        raise InputError(
            error.message,
            where=error.where,
            hint=f"servescope import {path.name} --map 'arrived_at=COLUMN:unit' --map …, and replay"
            " that by its name",
        ) from error


def example(name: str) -> Path | None:
    """The packaged file of that name; None when there is none."""
    file = EXAMPLES.get(name)
    found = [path for path in importing.example_files() if path.name == file]
    return found[0] if found else None
