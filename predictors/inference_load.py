"""Inference of a small transformer as a load: one of the laboratory's programs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

_WIDTH, _HEADS, _LAYERS, _SHORTEST = 128, 4, 2, 16


def pieces(seed: int, count: int) -> list[Callable[[], Any]]:
    """Forward passes over sequences of growing length, on one thread.

    Args:
        seed: of weights and inputs.
        count: how many.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    layer = torch.nn.TransformerEncoderLayer(_WIDTH, _HEADS, 4 * _WIDTH, batch_first=True)
    # The fast path would need a hint about nesting, and warns about it.
    model = torch.nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False).eval()
    inputs = [torch.randn(4, _SHORTEST * (1 + number), _WIDTH) for number in range(count)]

    def forward(given: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            answer: torch.Tensor = model(given)
        return answer

    return [partial(forward, given) for given in inputs]
