"""Attainment and quantiles from engines' buckets: is the truth always inside what we state?

Latencies of four shapes are put into the buckets of real engines. Printed for each: the truth, the
interval that servescope states, whether the truth lies inside, and the error of the point that
`histogram_quantile` (and a straight line for attainment) gives instead, which is what dashboards
show. Ends with status 1 when the truth is ever outside, or an interval wider than its two edges.

    python benchmarks/attainment_intervals.py --draws 200000 --seeds 3
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from analysis.attainment import attainment
from analysis.histograms import Histogram, make, quantile_interval_over
from analysis.prometheus_quantile import histogram_quantile

Array = npt.NDArray[np.float64]
QUANTILES = (0.5, 0.9, 0.95, 0.99)
_LITELLM = (*(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 420, 600),)
BUCKETS: Mapping[str, Mapping[str, Sequence[float]]] = {
    "ttft": {
        "vLLM": (
            *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5),
            *(10, 20, 40, 80, 160, 640, 2560),
        ),
        "SGLang": (0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400),
        "Dynamo": (
            *(0, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1, 2.2, 4.7, 10, 22, 48),
            *(100, 220, 480),
        ),
        "LiteLLM": _LITELLM,
        "OTel": (
            *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5),
            *(7.5, 10),
        ),
    },
    "itl": {
        "vLLM": (
            *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5),
            *(10, 20, 40, 80),
        ),
        "SGLang": (
            *(0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06),
            *(0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8),
        ),
        "Dynamo": (0, 0.0019, 0.0035, 0.0067, 0.013, 0.024, 0.045, 0.084, 0.16, 0.3, 0.56, 1.1, 2),
    },
    "queue": {
        "vLLM": (
            *(0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960),
            *(1920, 7680),
        ),
        "LiteLLM": _LITELLM,
    },
}


def lognormal(random: np.random.Generator, draws: int) -> Array:
    return random.lognormal(math.log(0.35), 0.8, draws)


def bimodal(random: np.random.Generator, draws: int) -> Array:
    slow = random.random(draws) < 0.1
    return np.where(
        slow,
        random.lognormal(math.log(6), 0.2, draws),
        random.lognormal(math.log(0.08), 0.3, draws),
    )


def steps(random: np.random.Generator, draws: int) -> Array:
    return random.lognormal(math.log(0.018), 0.5, draws)


def waits(random: np.random.Generator, draws: int) -> Array:
    waited = random.random(draws) < 0.05
    return np.where(waited, random.exponential(0.4, draws), random.exponential(0.0005, draws))


CASES: Sequence[tuple[str, str, Callable[[np.random.Generator, int], Array], Sequence[float]]] = (
    ("TTFT lognormal, median .35 s", "ttft", lognormal, (0.5, 0.6, 1.5, 2.0)),
    ("TTFT bimodal, 90 % 80 ms, 10 % 6 s", "ttft", bimodal, (0.2, 1.0, 3.0)),
    ("ITL lognormal, median 18 ms", "itl", steps, (0.03, 0.05)),
    ("queue, 95 % .5 ms, 5 % exp(.4 s)", "queue", waits, (0.1, 1.0)),
)


def bucketed(values: Array, edges: Sequence[float]) -> Histogram:
    below = np.searchsorted(np.sort(values), edges, side="right")
    return make(edges, below.tolist(), float(values.size), float(values.sum()))


def straight_line(histogram: Histogram, limit: float) -> float:
    """The attainment that dashboards draw: linear between the edges."""
    edges = (0.0, *histogram.edges)
    shares = [0.0, *(count / histogram.count for count in histogram.cumulative)]
    return float(np.interp(limit, edges, shares))


def judge_quantile(values: Array, histogram: Histogram, q: float) -> tuple[str, bool]:
    truth = float(np.quantile(values, q, method="inverted_cdf"))
    low, high = quantile_interval_over([histogram], q) or (None, None)
    edges = sorted(histogram.edges)
    place = int(np.searchsorted(edges, truth, side="left"))
    demanded = (
        edges[place - 1] if place > 0 else None,
        edges[place] if place < len(edges) else None,
    )
    good = (low, high) == demanded
    point = histogram_quantile(
        q, (*histogram.edges, math.inf), (*histogram.cumulative, histogram.count)
    )
    stated = f"({_text(low)}, {_text(high)}]"
    told = f"p{q * 100:<4g}truth {truth:9.4g} s  stated {stated:20}"
    return f"{told} {_word(good)}  point {(point / truth - 1) * 100:+9.1f} %", good


def judge_attainment(values: Array, histogram: Histogram, limit: float) -> tuple[str, bool]:
    truth = float((values <= limit).mean())
    found = attainment([histogram], limit)
    assert found is not None
    below = max((edge for edge in histogram.edges if edge <= limit), default=None)
    above = min((edge for edge in histogram.edges if edge >= limit), default=None)
    least = 0.0 if below is None else float((values <= below).mean())
    most = 1.0 if above is None else float((values <= above).mean())
    good = found.low <= truth <= found.high
    good = good and math.isclose(found.low, least) and math.isclose(found.high, most)
    point = straight_line(histogram, limit)
    stated = f"[{found.low * 100:.2f}, {found.high * 100:.2f}] %"
    told = f"<= {limit:<4g}s truth {truth * 100:7.2f} %  stated {stated:20}"
    return f"{told} {_word(good)}  point {(point - truth) * 100:+9.1f} pp", good


def _text(edge: float | None) -> str:
    return "-" if edge is None else f"{edge:g}"


def _word(good: bool) -> str:
    return "inside" if good else "OUTSIDE"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--draws", type=int, default=200_000)
    options.add_argument("--seeds", type=int, default=3)
    told = options.parse_args()
    judged = wrong = 0
    for seed in range(told.seeds):
        for title, quantity, draw, limits in CASES:
            values = draw(np.random.default_rng(seed), told.draws)
            for engine, edges in BUCKETS[quantity].items():
                histogram = bucketed(values, edges)
                lines = [judge_quantile(values, histogram, q) for q in QUANTILES]
                lines += [judge_attainment(values, histogram, limit) for limit in limits]
                judged += len(lines)
                wrong += sum(not good for _, good in lines)
                if seed == 0:
                    print(f"{title}, buckets of {engine}")
                    print("\n".join(f"  {line}" for line, _ in lines))
    print(f"truth inside, and no wider than its two edges: {judged - wrong} of {judged}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
