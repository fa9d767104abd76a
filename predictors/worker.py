"""A process that trains or back-tests one predictor: `python -m predictors.worker FOLDER`.

It reads `task.json` and `rows.parquet` of the folder and leaves `report.json` and `model/`, or
`cells.parquet` of a back-test, or `error.json`. It opens no store and no socket, so that it may be
stopped at any moment.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from predictors import catalog, rolling
from predictors.base import FitReport
from predictors.scoring import Scores
from store.errors import ServescopeError

NICENESS = 10
TASK, ROWS, MODEL, REPORT, ERROR = "task.json", "rows.parquet", "model", "report.json", "error.json"
CELLS, DONE = "cells.parquet", "done"


def run(folder: Path) -> Mapping[str, Any]:
    """Do what `task.json` asks for: a training, or a back-test where it names `windows`.

    Args:
        folder: with the task and the rows; what comes of it is left there.

    Returns:
        The report as it was written.

    Raises:
        ServescopeError: the rows cannot be learnt from.
    """
    task = json.loads((folder / TASK).read_text("utf-8"))
    entry = catalog.entry(str(task["predictor"]))
    rows = pl.read_parquet(folder / ROWS)
    windows = task.get("windows")
    told = (
        _trained(folder, entry, rows) if windows is None else _rolled(folder, entry, rows, windows)
    )
    (folder / REPORT).write_text(json.dumps(told), "utf-8")
    return told


def _rolled(folder: Path, entry: catalog.Entry, rows: pl.DataFrame, windows: int) -> dict[str, Any]:
    """Judge on rolling origins; the file `DONE` grows by a byte a window."""
    start = time.process_time()

    def told(_: int) -> None:
        with (folder / DONE).open("ab") as done:
            done.write(b".")

    cells = rolling.roll(entry, rows, windows, told)
    cells.write_parquet(folder / CELLS)
    spec = entry.made_rival().spec
    seconds = time.process_time() - start
    return {"unit": spec.unit, "rival": spec.rival, "seconds": seconds, "rows": rows.height}


def _trained(folder: Path, entry: catalog.Entry, rows: pl.DataFrame) -> dict[str, Any]:
    predictor = entry.made()
    report = predictor.fit(rows)
    predictor.save(folder / MODEL)
    rival = entry.made_rival()
    rival.fit(rows)
    rival.save(folder / f"{MODEL}.rival")
    return {"model_id": predictor.model_id, "rival_id": rival.model_id, **_plain(report)}


def main(arguments: list[str]) -> int:
    """Exit code 0 with a report, 2 with an error that says what to do."""
    folder = Path(arguments[0])
    # Whoever waits for an answer comes first.
    os.nice(NICENESS)
    try:
        with catalog.extra_needed():
            run(folder)
    except ServescopeError as error:
        told = {"code": error.code, "message": error.message, "hint": error.hint}
        (folder / ERROR).write_text(json.dumps(told), "utf-8")
        return 2
    return 0


def _plain(report: FitReport) -> dict[str, Any]:
    return {
        "rows": report.rows,
        "held_out_rows": report.held_out_rows,
        "seconds": report.seconds,
        "ours": _scores(report.ours),
        "rival": _scores(report.rival),
        "notes": list(report.notes),
    }


def _scores(scores: Scores | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    # JSON knows no NaN: what is unknown is null.
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(scores).items()
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
