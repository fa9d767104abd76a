"""A small network that answers all steps and levels at once. Trained by torch, asked with numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.demand.windows import STEPS
from predictors.distribution import LEVELS, Floats

Small = npt.NDArray[np.float32]
_LAYERS = 3
_REACH = 6.0
# One target counts for no more than this many scales: a client that starts from nothing may be
# a thousand times above its history.
MOST_CHANGE = 15.0


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How a network is trained.

    Attributes:
        width: of the two hidden layers.
        epochs: passes over the rows.
        batch: rows a step.
        rate: highest learning rate of the one-cycle schedule.
        drop_ratio: dropout.
        weight_decay: of AdamW.
    """

    width: int = 192
    epochs: int = 14
    batch: int = 512
    rate: float = 2e-3
    drop_ratio: float = 0.15
    weight_decay: float = 1e-2


@dataclass(frozen=True, slots=True)
class Network:
    """Weights of a trained network.

    Attributes:
        middle: (f,) of the squeezed features.
        spread: (f,) of the same.
        weights: one (inputs, outputs) matrix a layer.
        biases: one (outputs,) a layer.
    """

    middle: Small
    spread: Small
    weights: tuple[Small, ...]
    biases: tuple[Small, ...]

    def predict(self, table: Small) -> Floats:
        """(n, `STEPS`, levels) changes against the last value, in scales."""
        flow = _squeezed(table, self.middle, self.spread)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            flow = flow @ weight + bias
            if number < _LAYERS - 1:
                flow = flow / (1 + np.exp(-np.clip(flow, -60, 60)))
        shaped = flow.astype(np.float64).reshape(len(table), STEPS, len(LEVELS))
        return np.sort(shaped, axis=2)

    def arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`."""
        made: dict[str, npt.NDArray[Any]] = {
            f"{prefix}.middle": self.middle,
            f"{prefix}.spread": self.spread,
        }
        for number in range(_LAYERS):
            made[f"{prefix}.weight{number}"] = self.weights[number]
            made[f"{prefix}.bias{number}"] = self.biases[number]
        return made

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]], prefix: str) -> Network:
        """What `arrays` gave."""
        return cls(
            *(arrays[f"{prefix}.middle"], arrays[f"{prefix}.spread"]),
            tuple(arrays[f"{prefix}.weight{number}"] for number in range(_LAYERS)),
            tuple(arrays[f"{prefix}.bias{number}"] for number in range(_LAYERS)),
        )


def train(table: Small, changes: Floats, seed: int, settings: NetworkSettings) -> Network:
    """Least mean pinball loss over all levels.

    Args:
        table: (n, f) features.
        changes: (n, `STEPS`) outcomes less the last value, in scales; NaN unknown.
        seed: of weights, order and dropout.
        settings: how long and how wide.
    """
    import torch

    torch.set_num_threads(1)
    squeezed = np.arcsinh(table)
    middle, spread = squeezed.mean(axis=0), squeezed.std(axis=0) + np.float32(1e-3)
    known = np.isfinite(changes)
    inputs = torch.from_numpy(_squeezed(table, middle, spread))
    mask = torch.from_numpy(known.astype(np.float32))
    goal = torch.from_numpy(
        np.clip(np.where(known, changes, 0.0), -MOST_CHANGE, MOST_CHANGE).astype(np.float32)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = _body(table.shape[1], goal, settings)
        _run(body, inputs, goal, mask, settings)
    layers = [part for part in body if hasattr(part, "weight")]
    weights = tuple(part.weight.detach().numpy().T.copy() for part in layers)
    biases = tuple(part.bias.detach().numpy().copy() for part in layers)
    return Network(middle.astype(np.float32), spread.astype(np.float32), weights, biases)


def _squeezed(table: Small, middle: Small, spread: Small) -> Small:
    squeezed = np.clip((np.arcsinh(table) - middle) / spread, -_REACH, _REACH)
    return np.asarray(squeezed, dtype=np.float32)


def _body(inputs: int, goal: Any, settings: NetworkSettings) -> Any:
    import torch
    from torch import nn

    last = nn.Linear(settings.width, STEPS * len(LEVELS))
    with torch.no_grad():
        # It starts from the quantiles of all changes and learns where they differ.
        last.weight.mul_(0.1)
        start = np.quantile(goal.numpy(), LEVELS).astype(np.float32)
        last.bias.copy_(torch.from_numpy(np.tile(start, STEPS)))
    return nn.Sequential(
        nn.Linear(inputs, settings.width),
        nn.SiLU(),
        nn.Dropout(settings.drop_ratio),
        nn.Linear(settings.width, settings.width),
        nn.SiLU(),
        nn.Dropout(settings.drop_ratio),
        last,
    )


def _run(body: Any, inputs: Any, goal: Any, mask: Any, settings: NetworkSettings) -> None:
    import torch

    n = len(inputs)
    steps = settings.epochs * -(-n // settings.batch)
    tuner = torch.optim.AdamW(
        body.parameters(), lr=settings.rate, weight_decay=settings.weight_decay
    )
    pace = torch.optim.lr_scheduler.OneCycleLR(
        tuner, settings.rate, total_steps=steps + 1, pct_start=0.15
    )
    levels = torch.tensor(LEVELS, dtype=torch.float32)
    for _ in range(settings.epochs):
        order = torch.randperm(n)
        for start in range(0, n, settings.batch):
            chosen = order[start : start + settings.batch]
            made = body(inputs[chosen]).view(-1, STEPS, len(LEVELS))
            short = goal[chosen][..., None] - made
            loss = torch.maximum(levels * short, (levels - 1) * short).mean(-1)
            loss = (loss * mask[chosen]).sum() / mask[chosen].sum().clamp(min=1)
            tuner.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(body.parameters(), 1.0)
            tuner.step()
            pace.step()
    body.eval()
