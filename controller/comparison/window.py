"""The replayed window as it was: simulated on the fleet that served it, beside what was measured.

Where rows carry latencies and say who served whom, the model can be judged on the very traffic that
policies are compared on; that beats what its profile says of other rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from controller.calibration.judge import attainment, errors_of, judge
from controller.calibration.recorded import Recorded, Times
from controller.calibration.simulated import MOST_INSTANCES, simulate
from controller.comparison.protocol import Comparison
from controller.comparison.runs import NUMBERS
from controller.numbers import Floats
from controller.observation import Objective
from controller.profile import FitError

POLICY, REAL, AGAIN = "recorded", "recorded", "resimulated"
MOST_ROWS = 100_000


def can_be_judged(recorded: Recorded) -> bool:
    """Whether it is known who served whom."""
    return recorded.is_placed and len(recorded.instances) <= MOST_INSTANCES


def window_rows(recorded: Recorded, comparison: Comparison, case: str) -> list[dict[str, Any]]:
    """Two rows: as it was, and as the simulator says it was.

    Args:
        recorded: what was measured.
        comparison: profile and objective.
        case: name of the trace.

    Raises:
        ControllerError: nothing of it can be compared.
    """
    told = simulate(recorded, comparison.profile)
    judged = judge("simulator", told, recorded.times, comparison.objective)
    source = f"this very window of {case}"
    errors = json.dumps({"source": source, **errors_of(judged)}, sort_keys=True)
    sides = ((REAL, "as recorded", recorded.times), (AGAIN, "as recorded, simulated", told))
    return [
        {
            "case": case, "startup_seconds": 0.0, "policy": POLICY, "title": title, "row": row,
            "parameters": errors, "seed": comparison.seeds[0], "state": "done", "reason": None,
            **dict.fromkeys(NUMBERS), "requests": len(recorded),
            **_numbers(times, comparison.objective),
        }
        for row, title, times in sides
    ]  # fmt: skip


def error_of(rows: list[Mapping[str, Any]]) -> FitError | None:
    """The model's error on the window, from rows of `window_rows`; None where there are none."""
    told = [row for row in rows if row["row"] == AGAIN]
    return FitError.of(json.loads(told[0]["parameters"])) if told else None


def _numbers(times: Times, objective: Objective) -> dict[str, float | None]:
    return {
        "attainment_ratio": _known(attainment(times, objective)),
        "ttft_p50_seconds": _quantile(times.ttft, 0.5),
        "ttft_p95_seconds": _quantile(times.ttft, 0.95),
        "ttft_p99_seconds": _quantile(times.ttft, 0.99),
        "tpot_p50_seconds": _quantile(times.tpot, 0.5),
        "tpot_p95_seconds": _quantile(times.tpot, 0.95),
        "tpot_p99_seconds": _quantile(times.tpot, 0.99),
    }


def _quantile(values: Floats, level: float) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, level)) if len(known) else None


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
