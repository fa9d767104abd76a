"""Working cases: the synthetic suites of VTC's artifact, and one of the shape of its real trace.

Requests of the suites are as its configurations say: (rates of the clients, seconds, tokens); the
first client of an on-off suite asks every other minute. What is drawn is drawn by a seed.

Source: Ying1123/VTC-artifact, fair_bench (Apache-2.0); its engine's times are fitted to its logs.
"""

from __future__ import annotations

import numpy as np

from controller.gateway.trial.requests import Requests, Wholes, predicted
from controller.numbers import Floats
from controller.profile import Profile, StepTimes

HELD_TOKENS = 10_000
"""That the artifact's A10G lets running requests reserve."""

A10G = Profile(
    "llama-2-7b, a10g", StepTimes(0.0, 3.6e-4, 0.0, 1e-4, 0.0, 0.0, 0.0345), token_budget=4096,
    cache_tokens=2 * HELD_TOKENS, is_chunked=False, gpu_type="A10G",
    source="Ying1123/VTC-artifact, FCFS: 1.71 requests/s of 256/256, 43 ms a token, 127 ms alone",
    licence="Apache-2.0",
)  # fmt: skip

ON_SECONDS = 60.0
SUITES: dict[str, tuple[tuple[float, ...], float, bool]] = {
    "overload": ((1.5, 3.0), 600.0, False),
    "overload-multi": ((0.4, 0.4, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6), 360.0, False),
    "overload-weighted": ((0.4, 0.8, 1.2, 1.6), 360.0, False),
    "proportional": ((0.25, 0.5, 1.5), 600.0, False),
    "on-off-less": ((0.5, 2.0), 600.0, True),
    "on-off-overload": ((2.0, 3.0), 600.0, True),
}
WEIGHTS = {"overload-weighted": {f"client-{n}": n + 1.0 for n in range(4)}}
SUITE_TOKENS = 256


def suite(name: str, off_ratio: float = 0.5, seed: int = 0) -> tuple[Requests, float]:
    """Requests of a suite, and when the last arrives.

    Args:
        name: one of `SUITES`, or "poisson-short-long": many short ones against few long ones.
        off_ratio: of the predictor; 0 knows all.
        seed: of what is drawn.
    """
    if name == "poisson-short-long":
        return _short_long(off_ratio, seed)
    rates, seconds, is_on_off = SUITES[name]
    at, who = [], []
    for number, rate in enumerate(rates):
        times = np.arange(1, int(rate * seconds) + 1) / rate
        if is_on_off and number == 0:
            times = times[times % (2 * ON_SECONDS) <= ON_SECONDS]
        at.append(times)
        who += [f"client-{number}"] * len(times)
    arrived = np.concatenate(at)
    tokens = np.full(len(arrived), SUITE_TOKENS)
    expected = predicted(tokens, off_ratio, seed)
    weights = WEIGHTS.get(name)
    return Requests.of(arrived, who, tokens, tokens, expected=expected, weights=weights), seconds


def _short_long(off_ratio: float, seed: int) -> tuple[Requests, float]:
    dice, seconds = np.random.default_rng(seed), 600.0
    at, who, tokens = [], [], []
    for number, (rate, size) in enumerate(((8.0, 64), (1.5, 256))):
        count = int(rate * seconds)
        at.append(np.sort(dice.uniform(0, seconds, count)))
        who += [f"client-{number}"] * count
        tokens += [size] * count
    expected = predicted(tokens, off_ratio, seed)
    return Requests.of(np.concatenate(at), who, tokens, tokens, expected=expected), seconds


def many_clients(seed: int = 0, off_ratio: float = 0.5) -> tuple[Requests, float]:
    """27 clients, 1,500 requests, 600 s: made, in the shape of the artifact's real trace.

    Shares fall by rank, each client's rate changes every 15 s and grows by the end, lengths are
    lognormal up to 1,021 and 977 tokens. Chosen so that FCFS and VTC on `A10G` come near what was
    published of the real one (FCFS: difference 434, 777 tokens/s, 46.8 s to the first token, p99
    137; VTC: 252, 779, 39.7, 211).
    """
    dice, seconds = np.random.default_rng(seed), 600.0
    share = 1 / np.arange(1, 28) ** 0.6
    counts = np.round(1_500 * share / share.sum()).astype(int)
    counts[0] += 1_500 - counts.sum()
    slots = np.arange(40)
    at, who = [], []
    for number, count in enumerate(counts):
        level = dice.gamma(2.5, 0.4, len(slots)) * (1 + 1.2 * (slots + 0.5) / len(slots))
        slot = dice.choice(slots, count, p=level / level.sum())
        at.append((slot + dice.uniform(0, 1, count)) * seconds / len(slots))
        who += [f"client-{number:02d}"] * count
    prompt, output = _lengths(dice, 216, 1.32, 1021), _lengths(dice, 178, 0.99, 977)
    expected = predicted(output, off_ratio, seed + 1)
    return Requests.of(np.concatenate(at), who, prompt, output, expected=expected), seconds


def _lengths(dice: np.random.Generator, mean: float, sigma: float, most: int) -> Wholes:
    """1,500 lognormal lengths, cut, with this mean after the cut."""
    drawn: Floats = np.exp(dice.normal(0, sigma, 1_500))
    low, high = 1.0, float(most)
    for _ in range(40):
        middle = (low + high) / 2
        is_low = float(np.clip(drawn * middle, 2, most).mean()) < mean
        low, high = (middle, high) if is_low else (low, middle)
    return np.clip(np.round(drawn * low), 2, most).astype(np.int64)
