"""The published differences of service of VTC's artifact, summed by our own queries.

    python benchmarks/fairness_artifact.py FOLDER

FOLDER holds the artifact's results, unpacked (`FCFS/all_results_overload.jsonl`, …; Apache-2.0).
Each run is imported like any trace; sums by bin are read at the ticks of the artifact: 19 windows
of 60 s from 58.5 s on, and the accumulated service since 30 s. Exit 1 when a figure is another one.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from analysis import fairness_courses as courses
from analysis import fairness_measures as measures
from collector.traces.plan import plan
from store.bulk import load
from store.clock import WallClock
from store.database import Database
from store.queries.fairness import flows
from store.queries.scope import Scope
from store.queries.token_cost import Cost
from store.settings import StoreSettings

# Run -> accumulated difference, mean of the windowed one; of the artifact's plots and its paper.
PUBLISHED = {
    "FCFS/all_results_overload.jsonl": (237_738, 439.0),
    "VTC/all_results_overload.jsonl": (9_050, 103.8),
    "VTC_pred_50/all_results_overload.jsonl": (1_789, 12.5),
    "VTC_oracle/all_results_overload.jsonl": (377, 0.51),
    "FCFS/all_results_overload-multi.jsonl": (34_823, 230.8),
    "VTC/all_results_overload-multi.jsonl": (2_976, 162.2),
    "VTC_pred_50/all_results_overload-multi.jsonl": (1_277, 66.3),
    "VTC_oracle/all_results_overload-multi.jsonl": (746, 36.3),
}
START = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS, BIN_SECONDS, WINDOW_BINS, WARM_BINS, STEP_BINS, TICKS = 602.0, 0.5, 120, 60, 57, 19


def measured(file: Path) -> tuple[float, float]:
    """Accumulated and mean windowed difference of one run."""
    with Database.open(None, StoreSettings(), WallClock(), allow_files=True) as database:
        (report,) = [load(database.writer, spec) for spec in plan([file])]
        reader = database.reader
        number = int(reader.scalar("SELECT source_id FROM source WHERE name = $name",
                                   name=report.source))  # fmt: skip
        names = reader.frame("SELECT DISTINCT tenant FROM requests ORDER BY 1")["tenant"].to_list()
        scope = Scope((number,), START, START + timedelta(seconds=SECONDS))
        rows = flows(reader, scope, Cost(), names, BIN_SECONDS)
    found = courses.of_flows(rows, names, SECONDS, BIN_SECONDS, WINDOW_BINS)
    ticks = [STEP_BINS * number for number in range(1, TICKS + 1)]
    windowed = measures.windowed_difference(found, np.ones(len(names)))[ticks]
    warm = found.service[:, WARM_BINS]
    apart = [np.ptp(found.service[:, tick + WARM_BINS] - warm) for tick in ticks]
    return float(max(apart)), float(windowed.mean())


def main() -> int:
    """Print both figures of each run beside the published ones."""
    folder = Path(sys.argv[1])
    wrong = 0
    print(f"{'run':46} {'accumulated':>12} {'published':>10} {'windowed':>9} {'published':>10}")
    for name, (accumulated, windowed) in PUBLISHED.items():
        ours = measured(folder / name)
        wrong += abs(ours[0] - accumulated) > 1 or abs(ours[1] - windowed) > 0.06
        print(f"{name:46} {ours[0]:12,.0f} {accumulated:10,} {ours[1]:9.2f} {windowed:10}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
