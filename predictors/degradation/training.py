"""Learning and asking a network: scaling, metric dropout, the loss, members that are averaged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from predictors.degradation.channels import Inputs
from predictors.degradation.network import build, parameters_of
from predictors.distribution import LEVELS, Floats

FARTHEST = 4.0


@dataclass(frozen=True, slots=True)
class Training:
    """How a network learns.

    Attributes:
        epochs: over all rows.
        members: networks with other seeds whose quantiles are averaged.
        rate: highest learning rate, after a warm-up of a tenth of the steps.
        batch_rows: in one step.
        noise: deviation of what is added to scaled channels, of a row and of a step.
        metric_dropout: how often a whole channel is hidden, so that its absence is nothing new.
        most_rows: above it a random part is learnt from.
    """

    epochs: int = 12
    members: int = 3
    rate: float = 1.5e-3
    batch_rows: int = 128
    noise: float = 0.05
    metric_dropout: float = 0.05
    most_rows: int = 20_000


@dataclass(frozen=True, slots=True)
class Scale:
    """Channels to about one: asinh tames counters, which span decades, and leaves ratios alone.

    Attributes:
        unit: (c,) typical size of a channel.
        middle: (c,) mean after asinh.
        spread: (c,) deviation after asinh.
    """

    unit: Floats
    middle: Floats
    spread: Floats

    @classmethod
    def fit(cls, inputs: Inputs) -> Scale:
        """From what is known of rows to learn from."""
        known = np.where(inputs.steps[:, :, None], inputs.values, np.nan)
        known = known.reshape(-1, known.shape[2])
        there = np.isfinite(known)
        count = np.maximum(there.sum(axis=0), 1)
        unit = np.where(there, np.abs(known), 0.0).sum(axis=0) / count
        unit = np.where(unit > 0, unit, 1.0)
        tamed = np.where(there, np.arcsinh(known / unit), 0.0)
        middle = tamed.sum(axis=0) / count
        spread = np.sqrt((np.where(there, tamed - middle, 0.0) ** 2).sum(axis=0) / count)
        return cls(unit, middle, np.where(spread > 1e-6, spread, 1.0))

    def tensors(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """(n, t, c) scaled with 0 where unknown, (n, t, c) known, (n, t) steps."""
        known = np.isfinite(inputs.values) & inputs.steps[:, :, None]
        tamed = np.arcsinh(np.where(known, inputs.values, 0.0) / self.unit)
        scaled = np.clip((tamed - self.middle) / self.spread, -FARTHEST, FARTHEST)
        scaled = np.where(known, scaled, 0.0).astype(np.float32)
        return torch.from_numpy(scaled), torch.from_numpy(known), torch.from_numpy(inputs.steps)


class Network:
    """Some networks of one method that answer together.

    Args:
        method: a size of the transformer, "lstm" or "tcn".
        training: how they learn.
    """

    def __init__(self, method: str, training: Training | None = None) -> None:
        self._method, self._training = method, training or Training()
        self._members: list[nn.Module] = []
        self._scale: Scale | None = None

    @property
    def parameters(self) -> int:
        """Numbers that one member learns."""
        return parameters_of(self._members[0]) if self._members else 0

    def fit(self, inputs: Inputs, outcomes: Floats, seed: int) -> None:
        """Learn all members, each from its own start and order."""
        chosen = _some(len(inputs), self._training.most_rows, seed)
        inputs, outcomes = inputs.take(chosen), outcomes[chosen]
        self._scale = Scale.fit(inputs)
        tensors = self._scale.tensors(inputs)
        target = torch.from_numpy(outcomes.astype(np.float32))
        self._members = [
            self._member(tensors, target, 1000 * seed + number)
            for number in range(self._training.members)
        ]

    def predict(self, inputs: Inputs) -> Floats:
        """(n, k) quantiles between 0 and 1."""
        values, known, steps = self._fitted().tensors(inputs)
        total = np.zeros((len(inputs), len(LEVELS)))
        with torch.no_grad():
            for member in self._members:
                member.eval()
                for rows in torch.arange(len(inputs)).tensor_split(-(-len(inputs) // 512) or 1):
                    logits = member(values[rows], known[rows], steps[rows])
                    total[rows.numpy()] += torch.sigmoid(logits).numpy()
        return total / max(len(self._members), 1)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`."""
        scale = self._fitted()
        made = {"unit": scale.unit, "middle": scale.middle, "spread": scale.spread}
        for number, member in enumerate(self._members):
            for name, tensor in member.state_dict().items():
                made[f"{number}.{name}"] = tensor.numpy()
        return made

    def restore(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """What `arrays` gave."""
        self._scale = Scale(arrays["unit"], arrays["middle"], arrays["spread"])
        numbers = sorted({int(n.split(".")[0]) for n in arrays if n.split(".")[0].isdigit()})
        self._members = []
        for number in numbers:
            member = build(self._method, len(self._scale.unit), len(LEVELS))
            start = f"{number}."
            state = {
                name.removeprefix(start): torch.from_numpy(np.array(array))
                for name, array in arrays.items()
                if name.startswith(start)
            }
            member.load_state_dict(state)
            self._members.append(member)

    def _fitted(self) -> Scale:
        if self._scale is None:
            raise RuntimeError("asked before it learnt")
        return self._scale

    def _member(
        self, tensors: tuple[Tensor, Tensor, Tensor], target: Tensor, seed: int
    ) -> nn.Module:
        rules = self._training
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            member = build(self._method, tensors[0].shape[2], len(LEVELS))
            best = torch.optim.AdamW(member.parameters(), lr=rules.rate, weight_decay=1e-2)
            batches = math.ceil(len(target) / rules.batch_rows)
            course = torch.optim.lr_scheduler.LambdaLR(best, _course(rules.epochs * batches))
            member.train()
            for _ in range(rules.epochs):
                for rows in torch.randperm(len(target)).tensor_split(batches):
                    seen = self._disturbed(*(tensor[rows] for tensor in tensors))
                    best.zero_grad()
                    loss(member(*seen), target[rows]).backward()  # type: ignore[no-untyped-call]
                    nn.utils.clip_grad_norm_(member.parameters(), 1.0)
                    best.step()
                    course.step()
        return member

    def _disturbed(
        self, values: Tensor, known: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, _, channels = values.shape
        kept = torch.rand(rows, 1, channels) >= self._training.metric_dropout  # (n, 1, c)
        offset = torch.randn(rows, 1, channels) + torch.randn_like(values)  # (n, t, c)
        known = known & kept  # (n, t, c)
        return (values + self._training.noise * offset) * known, known, steps


def loss(logits: Tensor, target: Tensor) -> Tensor:
    """Pinball over all levels, plus log-cosh of the median as in the paper.

    Args:
        logits: (n, k) rising.
        target: (n,) between 0 and 1.
    """
    levels = torch.tensor(LEVELS)  # (k,)
    quantiles = torch.sigmoid(logits)  # (n, k)
    short = target[:, None] - quantiles  # (n, k)
    pinball = torch.maximum(levels * short, (levels - 1) * short).mean()
    apart = 10 * (quantiles[:, LEVELS.index(0.5)] - target)  # (n,)
    # log cosh without overflow
    smooth = (apart + nn.functional.softplus(-2 * apart) - math.log(2)).mean() / 10
    return 2 * pinball + 0.2 * smooth


def _course(steps: int) -> Any:
    """Warm-up over a tenth, then a half cosine down to nothing."""

    def factor(step: int) -> float:
        warm = (step + 1) / max(0.1 * steps, 1)
        return min(1.0, warm) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(steps, 1))))

    return factor


def _some(rows: int, most: int, seed: int) -> npt.NDArray[np.int64]:
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
