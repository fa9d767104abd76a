"""What an engine is likely to do before it was seen: from the card and the size of the model.

A step reads all weights once, a prompt token costs two operations a weight, a cached token is read
once a step. The share of the card's operations that prompts reach was measured on Llama-2-70B and
BLOOM-176B on A100 and H100 (splitwise-sim, MIT: 0.56, half of the points within 11 %). What a step
costs besides was 26 ms there, 17 ms with OPT-13B on an older vLLM (DistServe, Apache-2.0) and is a
few milliseconds in present engines: the middle is taken, and the share of the bandwidth is an
assumption. An unknown card or model gets what is usual.
"""

from __future__ import annotations

import re

import numpy as np

from predictors.distribution import Floats

# Of one card: memory bandwidth in bytes/s, dense 16-bit operations/s. From the makers' sheets.
CARDS: dict[str, tuple[float, float]] = {
    "a10": (0.6e12, 125e12),
    "a100": (2.0e12, 312e12),
    "h100": (3.35e12, 990e12),
    "h200": (4.8e12, 990e12),
    "b200": (8.0e12, 2250e12),
    "b300": (8.0e12, 2250e12),
    "gb200": (8.0e12, 2500e12),
    "gb300": (8.0e12, 2500e12),
    "l4": (0.3e12, 121e12),
    "l40": (0.864e12, 181e12),
    "l40s": (0.864e12, 362e12),
    "t4": (0.32e12, 65e12),
    "v100": (0.9e12, 125e12),
    "mi300x": (5.3e12, 1300e12),
    "rtx4090": (1.0e12, 165e12),
    "rtxpro6000": (1.8e12, 500e12),
}
# Shares of the peak, and what a step costs besides (scheduler, kernels, sampling).
BANDWIDTH_SHARE, COMPUTE_SHARE = 0.7, 0.56
STEP_FLOOR_SECONDS = 0.01
# Budgets by default: the token limit of a step of engines in their present releases.
BUDGETS = {"vllm": 2048.0, "sglang": 8192.0, "tgi": 4096.0, "trtllm": 8192.0, "llama.cpp": 512.0}
# Of nothing known: overhead, base, per sequence, per prompt token, per cached token, budget.
USUAL = np.log([0.02, 0.01, 3e-4, 5e-5, 5e-8, 2048.0])
_BYTES_A_WEIGHT = 2.0


def prior_of(model: str, engine: str, gpu_type: str) -> Floats:
    """(6,) logs of `engine.NAMES`; unknown names leave what is usual.

    Args:
        model: a name that holds its size, like "meta-llama/Llama-3.1-8B".
        engine: like "vllm".
        gpu_type: like "NVIDIA H100 80GB HBM3", "h100" or, of several together, "8x h100".
    """
    logs = USUAL.copy()
    budget = BUDGETS.get(engine.lower().replace("-", "").replace("_", ""))
    logs[5] = logs[5] if budget is None else np.log(budget)
    card, weights = card_of(gpu_type), weights_of(model)
    if card is None or weights is None:
        return logs
    bandwidth, compute = card
    base = STEP_FLOOR_SECONDS + weights * _BYTES_A_WEIGHT / (bandwidth * BANDWIDTH_SHARE)
    per_prefill = 2 * weights / (compute * COMPUTE_SHARE)
    # Keys and values of a token: about as many bytes as the root of the weights says, by models
    # from 1B (32 KiB) to 70B (320 KiB).
    per_context = 32_768 * np.sqrt(weights / 1e9) / (bandwidth * BANDWIDTH_SHARE)
    logs[1], logs[3], logs[4] = np.log([base, per_prefill, per_context])
    return logs


def card_of(gpu_type: str) -> tuple[float, float] | None:
    """(bytes/s, operations/s) of cards by any of their names; None when they are not known."""
    plain = re.sub(r"[^a-z0-9]", "", gpu_type.lower())
    # "gb200" holds "b200", "a100" holds "a10": the longest name that fits is meant.
    found = [name for name in CARDS if name in plain]
    if not found:
        return None
    told = re.match(r"\s*(\d+)\s*x", gpu_type.lower())
    count = max(int(told.group(1)), 1) if told else 1
    bandwidth, compute = CARDS[max(found, key=len)]
    return bandwidth * count, compute * count


def weights_of(model: str) -> float | None:
    """Weights that its name tells, like 8e9 of "Llama-3.1-8B"; of "8x7B" all that are read."""
    found = re.findall(r"(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z0-9])", model.lower())
    if not found:
        return None
    return float(max(float(times or 1) * float(size) for times, size in found)) * 1e9
