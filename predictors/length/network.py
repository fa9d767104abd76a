"""A small network from features to shares of length bins: trained by torch, answered by numpy.

All models of a fleet share the body; each has its own last layer, because what makes one model
talkative leaves another cold. Row 0 of these is "any model", for one never seen. Several networks
that differ by their seed are averaged. The loss is cross-entropy plus the ranked probability score
in (softened) tokens; an answer that was cut at c counts as P(length >= c).

Sources: Gneiting, Raftery (2007), Strictly Proper Scoring Rules; several samples of one prompt as
one soft label: ProD (2026), arXiv 2604.07931.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats
from predictors.length.bins import COUNT, EDGES

Matrix = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How networks are trained.

    Attributes:
        networks: averaged; each costs as much again to train and to ask.
        width: of the hidden layers.
        passes: over all prompts.
        batch: prompts a step.
        least_steps: with few prompts there are more passes, up to this many steps.
        most_steps: with many prompts there are fewer passes.
        rate: highest learning rate.
        decay: of the weights.
        drop_ratio: of inputs and hidden values set to 0 in training.
        route_drop_ratio: of rows whose route is hidden in training, so that new routes are met.
        score_weight: of the ranked probability score beside the cross-entropy.
    """

    networks: int = 4
    width: int = 128
    passes: int = 20
    batch: int = 128
    least_steps: int = 150
    most_steps: int = 6000
    rate: float = 3e-3
    decay: float = 1e-2
    drop_ratio: float = 0.45
    route_drop_ratio: float = 0.3
    score_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Examples:
    """What a network learns from: m pairs of a prompt and who answered it.

    Attributes:
        inputs: (p, d) features of the prompts, spread by about 1.
        prompt: (m,) which prompt, rising.
        model: (m,) 1 and up; 0 is "any".
        route: (m,) 1 and up; 0 is unknown.
        ended: (m, COUNT) share of the bins among answers that ended; rows sum to 1 with `cut`.
        cut: (m, COUNT) share of the bins in which answers were cut.
        weight: (m,) of the pair.
    """

    inputs: Matrix
    prompt: Ints
    model: Ints
    route: Ints
    ended: Matrix
    cut: Matrix
    weight: Matrix


@dataclass(frozen=True, slots=True)
class Network:
    """Trained networks, s of them, as plain arrays.

    Attributes:
        first: (s, d, h) and `first_bias` (s, h) of the first layer.
        first_bias: see `first`.
        routes: (s, r, h) added to the first layer; row 0 is 0.
        norms: (s, 4, h): gain and bias of the two normalisations.
        second: (s, h, h) of the second layer, which is added to the first.
        second_bias: (s, h).
        heads: (s, m, h, COUNT) of each model; row 0 is "any".
        prior: (m, COUNT) log shares of each model before anything is known of a prompt.
    """

    first: Matrix
    first_bias: Matrix
    routes: Matrix
    norms: Matrix
    second: Matrix
    second_bias: Matrix
    heads: Matrix
    prior: Matrix

    def shares(self, inputs: Matrix, model: Ints, route: Ints) -> Floats:
        """(n, COUNT) mean share of each bin over the networks."""
        norms = self.norms[:, :, None, :]  # (s, 4, 1, h)
        start = inputs @ self.first + self.first_bias[:, None] + self.routes[:, route]  # (s, n, h)
        hidden = _gelu(_normal(start, norms[:, 0], norms[:, 1]))
        inner = _normal(hidden, norms[:, 2], norms[:, 3]) @ self.second
        hidden = hidden + _gelu(inner + self.second_bias[:, None])
        logits = np.broadcast_to(self.prior[model], (*hidden.shape[:2], COUNT)).copy()
        for one in np.unique(model):
            rows = model == one
            logits[:, rows] += hidden[:, rows] @ self.heads[:, one]
        logits = np.exp(logits - logits.max(axis=2, keepdims=True))
        shares = logits / logits.sum(axis=2, keepdims=True)
        return np.asarray(shares.mean(axis=0), dtype=np.float64)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`."""
        return {f"network.{name}": getattr(self, name) for name in _NAMES}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Network:
        """What `arrays` gave."""
        return cls(**{name: arrays[f"network.{name}"] for name in _NAMES})


_NAMES = tuple(Network.__dataclass_fields__)


def _gelu(x: Matrix) -> Matrix:
    curve: Matrix = np.tanh(0.7978845608 * (x + 0.044715 * x * x * x))
    return np.asarray(0.5 * x * (1 + curve), dtype=np.float32)


def _normal(x: Matrix, gain: Matrix, bias: Matrix) -> Matrix:
    middle = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((middle * middle).mean(axis=-1, keepdims=True) + 1e-5)
    return np.asarray(middle / spread * gain + bias, dtype=np.float32)


def priors(examples: Examples, models: int) -> Matrix:
    """(models, COUNT) log shares of each model, leaning on those of all while it has few rows."""
    mass = (examples.ended + examples.cut) * examples.weight[:, None]
    everyone = mass.sum(axis=0) / max(float(mass.sum()), 1e-9)
    own = np.zeros((models, COUNT))
    np.add.at(own, examples.model, mass)
    shares = (own + 20 * everyone) / (own.sum(axis=1, keepdims=True) + 20)
    return np.asarray(np.log(shares + 1e-4), dtype=np.float32)


def score_weights() -> Matrix:
    """(COUNT,) of the bins in the ranked probability score.

    A bin counts by its width over the root of its place: half-way between errors in tokens, which
    a few long answers would rule, and errors in ratios.
    """
    edges = np.minimum(EDGES, 6144.0)
    weights = np.diff(edges) / np.sqrt(edges[:-1] + 5)
    return np.asarray(10 * weights / weights.sum(), dtype=np.float32)


def train(examples: Examples, models: int, routes: int, recipe: Recipe, seed: int) -> Network:
    """Networks of these examples.

    Args:
        examples: at least one.
        models: how many, "any" included.
        routes: how many, the unknown one included.
        recipe: how.
        seed: of everything random.
    """
    import torch

    from predictors.length.training import trained

    prior = priors(examples, models)
    threads = torch.get_num_threads()
    # One thread: the same sums in the same order on every machine.
    torch.set_num_threads(1)
    try:
        found = [
            trained(examples, prior, routes, recipe, seed * 1000 + number)
            for number in range(recipe.networks)
        ]
    finally:
        torch.set_num_threads(threads)
    stacked = {name: np.stack([one[name] for one in found]) for name in found[0]}
    return Network(**stacked, prior=prior)
