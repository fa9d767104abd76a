"""Weights of the learned policy: a file of plain JSON, answered by numpy alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from controller.numbers import Floats
from controller.policies.learned_features import CYCLIC, FEATURES
from store.errors import ControllerError

FORMAT, VERSION, SHIPPED = "servescope-hindsight", 1, "hindsight.json"
# Of the range of a feature, beyond what was learnt from.
SLACK = 0.05
SAFE_BELOW = ("log_startup",)
_MOST_BYTES, _MOST_LAYERS, _MOST_WIDTH = 5_000_000, 8, 512


@dataclass(frozen=True, slots=True)
class Network:
    """Quantiles of the logarithm of a ratio.

    Attributes:
        levels: rising, of the answer.
        mean: (f,) of each feature.
        scale: (f,) of each feature.
        low: (f,) lowest that was learnt from.
        high: (f,) highest that was learnt from.
        layers: (weights (in, out), bias (out,)) each.
        gate: record of its back-test; None where there is none.
        digest: SHA-256 of the file.
    """

    levels: tuple[float, ...]
    mean: Floats
    scale: Floats
    low: Floats
    high: Floats
    layers: tuple[tuple[Floats, Floats], ...]
    gate: Mapping[str, Any] | None
    digest: str

    def quantiles(self, row: Floats) -> Floats:
        """(levels,), rising: the first, and what each next adds; at the edge of what it learnt."""
        values = (np.clip(row, self.low, self.high) - self.mean) / self.scale
        for weight, bias in self.layers[:-1]:
            values = np.tanh(values @ weight + bias)
        weight, bias = self.layers[-1]
        raw = values @ weight + bias
        steps = np.logaddexp(0.0, raw[1:])
        return np.asarray(raw[0] + np.concatenate([[0.0], np.cumsum(steps)]), dtype=np.float64)

    def outside(self, row: Floats) -> str:
        """The first feature beyond what was learnt from, with its range; "" where none is."""
        slack = SLACK * (self.high - self.low) + 1e-9
        for at, name in enumerate(FEATURES):
            if name in CYCLIC:
                continue
            # A start that is shorter than any that was learnt is answered as the shortest.
            is_above = name in SAFE_BELOW or self.low[at] - slack[at] <= row[at]
            if not (is_above and row[at] <= self.high[at] + slack[at]):
                learnt = f"{self.low[at]:.2f} to {self.high[at]:.2f}"
                return f"{name} is {row[at]:.2f}, learnt were {learnt}"
        return ""


def read_network(told: Mapping[str, Any], where: str, digest: str = "") -> Network:
    """Of what the training wrote.

    Raises:
        ControllerError: it is something else, or of another version.
    """
    try:
        vectors = [np.asarray(told[name], np.float64) for name in ("mean", "scale", "low", "high")]
        layers = tuple(
            (np.asarray(one["weight"], np.float64), np.asarray(one["bias"], np.float64))
            for one in told["layers"]
        )
        levels = tuple(float(level) for level in told["levels"])
        made = (told["format"], told["version"], tuple(told["features"]))
        gate = told.get("gate")
    except (KeyError, TypeError, ValueError) as error:
        raise ControllerError(
            f"{where} holds no weights of a learned policy: {error}",
            hint="train them: python -m benchmarks.learned_policy --out FILE",
        ) from error
    if made != (FORMAT, VERSION, FEATURES):
        raise ControllerError(
            f"{where} holds weights of {made[0]} {made[1]}, or of other features",
            hint=f"this version reads {FORMAT} {VERSION}: train them again",
        )
    _check_shapes(vectors, layers, levels, where)
    mean, scale, low, high = vectors
    return Network(levels, mean, scale, low, high, layers, gate, digest)


def _check_shapes(
    vectors: Sequence[Floats],
    layers: Sequence[tuple[Floats, Floats]],
    levels: Sequence[float],
    where: str,
) -> None:
    width, is_whole = len(FEATURES), 1 <= len(layers) <= _MOST_LAYERS
    is_whole &= all(vector.shape == (width,) for vector in vectors)
    for weight, bias in layers:
        is_whole &= weight.ndim == 2 and weight.shape[0] == width and bias.shape == weight.shape[1:]
        width = weight.shape[-1]
        is_whole &= width <= _MOST_WIDTH
    is_whole &= width == len(levels) >= 2 and list(levels) == sorted(set(levels))
    arrays = [*vectors, *(array for layer in layers for array in layer)]
    is_whole &= all(bool(np.isfinite(array).all()) for array in arrays)
    if not is_whole or not bool((vectors[1] > 0).all()):
        raise ControllerError(f"{where} holds weights of another shape")


def load_network(path: str = "") -> Network:
    """A file of weights; without a path those that come with servescope.

    Raises:
        ControllerError: it cannot be read.
    """
    source = Path(path) if path else resources.files("controller.policies") / "weights" / SHIPPED
    where = path or f"the shipped {SHIPPED}"
    try:
        raw = source.read_bytes()
        if len(raw) > _MOST_BYTES:
            raise ControllerError(f"{where} has {len(raw):,} bytes; {_MOST_BYTES:,} are the most")
        told = json.loads(raw)
    except (OSError, ValueError) as error:
        raise ControllerError(
            f"{where} cannot be read: {error}", hint="give weights=FILE of a training"
        ) from error
    if not isinstance(told, Mapping):
        raise ControllerError(f"{where} holds no weights of a learned policy")
    return read_network(told, where, hashlib.sha256(raw).hexdigest())
