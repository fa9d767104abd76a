"""Does anything work at all? Known within minutes, whatever the target of an objective.

A burn rate cannot exceed 1 / (1 - target): of a target of 99 % a full outage has burnt for nearly
nine minutes before the hour's 14.4 is reached, of 95 % for three quarters of an hour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from analysis.alerts.model import Link, Reading
from analysis.alerts.rules import Watch
from analysis.trust import WHOLE_TARGET, Trusted, usable
from store.queries import outages, telemetry
from store.units import percent_text, seconds_text

_COLUMNS = ("near", "near_bad", "near_failed", "far", "far_bad", "far_failed")
_LOOKED_BACK = 1800.0


def outage(watch: Watch) -> Sequence[Reading]:
    """One reading a model, and one a tenant whose trouble is not that of its models."""
    window = timedelta(seconds=watch.limits["window_seconds"])
    now = watch.now.replace(tzinfo=None)
    found = outages.counts(watch.reader, now - window, now - 2 * window, now)
    silent = _silent_models(watch)
    models = {reading.labels["model"]: reading for reading in _models(found, watch)}
    for model, reading in silent.items():
        known = models.get(model)
        # Silence of all instances beats requests that say nothing, or that still look well.
        if reading.active or known is None:
            models[model] = reading
    out = {model for model, reading in models.items() if reading.active}
    rest = found.filter(~pl.col("model").is_in(list(out)))
    return [*models.values(), *_tenants(rest, watch)]


def _models(found: pl.DataFrame, watch: Watch) -> Iterator[Reading]:
    for row in _added(found, "model"):
        yield _reading("model", row, watch, "bad", "fail, are refused or are given up")


def _tenants(found: pl.DataFrame, watch: Watch) -> Iterator[Reading]:
    """Only failures count: a tenant that is refused or that gives up may have itself to blame."""
    for row in _added(found, "tenant"):
        yield _reading("tenant", row, watch, "failed", "fail")


def _added(found: pl.DataFrame, label: str) -> list[dict[str, Any]]:
    named = found.filter(pl.col(label) != "")
    return named.group_by(label).agg(pl.col(*_COLUMNS).sum()).sort(label).to_dicts()


@dataclass(frozen=True, slots=True)
class Judged:
    """What a window of requests says.

    Attributes:
        is_out: whether enough is bad; None where no request came.
        bad: requests, of `count`.
        count: requests that came.
        seconds: length of the window that was looked at.
    """

    is_out: bool | None
    bad: int
    count: int
    seconds: float


def judged(near: tuple[int, int], far: tuple[int, int], limits: Mapping[str, float]) -> Judged:
    """Whether enough is bad over the near window; or, where that holds few, over twice as much.

    Args:
        near: bad requests and all of them, over the window.
        far: the same over twice the window.
        limits: of the rule.
    """
    seconds, (bad, count) = limits["window_seconds"], near
    if bad < limits["least_bad"]:
        seconds, (bad, count) = 2 * seconds, far
    if not count:
        return Judged(None, bad, count, seconds)
    is_out = bad >= limits["least_bad"] and bad / count >= limits["bad_ratio"]
    return Judged(is_out, bad, count, seconds)


def _reading(label: str, row: Mapping[str, Any], watch: Watch, kind: str, words: str) -> Reading:
    found = judged(
        (row[f"near_{kind}"], row["near"]), (row[f"far_{kind}"], row["far"]), watch.limits
    )
    ratio = found.bad / found.count if found.count else None
    said = percent_text(ratio, 0) if ratio is not None else "none"
    return Reading(
        {label: row[label]},
        found.is_out,
        f"{found.bad:,} of {found.count:,} requests ({said}) {_whose(label, row[label])} {words}"
        f" over the last {seconds_text(found.seconds)}.",
        ratio,
        Link("workload/failures", {label: row[label], "source": "live"}, _LOOKED_BACK),
    )


def _whose(label: str, value: str) -> str:
    return f"to {value}" if label == "model" else f"of tenant {value}"


def _silent_models(watch: Watch) -> dict[str, Reading]:
    """Models whose targets are told of, and whether all of them are silent."""
    targets = telemetry.targets(watch.reader, watch.now)
    grades = {one.target_id: one for one in usable(watch.reader, [WHOLE_TARGET], watch.now)}
    by_model: dict[str, list[Trusted]] = defaultdict(list)
    for target in targets.iter_rows(named=True):
        grade = grades.get(target["target_id"])
        if target["model"] and grade is not None:
            by_model[target["model"]].append(grade)
    return {model: _silent(model, held, watch) for model, held in by_model.items()}


def _silent(model: str, grades: Sequence[Trusted], watch: Watch) -> Reading:
    quiet = [one for one in grades if one.grade == "silent"]
    now = watch.now.replace(tzinfo=None)
    # The last that fell silent says since when nobody answers.
    since = max((one.since or now for one in quiet), default=now)
    seconds = (now - since).total_seconds()
    is_out = len(quiet) == len(grades) and seconds >= watch.limits["silent_seconds"]
    whose = "The only instance" if len(grades) == 1 else f"All {len(grades)} instances"
    verb = "is" if len(grades) == 1 else "are"
    text = (
        f"{whose} of {model} {verb} silent for {seconds_text(seconds)}."
        if len(quiet) == len(grades)
        else f"{len(grades) - len(quiet)} of {len(grades)} instances of {model} answer."
    )
    return Reading({"model": model}, is_out, text, len(quiet) / len(grades), Link("admin"))
