"""Attention over indicators, as in HARMONY: one token for each indicator, its last windows.

Tokens of one layer see each other, so that load can tell of network and memory of load. The head
answers with a sample of the next value of every indicator, trained on all its levels at once.

Sources: Liu et al. (2024), iTransformer (tokens are series); Luo et al. (2024), HARMONY,
arXiv 2408.01000 (indicators of a container, next 10 minutes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from predictors.demand.pool import SAMPLES, Places
from predictors.distribution import Floats


@dataclass(frozen=True, slots=True)
class AttentionSettings:
    """Shape and training.

    Attributes:
        look_back: windows a token holds.
        width: of a token.
        heads: of the attention.
        layers: of the encoder.
        epochs: passes over the windows to learn from.
        batch: windows a step.
        rate: highest learning rate of the one-cycle schedule.
        drop_ratio: dropout.
        seed: of everything random.
    """

    look_back: int = 72
    width: int = 48
    heads: int = 4
    layers: int = 2
    epochs: int = 12
    batch: int = 128
    rate: float = 2e-3
    drop_ratio: float = 0.2
    seed: int = 0


def attended(
    table: Floats, learn_until: int, places: Places, settings: AttentionSettings
) -> Floats:
    """(n, k, `SAMPLES`) equally likely values of every indicator in each asked window.

    Args:
        table: (t, k) all indicators on one grid, no gaps, of comparable size.
        learn_until: learns from the windows before this one; must leave `look_back` of them.
        places: (n,) numbers of the asked windows, each at least `look_back`.
        settings: shape and training.
    """
    import torch

    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = _model(table.shape[1], settings)
        _train(model, table, np.arange(settings.look_back, learn_until), settings)
    model.eval()
    made = []
    with torch.no_grad():
        for start in range(0, len(places), 512):
            tokens, middle, spread = _tokens(table, places[start : start + 512], settings)
            said = model(torch.from_numpy(tokens)).numpy()
            made.append(np.sort(middle[..., None] + spread[..., None] * said, axis=2))
    return np.concatenate(made).astype(np.float64)


def _tokens(table: Floats, places: Places, settings: AttentionSettings) -> tuple[Any, Any, Any]:
    """Last windows of each indicator, less their mean and over their spread; (n, k, look_back)."""
    back = places[:, None] - settings.look_back + np.arange(settings.look_back)
    raw = table[back].transpose(0, 2, 1).astype(np.float32)
    middle = raw.mean(axis=2)
    spread = raw.std(axis=2) + np.float32(1e-3)
    tokens = np.clip((raw - middle[..., None]) / spread[..., None], -10, 10)
    return tokens.astype(np.float32), middle, spread


def _model(indicators: int, settings: AttentionSettings) -> Any:
    import torch
    from torch import nn

    class _Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = nn.Linear(settings.look_back, settings.width)
            self.who = nn.Parameter(0.02 * torch.randn(indicators, settings.width))
            layer = nn.TransformerEncoderLayer(
                *(settings.width, settings.heads, 2 * settings.width, settings.drop_ratio),
                batch_first=True,
                norm_first=True,
            )
            self.encoder = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
            self.head = nn.Linear(settings.width, SAMPLES)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.encoder(self.inside(tokens) + self.who))

    return _Attention()


def _train(model: Any, table: Floats, places: Places, settings: AttentionSettings) -> None:
    import torch

    levels = torch.tensor((np.arange(SAMPLES) + 0.5) / SAMPLES, dtype=torch.float32)
    steps = settings.epochs * -(-len(places) // settings.batch)
    tuner = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=1e-2)
    pace = torch.optim.lr_scheduler.OneCycleLR(tuner, settings.rate, total_steps=steps + 1)
    for _ in range(settings.epochs):
        order = torch.randperm(len(places)).numpy()
        for start in range(0, len(places), settings.batch):
            chosen = places[order[start : start + settings.batch]]
            tokens, middle, spread = _tokens(table, chosen, settings)
            goal = np.clip((table[chosen] - middle) / spread, -10, 10).astype(np.float32)
            short = torch.from_numpy(goal)[..., None] - model(torch.from_numpy(tokens))
            # Losses are weighed by the spread, so that they count in the unit of the table.
            loss = torch.maximum(levels * short, (levels - 1) * short).mean(-1)
            loss = (loss * torch.from_numpy(spread)).mean()
            tuner.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            tuner.step()
            pace.step()
