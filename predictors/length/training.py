"""The training of `network` in torch. Only training imports this module."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from predictors.length.bins import COUNT
from predictors.length.network import Examples, Matrix, Recipe, score_weights


class Body(nn.Module):
    """The network of one seed; `network.Network` answers with the same arithmetic."""

    def __init__(self, inputs: int, models: int, routes: int, recipe: Recipe) -> None:
        super().__init__()
        width = recipe.width
        self.models = models
        self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)
        self.norm_first, self.norm_second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.routes = nn.Embedding(routes, width, padding_idx=0)
        self.shared = nn.Linear(width, COUNT, bias=False)
        self.own = nn.Linear(width, models * COUNT, bias=False)
        self.any = nn.Linear(width, COUNT, bias=False)
        self.drop = nn.Dropout(recipe.drop_ratio)
        for layer in (self.shared.weight, self.own.weight, self.any.weight, self.routes.weight):
            nn.init.normal_(layer, 0, 0.003)

    def forward(self, inputs: Tensor, route: Tensor) -> Tensor:
        """(b, models, COUNT) what is added to the prior of each model."""
        start = self.first(self.drop(inputs)) + self.routes(route)
        hidden = self.drop(functional.gelu(self.norm_first(start), approximate="tanh"))
        inner = functional.gelu(self.second(self.norm_second(hidden)), approximate="tanh")
        hidden = hidden + self.drop(inner)
        own = self.own(hidden).view(-1, self.models, COUNT) + self.shared(hidden)[:, None, :]
        # "Any model" learns from the body but does not pull at it: what all models have in common
        # is less than what each of them does.
        anyone = self.any(hidden.detach())[:, None, :]
        return torch.cat([anyone, own[:, 1:]], dim=1)

    def plain(self) -> dict[str, Matrix]:
        """The arrays that `network.Network` stacks."""
        with torch.no_grad():
            heads = self.own.weight.view(self.models, COUNT, -1) + self.shared.weight[None]
            heads[0] = self.any.weight
            norms: list[Tensor] = [
                *(self.norm_first.weight, self.norm_first.bias),
                *(self.norm_second.weight, self.norm_second.bias),
            ]
            routes = self.routes.weight.clone()
            routes[0] = 0
            tensors = {
                "first": self.first.weight.T,
                "first_bias": self.first.bias,
                "routes": routes,
                "norms": torch.stack(norms),
                "second": self.second.weight.T,
                "second_bias": self.second.bias,
                "heads": heads.transpose(1, 2),
            }
        return {name: np.ascontiguousarray(one.detach().numpy()) for name, one in tensors.items()}


def loss_of(logits: Tensor, ended: Tensor, cut: Tensor, recipe: Recipe) -> Tensor:
    """(m,) loss of the log shares `logits` against what was seen, a pair each."""
    logs = functional.log_softmax(logits, dim=1)
    shares = logs.exp()
    entropy = -(ended * logs).sum(dim=1)
    # An answer cut in bin c ended there or later.
    beyond = shares.flip(1).cumsum(1).flip(1).clamp_min(1e-6)
    entropy = entropy - (cut * beyond.log()).sum(dim=1)
    weights = torch.as_tensor(score_weights())
    missed = shares.cumsum(1) - (ended / ended.sum(1, keepdim=True).clamp_min(1e-6)).cumsum(1)
    whole = (cut.sum(dim=1) == 0).float()
    return entropy + recipe.score_weight * whole * (weights * missed**2).sum(dim=1)


def steps_of(prompts: int, recipe: Recipe) -> int:
    """How many steps a network is trained."""
    wanted = recipe.passes * max(prompts // recipe.batch, 1)
    return int(np.clip(wanted, recipe.least_steps, recipe.most_steps))


class Batches:
    """Pairs of random prompts; every prompt once a pass."""

    def __init__(self, examples: Examples, batch: int, random: np.random.Generator) -> None:
        self._prompts, self._first = np.unique(examples.prompt, return_index=True)
        self._last = np.append(self._first[1:], len(examples.prompt))
        self._batch, self._random = batch, random
        self._left = np.zeros(0, np.int64)

    def next(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(pairs, which prompt of the batch each belongs to)."""
        size = min(self._batch, len(self._prompts))
        if len(self._left) < size:
            self._left = self._random.permutation(len(self._prompts))
        chosen, self._left = self._left[:size], self._left[size:]
        parts = [np.arange(self._first[one], self._last[one]) for one in chosen]
        return np.concatenate(parts), np.repeat(np.arange(size), [len(part) for part in parts])


def trained(
    examples: Examples, prior: Matrix, routes: int, recipe: Recipe, seed: int
) -> dict[str, Matrix]:
    """One network, as arrays."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    body = Body(examples.inputs.shape[1], len(prior), routes, recipe)
    steps = steps_of(len(np.unique(examples.prompt)), recipe)
    optimiser = torch.optim.AdamW(body.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, total_steps=steps + 1, pct_start=0.15
    )
    batches = Batches(examples, recipe.batch, random)
    start = torch.as_tensor(prior)
    body.train()
    for _ in range(steps):
        pairs, owner = batches.next()
        loss = _loss(body, examples, pairs, owner, start, recipe, random)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(body.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return body.plain()


def _loss(
    body: Body,
    examples: Examples,
    pairs: npt.NDArray[np.int64],
    owner: npt.NDArray[np.int64],
    prior: Tensor,
    recipe: Recipe,
    random: np.random.Generator,
) -> Tensor:
    first = np.searchsorted(owner, np.arange(owner[-1] + 1))
    prompts = examples.prompt[pairs[first]]
    # A prompt has one route, that of its first pair.
    route = examples.route[pairs[first]].copy()
    route[random.random(len(route)) < recipe.route_drop_ratio] = 0
    out = body(tensor(examples.inputs[prompts]), tensor(route))
    model = tensor(examples.model[pairs])
    at = tensor(owner)
    seen = [tensor(part[pairs]) for part in (examples.ended, examples.cut, examples.weight)]
    loss = loss_of(out[at, model] + prior[model], seen[0], seen[1], recipe)
    every = loss_of(out[at, 0] + prior[0], seen[0], seen[1], recipe)
    total = ((loss + every) * seen[2]).sum() / seen[2].sum()
    return torch.as_tensor(total)


def tensor(array: npt.NDArray[Any]) -> Tensor:
    """A torch view of an array."""
    return torch.as_tensor(np.ascontiguousarray(array))
