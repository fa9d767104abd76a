"""A comparison handed to worker processes: a folder with its settings and arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from controller.calibration.recorded import Recorded, Times
from controller.comparison.foresight import Foreseen
from controller.comparison.protocol import Case, Comparison, Segment
from controller.simulator.workload import Workload

JOB, WINDOW = "job.json", "window.npz"
_ARRAYS = ("arrived", "prompt", "output", "tenant", "group", "shared")
_FORESEEN = ("made", "levels", "values")
_TIMES = ("ttft", "tpot", "e2e")
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def save(
    folder: Path,
    comparison: Comparison,
    cases: Sequence[Case],
    window: Recorded | None = None,
) -> None:
    """Leave everything that worker processes need in a folder.

    Args:
        folder: there already.
        comparison: the protocol.
        cases: what is replayed.
        window: as it was, where that is known.
    """
    named = []
    for number, case in enumerate(cases):
        parts = {"test": case.tests, "tuning": case.tuning}
        for part, segments in parts.items():
            for at, segment in enumerate(segments):
                arrays = {name: getattr(segment.workload, name) for name in _ARRAYS}
                if segment.forecasts is not None:
                    told = asdict(segment.forecasts)
                    arrays |= {f"foreseen_{name}": value for name, value in told.items()}
                np.savez(
                    folder / f"{number}-{part}-{at}.npz",
                    left_out=segment.workload.left_out,
                    warm_up=segment.warm_up_seconds,
                    past=np.array(segment.past),
                    **arrays,
                )
        named.append({"name": case.name, **{part: len(some) for part, some in parts.items()}})
    job = {"comparison": comparison.document(), "cases": named}
    if window is not None:
        arrays = {name: getattr(window.workload, name) for name in _ARRAYS}
        times = {name: getattr(window.times, name) for name in _TIMES}
        np.savez(
            folder / WINDOW, instances=len(window.instances), replica=window.replica,
            **arrays, **times,
        )  # fmt: skip
    (folder / JOB).write_text(json.dumps(job), "utf-8")


def load(folder: Path) -> tuple[Comparison, list[Case]]:
    """What `save` left."""
    job = json.loads((folder / JOB).read_text("utf-8"))
    cases = []
    for number, told in enumerate(job["cases"]):
        tests, tuning = (
            tuple(_segment(folder / f"{number}-{part}-{at}.npz") for at in range(told[part]))
            for part in ("test", "tuning")
        )
        cases.append(Case(told["name"], tests, tuning))
    return Comparison.of_document(job["comparison"]), cases


def _segment(path: Path) -> Segment:
    with np.load(path) as kept:
        arrived, prompt, output, tenant, group, shared = (kept[name] for name in _ARRAYS)
        left_out = int(kept["left_out"])
        workload = Workload(arrived, prompt, output, tenant, group, shared, left_out)
        past = tuple(kept["past"].tolist())
        return Segment(workload, float(kept["warm_up"]), past, _foreseen(kept))


def _foreseen(kept: Mapping[str, Any]) -> Foreseen | None:
    if "foreseen_made" not in kept:
        return None
    told: dict[str, Any] = {
        name: kept[f"foreseen_{name}"] if name in _FORESEEN else float(kept[f"foreseen_{name}"])
        for name in (one.name for one in fields(Foreseen))
    }
    return Foreseen(**told)


def load_window(folder: Path) -> Recorded | None:
    """What was recorded, where `save` was given it."""
    path = folder / WINDOW
    if not path.exists():
        return None
    with np.load(path) as kept:
        arrived, prompt, output, tenant, group, shared = (kept[name] for name in _ARRAYS)
        ttft, tpot, e2e = (kept[name] for name in _TIMES)
        workload = Workload(arrived, prompt, output, tenant, group, shared)
        names = tuple(str(number) for number in range(int(kept["instances"])))
        return Recorded(workload, Times(ttft, tpot, e2e), kept["replica"], names, _NO_TIME)
