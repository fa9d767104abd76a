"""What a back-test tells: one cell a number, every rival on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

import polars as pl

from predictors.scoring import Scores

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a back-test.

    Attributes:
        predictor: "length", "cold_start", "degradation", "demand" or "latency".
        case: the data and the split, like "castillo, unseen prompts".
        method: whose number it is: ours, or the name of a rival or of a noise floor.
        metric: with its unit where it has one, like "mae_tokens".
        value: NaN when it could not be known.
        n: rows judged.
        seed: of everything random.
        target: what ours should reach; None where nothing is asked.
        sense: whether lower, higher, or nearer to the target is better.
        tolerance: for "near": how far from the target is still good.
        is_rival: whether the method is a naive rival, a baseline or a floor, not ours.
        seconds: processor time of fitting and answering.
    """

    predictor: str
    case: str
    method: str
    metric: str
    value: float
    n: int
    seed: int = 0
    target: float | None = None
    sense: Literal["lower", "higher", "near"] = "lower"
    tolerance: float = 0.0
    is_rival: bool = False
    seconds: float = math.nan

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None where nothing is asked."""
        if self.target is None:
            return None
        if self.sense == "near":
            return abs(self.value - self.target) <= self.tolerance + 1e-12
        return self.value <= self.target if self.sense == "lower" else self.value >= self.target


class Backtest(Protocol):
    """Judges one predictor and all its rivals on the data of a folder."""

    def __call__(self, data: Path, seed: int, quick: bool, told: Told) -> Iterator[Cell]:
        """Cells as they are done; a missing data set is told and left out."""
        ...


def cells_of(
    scores: Scores, base: Cell, metrics: Iterable[str], targets: dict[str, float] | None = None
) -> Iterator[Cell]:
    """One cell for each metric of `scores` that is asked for.

    Args:
        scores: of one method on one case.
        base: its predictor, case, method, seed, is_rival and seconds are taken over.
        metrics: attributes of `Scores`; coverage is judged by nearness to its target within 0.02.
        targets: by metric; only for our own method.
    """
    for metric in metrics:
        near = metric.startswith("coverage")
        higher = metric == "kendall_tau"
        kept = {**asdict(base), "metric": metric, "value": getattr(scores, metric), "n": scores.n}
        kept["target"] = (targets or {}).get(metric)
        kept["sense"] = "near" if near else "higher" if higher else "lower"
        kept["tolerance"] = 0.02 if near else 0.0
        yield Cell(**kept)


def table(cells: Iterable[Cell]) -> pl.DataFrame:
    """The cells as a frame, with `is_met`; an unknown value is null."""
    rows = [{**asdict(cell), "is_met": cell.is_met} for cell in cells]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(pl.col("value", "seconds").fill_nan(None)) if rows else frame
