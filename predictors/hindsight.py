"""Training of the learned policy: quantiles of what hindsight needed, by a small network.

Rows are features of what was seen and, as `label`, the logarithm of what the future needed over
what was there. The loss is the pinball loss of each level, so a high level pays more for too little
than for too much. The result is plain JSON: whoever answers needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from predictors.distribution import Floats
from store.errors import PredictorError

FORMAT, VERSION, LABEL, AT = "servescope-hindsight", 1, "label", "at"
LEAST_ROWS, MOST_ROWS = 200, 1_000_000
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Settings:
    """How it is trained.

    Attributes:
        levels: quantiles, rising.
        widths: of the hidden layers.
        epochs: passes over the rows.
        batch: rows of a step.
        learning_rate: of Adam, falling to a hundredth.
        weight_decay: of Adam.
        judged_share: of the rows, the last ones of each course, that are not learnt from.
        seed: of everything random.
    """

    levels: tuple[float, ...] = (0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.995)
    widths: tuple[int, ...] = (32, 32)
    epochs: int = 40
    batch: int = 512
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    judged_share: float = 0.2
    seed: int = 0


def fit(
    rows: pl.DataFrame, features: Sequence[str], settings: Settings | None = None
) -> dict[str, Any]:
    """Weights as JSON holds them, with what they were judged by.

    Args:
        rows: `features`, `LABEL`, and `course`: which replay a row is of; in the order of time.
        features: columns.
        settings: how.

    Returns:
        "format", "version", "features", "levels", "mean", "scale", "low", "high", "layers",
        "trained" (rows, loss on rows not learnt from, loss of the label's own quantiles there),
        "gate": None.

    Raises:
        PredictorError: a column is missing, a value is not finite, or there are too few rows.
    """
    how = settings or Settings()
    values, labels, courses = _checked(rows, features, how)
    judged = _last_of_each(courses, how.judged_share)
    learnt, target = values[~judged], labels[~judged]
    mean, scale = learnt.mean(axis=0), np.maximum(learnt.std(axis=0), 1e-3)
    layers = _trained((learnt - mean) / scale, target, how)
    made: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "features": list(features),
        "levels": list(how.levels),
        "mean": _short(mean),
        "scale": _short(scale),
        "low": _short(values.min(axis=0)),
        "high": _short(values.max(axis=0)),
        "layers": [{"weight": _short(w), "bias": _short(b)} for w, b in layers],
        "gate": None,
    }
    answers = quantiles(made, values[judged])
    usual = np.quantile(target, how.levels)
    made["trained"] = {
        "rows": int((~judged).sum()),
        "judged_rows": int(judged.sum()),
        "loss": _loss(answers, labels[judged], how.levels),
        "usual_loss": _loss(usual[None, :], labels[judged], how.levels),
        "covered": [float(share) for share in (labels[judged, None] <= answers).mean(axis=0)],
        "seed": how.seed,
    }
    return made


def quantiles(weights: dict[str, Any], values: Floats) -> Floats:
    """(n, levels) answers of weights to (n, features) rows, in numpy."""
    hidden = (values - np.asarray(weights["mean"])) / np.asarray(weights["scale"])
    *inner, last = weights["layers"]
    for layer in inner:
        hidden = np.tanh(hidden @ np.asarray(layer["weight"]) + np.asarray(layer["bias"]))
    raw = hidden @ np.asarray(last["weight"]) + np.asarray(last["bias"])
    steps = np.cumsum(np.logaddexp(0.0, raw[:, 1:]), axis=1)
    return np.asarray(raw[:, :1] + np.concatenate([0 * raw[:, :1], steps], axis=1), np.float64)


def _checked(
    rows: pl.DataFrame, features: Sequence[str], how: Settings
) -> tuple[Floats, Floats, np.ndarray]:
    absent = [name for name in (*features, LABEL, "course") if name not in rows.columns]
    if absent:
        raise PredictorError(f"hindsight needs the column {absent[0]}")
    if not LEAST_ROWS <= rows.height <= MOST_ROWS:
        raise PredictorError(
            f"hindsight cannot learn from {rows.height:,} rows",
            hint=f"give {LEAST_ROWS:,} to {MOST_ROWS:,}: more traces, or longer ones",
        )
    if list(how.levels) != sorted(set(how.levels)) or not 0 < how.levels[0] < how.levels[-1] < 1:
        raise PredictorError(f"levels must rise inside (0, 1), not {how.levels}")
    values = rows.select(features).to_numpy().astype(np.float64)
    labels = rows[LABEL].to_numpy().astype(np.float64)
    if not (np.isfinite(values).all() and np.isfinite(labels).all()):
        raise PredictorError("a row to learn from holds what is no finite number")
    return values, labels, rows["course"].to_numpy()


def _last_of_each(courses: np.ndarray, share: float) -> np.ndarray:
    """Which rows are judged: neighbours in time are no independent evidence."""
    judged = np.zeros(len(courses), dtype=bool)
    for course in np.unique(courses):
        mine = np.flatnonzero(courses == course)
        judged[mine[len(mine) - int(len(mine) * share) :]] = True
    return judged


def _trained(values: Floats, labels: Floats, how: Settings) -> list[tuple[Floats, Floats]]:
    import torch

    torch.manual_seed(how.seed)
    sizes = [values.shape[1], *how.widths, len(how.levels)]
    linear = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
    parts: list[torch.nn.Module] = []
    for layer in linear[:-1]:
        parts += [layer, torch.nn.Tanh()]
    model = torch.nn.Sequential(*parts, linear[-1])
    x = torch.tensor(values, dtype=torch.float32)
    y = torch.tensor(labels, dtype=torch.float32)
    levels = torch.tensor(how.levels, dtype=torch.float32)
    steps = max(how.epochs * -(-len(x) // how.batch), 1)
    adam = torch.optim.AdamW(
        model.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay
    )
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, how.learning_rate / 100)
    random = np.random.default_rng(how.seed)
    for _ in range(how.epochs):
        order = torch.from_numpy(random.permutation(len(x)))
        for chosen in torch.split(order, how.batch):
            raw = model(x[chosen])  # (n, levels)
            added = torch.nn.functional.softplus(raw[:, 1:]).cumsum(dim=1)
            answers = raw[:, :1] + torch.cat([torch.zeros_like(raw[:, :1]), added], dim=1)
            miss = y[chosen, None] - answers
            loss = torch.maximum(levels * miss, (levels - 1) * miss).mean()
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            slower.step()
    return [
        (
            layer.weight.detach().numpy().T.astype(np.float64),
            layer.bias.detach().numpy().astype(np.float64),
        )
        for layer in linear
    ]


def _loss(answers: Floats, labels: Floats, levels: Sequence[float]) -> float:
    """Mean pinball loss over rows and levels; NaN of no rows."""
    if not len(labels):
        return float("nan")
    miss = labels[:, None] - answers
    wanted = np.asarray(levels)
    return float(np.maximum(wanted * miss, (wanted - 1) * miss).mean())


def _short(values: Floats) -> Any:
    """Six digits: smaller to keep, and what is kept is what is judged."""
    return np.vectorize(lambda one: float(f"{one:.{_DIGITS}g}"), otypes=[np.float64])(
        values
    ).tolist()
