"""A process that trains one model: `python -m predictors.worker FOLDER`.

It reads `task.json` and `rows.parquet` of the folder and leaves `model/` and `report.json`, or
`error.json`. It opens no store and no socket, so that it may be stopped at any moment.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from predictors import catalog
from predictors.base import FitReport
from predictors.scoring import Scores
from store.errors import ServescopeError

NICENESS = 10
TASK, ROWS, MODEL, REPORT, ERROR = "task.json", "rows.parquet", "model", "report.json", "error.json"


def run(folder: Path) -> Mapping[str, Any]:
    """Train what `task.json` asks for.

    Args:
        folder: with the task and the rows; the model is left there.

    Returns:
        The report as it was written.

    Raises:
        ServescopeError: the rows cannot be learnt from.
    """
    task = json.loads((folder / TASK).read_text("utf-8"))
    entry = catalog.entry(str(task["predictor"]))
    rows = pl.read_parquet(folder / ROWS)
    predictor = entry.made()
    report = predictor.fit(rows)
    predictor.save(folder / MODEL)
    rival = entry.made_rival()
    rival.fit(rows)
    rival.save(folder / f"{MODEL}.rival")
    told = {"model_id": predictor.model_id, "rival_id": rival.model_id, **_plain(report)}
    (folder / REPORT).write_text(json.dumps(told), "utf-8")
    return told


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
