"""Do requests look as they did when the models learnt? The distance of two distributions."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from analysis.measure import Empty, Measure, View
from store import models
from store.queries import inputs as queries
from store.queries import predictions
from store.queries.scope import Scope
from store.reader import Reader

# Usual reading of a population stability index (Siddiqi 2006, Credit Risk Scorecards).
MOVED_FROM, OTHER_FROM = 0.1, 0.25
LEAST_REQUESTS = 100
LEARNT_FROM = timedelta(days=7)
_SMOOTHING = 0.5
SCHEMA = {
    "feature": pl.String(), "distance": pl.Float64(), "by_chance": pl.Float64(),
    "verdict": pl.String(), "requests_now": pl.Int64(), "requests_then": pl.Int64(),
    "then_until": pl.Datetime("us"),
}  # fmt: skip


_NOBODY = (
    "Nothing was predicted here, so there is nothing that requests could have moved away from."
)
_MOVED = ("moved", "another")


def predictors_inputs(reader: Reader, scope: Scope) -> View:
    """How far requests are from those that the models learnt from.

    Measures: moved (features whose distribution is another or on its way). Frame: `inputs`, see
    `inputs`; not where nothing was predicted, for it counts a week of requests.
    """
    if not predictions.one_in(reader, scope):
        unknown = {"moved": Measure(None, "", why="nothing was predicted in this range")}
        frames = {"inputs": pl.DataFrame(schema=SCHEMA)}
        empty = Empty("metric_absent", _NOBODY)
        return View("predictors_inputs", scope, unknown, frames, (), empty)
    found = inputs(reader, scope)
    moved = found["verdict"].is_in(_MOVED).sum()
    return View(
        "predictors_inputs", scope, {"moved": Measure(float(moved), "")}, {"inputs": found}, ()
    )


def inputs(reader: Reader, scope: Scope) -> pl.DataFrame:
    """One row a feature: how far its distribution lies from the week that was learnt from.

    Distance is the population stability index, sum of (p - q) ln(p / q) over bins (octaves of
    lengths, labels as they are), with half a request added to each. `by_chance` is what two
    samples of one distribution differ by on average: (bins - 1) (1 / n + 1 / m). The week ends
    where the newest champion's data ends; without a champion, and in the time of traces, where the
    range begins.
    """
    listed = models.listed(reader).filter("is_champion")
    newest = listed["data_until"].max() if scope.is_live else None
    until = newest if newest is not None else scope.start.replace(tzinfo=None)
    found = queries.counts(reader, scope, until - LEARNT_FROM, until)  # type: ignore[operator,arg-type]
    rows = [
        _row(str(feature), part) | {"then_until": until}
        for (feature,), part in found.group_by("feature", maintain_order=True)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _row(feature: str, part: pl.DataFrame) -> dict[str, object]:
    now, before = (part[name].to_numpy().astype(float) for name in ("now", "before"))
    n, m = int(now.sum()), int(before.sum())
    told: dict[str, object] = {"feature": feature, "requests_now": n, "requests_then": m}
    if min(n, m) < LEAST_REQUESTS:
        return told | {"distance": None, "by_chance": None, "verdict": "too few requests"}
    p, q = (side + _SMOOTHING for side in (now, before))
    p, q = p / p.sum(), q / q.sum()
    distance = float(((p - q) * np.log(p / q)).sum())
    chance = (len(p) - 1) * (1 / n + 1 / m)
    return told | {"distance": distance, "by_chance": chance, "verdict": _verdict(distance, chance)}


def _verdict(distance: float, chance: float) -> str:
    if distance < max(MOVED_FROM, 2 * chance):
        return "as before"
    return "another" if distance >= OTHER_FROM else "moved"
