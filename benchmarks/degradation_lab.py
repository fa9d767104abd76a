"""Are slowdowns noticed, and is the right resource named? On the laboratory's recorded sample.

    python benchmarks/degradation_lab.py [FILE]

FILE is what `servescope lab export` wrote; else the sample that comes with the package. A case is a
victim alone, then beside one neighbour, second by second; slowed is who got less than 1/1.2 of its
isolated performance (the laboratory's label). Pace is busy seconds per piece of work, as an engine
would tell it. Printed: precision, recall and delay of incidents beside a z-score of the pace, and
how often the neighbour's resource is the first suspect beside simpler methods.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from analysis.degradation_pace import of_pace
from analysis.incidents import LEAST_SLOWDOWN, stretches, threshold
from analysis.incidents_signals import MEANINGS, case
from analysis.intervals import wilson
from analysis.root_cause.ranking import rank
from analysis.root_cause.rivals import RIVALS
from analysis.root_cause.table import Case, Floats

SAMPLE = Path(__file__).parents[1] / "predictors/degradation/sample/interference.parquet"
# What each neighbour is after, where this host tells a signal of it. Bandwidth and caches have
# none, and databases are after more than one.
RESOURCES = {
    **dict.fromkeys(
        ("spin", "vector", "ng_cpu", "as_json", "as_frames", "as_torch", "as_llm_chat",
         "as_llm_prompt", "forks", "switches", "ng_switch", "calls"), "processor"),
    **dict.fromkeys(("syncs", "ng_hdd", "reads"), "disk"),
    **dict.fromkeys(("pages", "ng_vm"), "memory"),
}  # fmt: skip
Z_ALARM = 3.0


@dataclass(frozen=True)
class Run:
    """A victim alone and then beside one neighbour.

    Attributes:
        aggressor: the neighbour; "none" where it stayed alone.
        performance: label of the second part: share of the isolated performance.
        pace: (seconds,) busy seconds per piece.
        signals: (seconds,) of the host, by name.
        onset: first second of the second part.
    """

    aggressor: str
    performance: float
    pace: Floats
    signals: Mapping[str, Floats]
    onset: int


def runs(path: Path) -> Iterator[Run]:
    """Every run of a block after the first, behind all seconds alone before it."""
    rows = pl.read_parquet(path).filter(pl.col("noise") == "")
    for block in rows.sort("at").partition_by("session_id", "block", maintain_order=True):
        alone: list[pl.DataFrame] = []
        for run in block.partition_by("run_id", maintain_order=True):
            if alone:
                whole = pl.concat([*alone, run])
                yield Run(
                    run["aggressor"][0], float(run["label_p"][0]), _pace(whole),
                    {n: whole[n].cast(pl.Float64).to_numpy() for n in whole.columns
                     if n in MEANINGS and n.startswith("host.")},
                    whole.height - run.height,
                )  # fmt: skip
            if run["phase"][0] == "alone":
                alone.append(run)


def _pace(rows: pl.DataFrame) -> Floats:
    done = rows["load.pieces_per_s"].cast(pl.Float64).to_numpy()
    busy = rows["busy_seconds"].to_numpy()
    return np.divide(busy, done, out=np.full(len(busy), np.nan), where=(done > 0) & (busy > 0))


def noticed(run: Run) -> int | None:
    """Seconds from the onset until an incident is there, seeing no later second; None: never."""
    for end in range(run.onset + 1, len(run.pace) + 1):
        found, spread = of_pace(run.pace[:end])
        if any(one.last >= run.onset for one in stretches(found, threshold(spread))):
            return end - run.onset
    return None


def noticed_by_z(run: Run) -> int | None:
    """The same for one second more than three deviations above the mean of those alone."""
    before = run.pace[: run.onset]
    level, spread = float(np.nanmean(before)), float(np.nanstd(before))
    over = np.flatnonzero(run.pace[run.onset :] > level + Z_ALARM * max(spread, 1e-12))
    return int(over[0]) + 1 if len(over) else None


def told(label: str, cases: Sequence[Run], delays: Sequence[int | None]) -> str:
    """One line: precision, recall, delay."""
    slowed = [one.performance < 1 / LEAST_SLOWDOWN for one in cases]
    alarms = [delay is not None for delay in delays]
    right = sum(a and s for a, s in zip(alarms, slowed, strict=True))
    parts = []
    for name, whole in (("precision", sum(alarms)), ("recall", sum(slowed))):
        low, high = wilson(right, whole) or (0.0, 1.0)
        parts.append(
            f"{name} {right}/{whole} = {right / max(whole, 1):.0%} [{low:.0%}, {high:.0%}]"
        )
    known = [d for d, s in zip(delays, slowed, strict=True) if d is not None and s]
    delay = f"delay {np.median(known):.0f} s" if known else ""
    return f"  {label:24s} {parts[0]:38s} {parts[1]:38s} {delay}"


def table(run: Run) -> Case:
    """The case of a run, as an incident that began with its second part."""
    found, _ = of_pace(run.pace)
    known = np.zeros(len(run.pace), dtype=bool)
    return case("victim", "host", found, (run.signals,), 1.0, run.onset, len(run.pace) - 1, known)


def first_resource(one: Case, scores: Floats) -> str:
    """Resource of the best signal but the target."""
    scores = np.where(np.arange(len(scores)) == one.target, np.nan, scores)
    if np.all(np.isnan(scores)):
        return ""
    return MEANINGS[one.signals[int(np.nanargmax(scores))].name].resource


def main() -> int:
    """Print both tables."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
    cases = list(runs(path))
    slowed = [one for one in cases if one.performance < 1 / LEAST_SLOWDOWN]
    print(f"{len(cases)} runs, {len(slowed)} slowed below 1/{LEAST_SLOWDOWN}")
    print(told("incidents", cases, [noticed(one) for one in cases]))
    print(told("z-score of the pace", cases, [noticed_by_z(one) for one in cases]))
    judged = [one for one in slowed if one.aggressor in RESOURCES]
    tables = [table(one) for one in judged]
    print(f"first suspect is the neighbour's resource, of {len(judged)} slowed runs:")
    for name, rival in RIVALS.items():
        firsts = [first_resource(one, rival(one)) for one in tables]
        print(_hits(name, judged, firsts))
    ranked = [rank(one) for one in tables]
    firsts = [
        MEANINGS[found.suspects[0].signal.name].resource if found.suspects else ""
        for found in ranked
    ]
    print(_hits("servescope", judged, firsts))
    sure = [found.why_unknown is None for found in ranked]
    named = [one for one, is_sure in zip(judged, sure, strict=True) if is_sure]
    said = [first for first, is_sure in zip(firsts, sure, strict=True) if is_sure]
    print(_hits("servescope, where named", named, said))
    print(_hits("always 'processor'", judged, ["processor"] * len(judged)))
    return 0


def _hits(name: str, judged: Sequence[Run], firsts: Sequence[str]) -> str:
    right = sum(RESOURCES[one.aggressor] == said for one, said in zip(judged, firsts, strict=True))
    low, high = wilson(right, len(judged)) or (0.0, 1.0)
    share = right / max(len(judged), 1)
    return f"  {name:32s} {right}/{len(judged)} = {share:.0%} [{low:.0%}, {high:.0%}]"


if __name__ == "__main__":
    sys.exit(main())
