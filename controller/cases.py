"""The three courses of load that every policy is compared on, and the replica they run on.

Replica: Llama-2-70B on four H100, a step fitted to splitwise-sim's measurements (MIT): a prompt
takes about 12 ms and 0.108 ms a token, a decoding step 29.2 + 0.09 b + 0.0042 b^2 ms, up to 64 at
once, prompts first.
"""

from __future__ import annotations

import math

import numpy as np

from controller.numbers import Floats
from controller.profile import Profile, StepTimes
from controller.simulator.workload import Workload

LLAMA_70B = Profile(
    name="llama-2-70b, 4 x h100",
    step=StepTimes(
        fixed_seconds=0.012,
        prompt_token_seconds=0.000108,
        sequence_seconds=0.00009,
        sequence_squared_seconds=0.0000042,
        decoding_seconds=0.0172,
    ),
    token_budget=8192,
    sequences=64,
    cache_tokens=400_000,
    is_chunked=False,
    gpus=4,
    gpu_type="h100",
)
STARTUPS_SECONDS = (0.0, 30.0, 60.0, 120.0, 300.0)
BASE_PER_SECOND, BURSTY_SECONDS = 8.0, 7200.0
RAMP_SECONDS = 60.0


def bursty(sizes: Workload, seed: int, seconds: float = BURSTY_SECONDS) -> Workload:
    """Base load with bursts of x2 to 3.5 for 4 to 8 minutes, with ramps of a minute.

    Args:
        sizes: requests whose prompt and output sizes are drawn from.
        seed: of everything random.
        seconds: length.
    """
    random = np.random.default_rng(seed)
    at, bursts = 0.0, []
    while True:
        at += float(random.uniform(300, 900))
        length = float(random.uniform(240, 480))
        if at + length + 2 * RAMP_SECONDS > seconds:
            break
        bursts.append((at, length, float(random.uniform(2.0, 3.5))))
        at += length + 2 * RAMP_SECONDS
    return arrivals(burst_rate(np.arange(0.0, seconds, 1.0), bursts), 1.0, sizes, random)


def burst_rate(at: Floats, bursts: list[tuple[float, float, float]]) -> Floats:
    """(n,) requests a second."""
    rate = np.full(len(at), BASE_PER_SECOND)
    for start, length, factor in bursts:
        up = (at - start) / RAMP_SECONDS
        down = (start + length + 2 * RAMP_SECONDS - at) / RAMP_SECONDS
        rate += BASE_PER_SECOND * (factor - 1) * np.clip(np.minimum(up, down), 0.0, 1.0)
    return rate


def arrivals(
    rates: Floats, bin_seconds: float, sizes: Workload, random: np.random.Generator
) -> Workload:
    """Poisson arrivals of these rates with sizes drawn from `sizes`.

    Args:
        rates: (n,) requests a second in each bin.
        bin_seconds: length of a bin.
        sizes: where prompts and outputs come from, together.
        random: dice.
    """
    counts = random.poisson(rates * bin_seconds)
    starts = np.repeat(np.arange(len(rates)) * bin_seconds, counts)
    at = starts + random.uniform(0, bin_seconds, len(starts))
    drawn = random.integers(0, len(sizes), len(at))
    return Workload.of(at, sizes.prompt[drawn], sizes.output[drawn])


def day_of(rates: Floats, window_seconds: float, mean_per_second: float) -> Floats:
    """A day of window rates scaled to a mean rate, in steps of a second between window middles."""
    scaled = rates / rates.mean() * mean_per_second
    middles = (np.arange(len(rates)) + 0.5) * window_seconds
    seconds = np.arange(0.0, len(rates) * window_seconds, 1.0)
    return np.asarray(np.interp(seconds, middles, scaled), dtype=np.float64)


def static_peak(rates: Floats, capacity: float) -> int:
    """Replicas that serve the highest rate."""
    return math.ceil(float(rates.max()) / capacity)
