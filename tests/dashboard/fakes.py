"""Services with made-up rows in the columns of the real views."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
import math
import random
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from analysis.clocks import CLOCKS_SCHEMA
from analysis.cost_rules import CostRules
from analysis.first_steps import STEPS_SCHEMA
from analysis.gateways import view_of
from analysis.measure import Empty, Measure, View
from analysis.verdict import PHASES_SCHEMA
from analysis.views import compute
from dashboard.saved_views import SavedView
from dashboard.services import DataAge, Services
from store.access import Rights
from store.clock import VirtualClock, WallClock
from store.database import Database
from store.errors import InputError, ServescopeError
from store.queries.catalog import sources as stored_sources
from store.queries.scope import Scope, SourceInfo, resolve
from store.settings import StoreSettings
from store.units import seconds_text

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CONV, CODE = "azure-2023-conv", "azure-2023-code"


def catalog() -> list[SourceInfo]:
    """A live fleet, two traces on one clock and one on a relative clock."""
    start = datetime(2023, 11, 16, 18, 17, 3, tzinfo=UTC)
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    return [
        SourceInfo(1, "live", "live", "live", "utc", NOW - timedelta(days=2), NOW, 900_000),
        SourceInfo(2, CONV, "trace", "azure", "utc", start, start + timedelta(minutes=59), 19_366),
        SourceInfo(3, CODE, "trace", "azure", "utc", start, start + timedelta(minutes=57), 8_819),
        SourceInfo(
            4, "burst", "trace", "burstgpt", "relative", zero, zero + timedelta(days=121), 1_429_737
        ),
    ]


def _at(scope, bins: int = 180) -> list[datetime]:
    step = scope.seconds / bins
    return [(scope.start + timedelta(seconds=i * step)).replace(tzinfo=None) for i in range(bins)]


def _wave(rng, bins, base, swing, noise):
    return [
        max(0.0, base + swing * math.sin(i / bins * 6.3) + rng.gauss(0, noise)) for i in range(bins)
    ]


def fleet_models(scope, rng, names) -> dict:
    """Frames of the workloads of the fleet."""
    at = _at(scope)
    n = len(at)
    frames = {
        "models": pl.DataFrame(
            {
                "workload": ["llama-3.3-70b", "qwen3-32b", "mistral-small"],
                "requests": [402_112, 310_004, 12],
                "requests_per_second": [18.6, 14.3, 0.0006],
                "input_tokens_mean": [1155.0, 2048.2, 300.0],
                "output_tokens_mean": [211.0, 27.9, 12.0],
                "ttft_p95_seconds_low": [0.4, 0.2, None],
                "ttft_p95_seconds_high": [0.6, 0.2, 0.3],
                "tpot_p95_seconds_low": [0.03, 0.025, 0.02],
                "tpot_p95_seconds_high": [0.04, 0.03, 0.02],
                "attainment_ratio": [0.9731, 0.9987, None],
                "requests_waiting": [21.0, 2.0, 0.0],
                "requests_running": [96.0, 41.0, 0.0],
                "kv_cache_usage_ratio": [0.91, 0.55, 0.01],
                "instances_ready": [4, None, 1],
                "instances_known": [5, None, 1],
                "replicas_starting": [1, None, None],
                "replicas_target": [6, None, None],
            }
        ),
        "model_lines": pl.DataFrame(
            {
                "workload": ["llama-3.3-70b"] * n + ["qwen3-32b"] * n,
                "at": at * 2,
                "requests_per_second": _wave(rng, n, 18, 6, 1) + _wave(rng, n, 14, 4, 1),
            }
        ),
    }
    return {"frames": frames}


def fleet(scope, rng, names) -> dict:
    """Frames and measures of the fleet view."""
    at = _at(scope)
    n = len(at)
    waiting = [float(int(v)) for v in _wave(rng, n, 6, 5, 3)]
    ttft = [None if 60 < i < 66 else v for i, v in enumerate(_wave(rng, n, 0.42, 0.2, 0.05))]
    frames = {
        "sparklines": pl.DataFrame(
            {
                "at": at,
                "requests_per_second": _wave(rng, n, 41, 12, 2),
                "input_tokens_per_second": _wave(rng, n, 51_000, 9000, 2000),
                "output_tokens_per_second": _wave(rng, n, 9200, 2500, 300),
                "error_ratio": [min(v, 1.0) for v in _wave(rng, n, 0.004, 0.003, 0.002)],
                "failed_ratio": [min(v, 1.0) for v in _wave(rng, n, 0.001, 0.001, 0.001)],
                "refused_ratio": [min(v, 1.0) for v in _wave(rng, n, 0.003, 0.002, 0.001)],
                "aborted_ratio": [None] * n,
                "ttft_p95_seconds": ttft,
                "tpot_p95_seconds": _wave(rng, n, 0.031, 0.005, 0.002),
                "requests_waiting": waiting,
                "requests_running": _wave(rng, n, 120, 30, 6),
                "kv_cache_usage_ratio": [min(v, 1.0) for v in _wave(rng, n, 0.6, 0.2, 0.02)],
            }
        ),
        "budget_line": pl.DataFrame(
            {"at": at[-12:], "budget_left_ratio": [-0.25 - 0.01 * i for i in range(len(at[-12:]))]}
        ),
        "ready_line": pl.DataFrame({"at": at, "instances_ready": [6 - (i > 50) for i in range(n)]}),
        "instances": pl.DataFrame(
            {
                "instance": [f"gpu-{i}:8000" for i in range(1, 7)],
                "engine": ["vllm"] * 5 + ["llamacpp"],
                "engine_version": ["0.13.2"] * 5 + ["b7100"],
                "model": ["llama-3.3-70b"] * 5 + ["mistral-small"],
                "state": ["ready", "ready", "ready", "ready", "unreachable", "ready"],
                "requests_running": [24.0, 22.0, 25.0, 48.0, None, 0.0],
                "requests_waiting": [0.0, 1.0, 0.0, 19.0, None, 0.0],
                "kv_cache_usage_ratio": [0.61, 0.58, 0.64, 0.97, None, 0.01],
                "outlier_score": [0.2, 0.4, 0.1, 5.3, None, None],
                "last_seen_at": [NOW.replace(tzinfo=None)] * 6,
                "why": [None, None, None, None, "no answer for 312 s: connection refused", None],
            }
        ),
        "events": pl.DataFrame(
            {
                "at": [at[-1], at[-30]],
                "kind": ["target", "alert"],
                "text": [
                    "gpu-5:8000 stopped answering",
                    "chat-ttft burns at 6.2\N{MULTIPLICATION SIGN}",
                ],
            }
        ),
    }
    measures = {
        "requests_per_second": Measure(41.3, "requests/s", n=892_118),
        "input_tokens_per_second": Measure(51_200.0, "tokens/s"),
        "output_tokens_per_second": Measure(9_120.0, "tokens/s"),
        "error_ratio": Measure(0.0042, "ratio", 0.0040, 0.0044, 892_118),
        "failed_ratio": Measure(0.0011, "ratio", 0.0010, 0.0012, 892_118),
        "refused_ratio": Measure(0.0031, "ratio", 0.0030, 0.0032, 892_118),
        "aborted_ratio": Measure(None, "ratio", why="no engine here counts these apart"),
        "ttft_p95_seconds": Measure(None, "s", 0.4, 0.6, 888_000, "between two bucket edges"),
        "tpot_p95_seconds": Measure(0.0312, "s", n=888_000),
        "requests_waiting": Measure(23.0, "requests"),
        "requests_running": Measure(137.0, "requests"),
        "lowest_budget_left_ratio": Measure(-0.36, "ratio"),
        "objectives_in_trouble": Measure(1.0, "objectives", n=2),
        "instances_ready": Measure(5.0, "", n=6, why="1 not ready"),
        "replicas_starting": Measure(1.0, "replicas", n=2),
        "replicas_target": Measure(7.0, "replicas", n=2),
    }
    names = ("dimension", "value", "bad", "attempted", "bad_share_ratio", "traffic_share_ratio",
             "over_representation")  # fmt: skip
    frames["contributors"] = pl.DataFrame(
        [("model", "llama-3.3-70b", 8_230, 351_000, 0.81, 0.4, 2.02),
         ("tenant", "search", 4_100, 190_000, 0.4, 0.22, 1.8),
         ("instance", "gpu-4:8000", 3_950, 88_000, 0.39, 0.1, 3.9)],
        schema=names, orient="row",
    )  # fmt: skip
    frames["phases"] = pl.DataFrame(
        [("queue", 0.04, 340_000, 1.31, 8_230, 10_452.0, 0.7),
         ("prefill", 0.21, 340_000, 0.75, 8_230, 4_480.0, 0.3)],
        schema=list(PHASES_SCHEMA), orient="row",
    )  # fmt: skip
    since = scope.end - (scope.end - scope.start) / 3
    sentences = (
        f"chat-ttft burns at 6.2x since {since:%H:%M} UTC; 81 % of the bad requests are model "
        "llama-3.3-70b, which is 40 % of the traffic; 70 % of their excess time is queueing.",
        "gpu-5:8000 has not answered for 312 s.",
        "gpu-4:8000 stands out: its queue is 19 where its peers hold 1.",
    )
    return {"frames": frames, "measures": measures, "sentences": sentences}


def slo_list(scope, rng, names) -> dict:
    """One objective in each status, the fourth over a calendar month."""
    end = scope.end.replace(tzinfo=None)
    month = end.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    frame = pl.DataFrame(
        {
            "name": ["chat-ttft", "chat-goodput", "code-tpot", "available", "batch-e2e"],
            "kind": ["ttft", "goodput", "tpot", "availability", "e2e"],
            "objective_text": [
                "99 % of attempts get their first token within 500 ms",
                "95 % meet TTFT 1 s, TPOT 50 ms and E2E 30 s",
                "99 % stay below 40 ms per token",
                "99.9 % of attempts succeed, over the calendar month (UTC)",
                "90 % finish within 5 min",
            ],
            "target_ratio": [0.99, 0.95, 0.99, 0.999, 0.9],
            "window_seconds": [2_592_000.0] * 5,
            "window": ["30 d"] * 3 + ["the calendar month (UTC)", "30 d"],
            "window_start_at": [month if i == 3 else end - timedelta(days=30) for i in range(5)],
            "resets_at": [None, None, None, month + timedelta(days=30), None],
            "expected": [None, None, None, 3_252, None],
            "attempted": [1_402_113, 88_212, 8_819, 2_114, 14],
            "good": [1_383_000, 84_800, 8_777, 2_113, 12],
            "bad": [19_113, 3_412, 42, 1, 2],
            "undetermined": [0, 0, 0, 0, 0],
            "attainment_ratio": [0.98637, 0.96132, 0.99524, 0.99953, 0.857],
            "attainment_low": [0.9861, 0.9600, 0.9935, 0.9973, 0.601],
            "attainment_high": [0.9866, 0.9626, 0.9965, 0.9999, 0.960],
            "budget_left_ratio": [-0.36, 0.22, 0.52, 0.69, None],
            "burn_1h": [6.2, 1.4, 0.3, 0.0, None],
            "burn_6h": [3.1, 1.1, 0.4, 0.1, None],
            "exhausted_at": [
                datetime(2026, 11, 19, 4),
                datetime(2026, 11, 24, 9),
                None,
                None,
                None,
            ],
            "status": ["exhausted", "burning", "watch", "healthy", "too few events"],
            "why": [None, None, None, None, "14 attempts in the window; 30 are needed"],
        }
    )
    return {
        "frames": {"slos": frame},
        "sentences": ("chat-ttft is exhausted: 36 % more went wrong than 30 days allow.",),
        "sql": {
            "slos": "SELECT slo, count(*) AS attempted\nFROM request\nWHERE arrived_at >= $start"
        },
    }


def slo_detail(scope, rng, names) -> dict:
    """An overspent objective."""
    at = _at(scope)
    n = len(at)
    left = [1 - 1.36 * (i / n) ** 1.4 for i in range(n)]
    burn = {
        name: _wave(rng, n, base, base / 2, 0.3)
        for name, base in (("burn_5m", 5), ("burn_1h", 4), ("burn_6h", 3), ("burn_3d", 1.2))
    }
    threshold = [0.05 * 1.25**i for i in range(25)]
    frames = {
        "slos": slo_list(scope, rng, names)["frames"]["slos"].head(1),
        "budget": pl.DataFrame(
            {"at": at, "budget_left_ratio": left, "projected_ratio": [None] * n},
            schema_overrides={"projected_ratio": pl.Float64},
        ),
        "burn": pl.DataFrame({"at": at, **burn}),
        "events": pl.DataFrame(
            {
                "at": at,
                "good": [int(v) for v in _wave(rng, n, 900, 300, 40)],
                "bad": [int(v) for v in _wave(rng, n, 30, 25, 8)],
                "undetermined": [0] * n,
            }
        ),
        "alerts": pl.DataFrame(
            {
                "severity": ["page", "page", "ticket", "ticket"],
                "long_window": ["1 h", "6 h", "1 d", "3 d"],
                "short_window": ["5 min", "30 min", "2 h", "6 h"],
                "threshold": [14.4, 6.0, 3.0, 1.0],
                "burn_long": [6.2, 3.1, 2.2, 1.2],
                "burn_short": [5.1, 5.8, 5.0, 3.1],
                "firing": [False, False, False, True],
                "reachable": [True, True, True, True],
                "why": [None, None, None, None],
            }
        ),
        "spent_by": pl.DataFrame(
            {
                "dimension": ["model", "instance", "input band", "tenant", "hour", "hour"],
                "value": [
                    "llama-3.3-70b",
                    "gpu-4:8000",
                    "8k-16k tokens",
                    "acme",
                    "09:00-10:00",
                    "11:00-12:00",
                ],
                "bad": [15_400, 9_100, 7_700, 3_000, 4_000, 15_100],
                "attempted": [402_112, 98_000, 61_000, 210_000, 500_000, 390_000],
                "bad_share_ratio": [0.81, 0.48, 0.40, 0.16, 0.21, 0.79],
                "traffic_share_ratio": [0.45, 0.11, 0.07, 0.15, 0.56, 0.44],
                "over_representation": [1.8, 4.36, 5.7, 1.07, 0.37, 1.8],
            }
        ),
        "threshold_curve": pl.DataFrame(
            {
                "threshold_seconds": threshold,
                "attainment_ratio": [1 - math.exp(-((t / 0.2) ** 1.3)) for t in threshold],
                "is_objective": [n == 10 for n in range(25)],
            }
        ),
    }
    measures = {
        "attainment_ratio": Measure(0.98637, "ratio", 0.9861, 0.9866, 1_402_113),
        "budget_left_ratio": Measure(-0.36, "ratio"),
        "burn_1h": Measure(6.2, "x"),
        "burn_6h": Measure(3.1, "x"),
    }
    return {
        "frames": frames,
        "measures": measures,
        "sentences": ("Overspent by 36 %; gpu-4:8000 holds 48 % of the bad requests.",),
    }


def arrivals(scope, rng, names) -> dict:
    """Rates, gaps, fits."""
    at = _at(scope, 120)
    parts, gaps = [], []
    for name, mean in names:
        rate = _wave(rng, 120, mean, mean / 4, mean / 10)
        parts.append(
            pl.DataFrame(
                {
                    "at": at,
                    "source": name,
                    "requests_per_second": rate,
                    "low_per_second": [v * 0.2 for v in rate],
                    "high_per_second": [v * 2.4 for v in rate],
                }
            )
        )
        gap = [0.001 * 1.35**i for i in range(34)]
        gaps.append(
            pl.DataFrame(
                {
                    "source": name,
                    "gap_seconds": gap,
                    "cdf_ratio": [1 - math.exp(-((g * mean) ** 0.6)) for g in gap],
                    "exponential_cdf_ratio": [1 - math.exp(-g * mean) for g in gap],
                }
            )
        )
    live = len(names) == 1
    weekly = [
        (d, h, 3 + 2 * math.sin(h / 4) + d / 5 if live or (d == 3 and h == 18) else None)
        for d in range(7)
        for h in range(24)
    ]
    frames = {
        "rate": pl.concat(parts),
        "interarrival": pl.concat(gaps),
        "weekly": pl.DataFrame(
            weekly,
            schema={"weekday": pl.Int64, "hour": pl.Int64, "requests_per_second": pl.Float64},
            orient="row",
        ),
        "diurnal": pl.DataFrame(
            {
                "hour": list(range(24)),
                "requests_per_second": [
                    3 + 2 * math.sin(h / 4) if live else (5.5 if h == 18 else None)
                    for h in range(24)
                ],
            }
        ),
        "fits": pl.DataFrame(
            {
                "source": [names[0][0]] * 3,
                "family": ["exponential", "gamma", "Weibull"],
                "shape": [None, 0.84, 0.92],
                "scale_seconds": [0.1808, 0.2152, 0.1738],
                "ks_distance": [0.031, 0.012, 0.018],
                "log_likelihood": [1.0, 2.0, 1.5],
                "accepted": [False, True, True],
                "why": ["KS 0.031 is above 0.02", None, None],
            }
        ),
    }
    frames["sources"] = pl.DataFrame(
        [(name, 19_366, rate, cv, 41.0, None, 1e-7, None)
         for (name, rate), cv in zip(names, (1.09, 13.2), strict=False)],
        schema=["source", "requests", "requests_per_second", "interarrival_cv",
                "largest_gap_seconds", "largest_gap_at", "clock_resolution_seconds", "why"],
        orient="row",
    )  # fmt: skip
    measures = {
        "requests": Measure(28_185.0, "requests"),
        "requests_per_second": Measure(8.06, "requests/s", n=28_185),
        "interarrival_cv": Measure(1.09, "", n=28_184),
        "peak_1s": Measure(67.0, "requests/s"),
        "peak_to_mean_1s": Measure(8.3, ""),
        "peak_to_mean_10s": Measure(3.9, ""),
        "peak_to_mean_60s": Measure(2.1, ""),
        "clock_resolution_seconds": Measure(1e-7, "s"),
    }
    return {
        "frames": frames,
        "measures": measures,
        "sql": {"rate": "SELECT time_bucket(…)\nFROM request"},
    }


def burstiness(scope, rng, names) -> dict:
    """Dispersion that climbs."""
    rows = [
        (name, w, i * w**0.6, int(3540 / w), int(40 * w**0.8), 8.0 / w**0.2)
        for (name, _), i in zip(names, (1.4, 13.0), strict=False)
        for w in (1.0, 10.0, 60.0, 600.0)
    ]
    frame = pl.DataFrame(
        rows,
        schema=["source", "window_seconds", "index_of_dispersion", "windows", "peak_requests",
                "peak_to_mean_ratio"],
        orient="row",
    )  # fmt: skip
    measures = {
        f"idc_{w}s": Measure(v, "", n=3540 // w) for w, v in ((1, 1.4), (10, 5.1), (60, 16.2))
    }
    return {
        "frames": {"dispersion": frame},
        "measures": measures | {"idc_600s": Measure(None, "", why="5 windows; 30 are needed")},
    }


def lengths(scope, rng, names) -> dict:
    """Log-normal token counts in doubling bins."""

    def histogram(centre):
        parts = []
        for index, (name, _) in enumerate(names):
            bins = [
                (2**i, 2 ** (i + 1), int(9000 * math.exp(-((i - centre - index) ** 2) / 4)))
                for i in range(14)
            ]
            total = sum(b[2] for b in bins)
            running = 0
            rows = []
            for low, high, count in bins:
                running += count
                rows.append((name, low, high, count, running / total))
            parts.append(
                pl.DataFrame(
                    rows,
                    schema=["source", "low_tokens", "high_tokens", "requests", "cdf_ratio"],
                    orient="row",
                )
            )
        return pl.concat(parts)

    joint = [
        (
            2**i,
            2 ** (i + 1),
            2**j,
            2 ** (j + 1),
            int(4000 * math.exp(-((i - 9) ** 2) / 5 - (j - 7) ** 2 / 4)),
        )
        for i in range(4, 14)
        for j in range(2, 11)
    ]
    frames = {
        "input": histogram(9.5),
        "output": histogram(6.5),
        "joint": pl.DataFrame(
            [r for r in joint if r[4]],
            schema=[
                "input_low_tokens",
                "input_high_tokens",
                "output_low_tokens",
                "output_high_tokens",
                "requests",
            ],
            orient="row",
        ),
        "fits": pl.DataFrame(
            {
                "source": [names[0][0]] * 2,
                "field": ["input_tokens", "output_tokens"],
                "family": ["log-normal", "Weibull"],
                "parameters": ["mu 6.4, sigma 1.3", "shape 1.2, scale 230"],
                "ks_distance": [0.11, 0.018],
                "accepted": [False, True],
                "why": ["KS 0.11 is above 0.05", None],
            }
        ),
    }
    frames["summary"] = pl.DataFrame(
        [(name, field, 19_366, 1155.0, 1020.0, 2300.0, 4084.0, 14_050, 0.183)
         for name, _ in names for field in ("input_tokens", "output_tokens")],
        schema=["source", "field", "requests", "mean", "p50", "p90", "p99", "largest",
                "output_to_input_ratio"],
        orient="row",
    )  # fmt: skip
    values = {"input": (1155, 1020, 2300, 4084), "output": (211, 129, 425, 811)}
    measures = {
        f"{k}_tokens_{q}": Measure(float(v), "tokens")
        for k, row in values.items()
        for q, v in zip(("mean", "p50", "p90", "p99"), row, strict=True)
    }
    return {"frames": frames, "measures": measures | {"output_to_input_ratio": Measure(0.183, "")}}


def clients(scope, rng, names) -> dict:
    """A heavy-tailed population."""
    share = [i / 20 for i in range(21)]
    rows = [
        (
            f"tenant-{i:02d}",
            int(9000 / (i + 1)),
            0.3 / (i + 1),
            2.5 / (i + 1),
            1.1 + i / 5,
            1000.0 + i * 40,
            210.0 - i * 5,
            0.01 * (i % 3),
        )
        for i in range(25)
    ]
    names_ = [
        "client",
        "requests",
        "share_ratio",
        "requests_per_second",
        "interarrival_cv",
        "input_tokens_mean",
        "output_tokens_mean",
        "failure_ratio",
    ]
    frames = {
        "lorenz": pl.DataFrame(
            {
                "dimension": ["tenant"] * 21,
                "clients_ratio": share,
                "requests_ratio": [s**3 for s in share],
                "tokens_ratio": [s**4 for s in share],
            }
        ),
        "clients": pl.DataFrame(rows, schema=names_, orient="row"),
    }
    measures = {
        "clients": Measure(25.0, ""),
        "gini_requests": Measure(0.62, "", n=25),
        "gini_tokens": Measure(0.68, "", n=25),
        "top1_share_ratio": Measure(0.31, "ratio", n=28_185),
        "top10_share_ratio": Measure(0.87, "ratio", n=28_185),
    }
    return {"frames": frames, "measures": measures}


def sessions(scope, rng, names) -> dict:
    """Short sessions that grow."""
    gap = [0.5 * 1.4**i for i in range(25)]
    frames = {
        "turns": pl.DataFrame(
            {"turns": list(range(1, 21)), "sessions": [int(4000 / i**1.7) for i in range(1, 21)]}
        ),
        "gaps": pl.DataFrame(
            {"gap_seconds": gap, "cdf_ratio": [1 - math.exp(-g / 60) for g in gap]}
        ),
        "growth": pl.DataFrame(
            {
                "turn": list(range(1, 15)),
                "input_tokens_mean": [400.0 + 310 * i for i in range(14)],
                "sessions": [4000 // (i + 1) for i in range(14)],
            }
        ),
    }
    measures = {
        "sessions": Measure(7_212.0, ""),
        "turns_mean": Measure(3.4, ""),
        "gap_p50_seconds": Measure(41.6, "s"),
        "context_growth_tokens_per_turn": Measure(310.0, "tokens"),
    }
    return {"frames": frames, "measures": measures}


def prefix(scope, rng, names) -> dict:
    """A cache curve."""
    sizes = [100 * 2**i for i in range(14)]
    hit = [0.52 * (1 - math.exp(-i / 4)) for i in range(14)]
    frame = pl.DataFrame(
        {
            "cache_blocks": sizes,
            "cache_tokens": [s * 512 for s in sizes],
            "block_hit_ratio": hit,
            "token_hit_ratio": [h * 1.08 for h in hit],
        }
    )
    measures = {
        "infinite_block_hit_ratio": Measure(0.5204, "ratio", n=300_000),
        "infinite_token_hit_ratio": Measure(0.56, "ratio", n=300_000),
        "unique_blocks": Measure(182_790.0, ""),
    }
    return {"frames": {"lru": frame}, "measures": measures}


def failures(scope, rng, names) -> dict:
    """A few failures."""
    at = _at(scope, 120)
    frames = {
        "by_time": pl.DataFrame(
            {
                "at": at,
                "failed": [int(max(0, rng.gauss(4, 4))) for _ in at],
                "attempted": [480] * 120,
            }
        ),
        "by_label": pl.DataFrame(
            {
                "dimension": ["model", "model", "tenant"],
                "value": ["llama-3.3-70b", "qwen3-32b", None],
                "failed": [410, 70, 2],
                "attempted": [18_000, 10_185, 9],
                "failure_ratio": [0.0228, 0.0069, 0.222],
            }
        ),
    }
    return {
        "frames": frames,
        "measures": {
            "failed": Measure(480.0, "requests"),
            "failure_ratio": Measure(0.017, "ratio", 0.0156, 0.0186, 28_185),
        },
    }


def findings(scope, rng, names) -> dict:
    """What the demo says first."""
    frame = pl.DataFrame(
        {
            "rank": [1],
            "score": [10.0],
            "subject": ["burstiness"],
            "sentence": ["code bursts"],
            "evidence": ["idc"],
            "command": ["servescope analyze"],
        }
    )
    sentences = (
        "code traffic is 10 times burstier than conversation (index of dispersion 167 against 16 "
        "at 60 s): a Poisson capacity plan would fail.",
        "code is 13 times more prefill-heavy: 0.014 output tokens an input token, not 0.183.",
        "code peaked at 67 requests in one second, 26 times its mean.",
    )
    return {"frames": {"findings": frame}, "sentences": sentences}


def compare(scope, rng, names) -> dict:
    """Two sides that differ."""
    x = [10 * 1.3**i for i in range(28)]
    rows = []
    for quantity, centre in (
        ("input_tokens", 900.0),
        ("output_tokens", 120.0),
        ("gap_seconds", 200.0),
    ):
        for series, factor in ((CONV, 1.0), (CODE, 2.2)):
            rows += [(quantity, series, v, 1 - math.exp(-v / (centre * factor))) for v in x]
    frames = {
        "overlay": pl.DataFrame(
            rows, schema=["quantity", "series", "x", "cdf_ratio"], orient="row"
        ),
        "differences": pl.DataFrame(
            {
                "quantity": ["index of dispersion at 60 s", "output tokens"],
                "a": [16.2, 211.0],
                "b": [167.0, 27.9],
                "ratio": [0.097, 7.56],
                "ks_distance": [None, 0.61],
                "sentence": [
                    "conv is 10 times calmer at 60 s",
                    "conv answers are 7.6 times longer",
                ],
            }
        ),
    }
    return {"frames": frames, "sentences": ("Burstiness differs most: 16 against 167 at 60 s.",)}


def signal_coverage(scope, rng, names) -> dict:
    """Three signals of two engines."""
    rows = [
        ("ttft_seconds", "llama.cpp", "b4200", "absent", 0, 1, "no histogram on its page"),
        ("requests_running", "llama.cpp", "b4200", "exact", 1, 1, "llamacpp:requests_processing"),
        ("requests_running", "vllm", "0.32.0", "exact", 1, 2, "vllm:num_requests_running"),
        ("preemptions_total", "vllm", "0.32.0", "quiet", 0, 2, "vllm:num_preemptions_total"),
    ]
    names = ("signal", "engine", "engine_version", "state", "told_by", "targets", "how")
    frame = pl.DataFrame(rows, schema=names, orient="row")
    return {"frames": {"signals": frame}, "sentences": ("vllm 0.32.0 tells 1 signal exactly.",)}


def admin(scope, rng, names) -> dict:
    """Sources, targets, tables, coverage, imports."""
    naive = NOW.replace(tzinfo=None)
    infos = catalog()
    frames = {
        "sources": pl.DataFrame(
            {
                "name": [s.name for s in infos],
                "kind": [s.kind for s in infos],
                "format": [s.format for s in infos],
                "clock": [s.clock for s in infos],
                "requests": [s.request_count for s in infos],
                "first_at": [s.first_at.replace(tzinfo=None) for s in infos],
                "last_at": [s.last_at.replace(tzinfo=None) for s in infos],
            }
        ),
        "targets": pl.DataFrame(
            {
                "url": ["http://gpu-1:8000/metrics", "http://gpu-5:8000/metrics"],
                "engine": ["vllm", "vllm"],
                "engine_version": ["0.13.2", None],
                "state": ["ready", "unreachable"],
                "last_success_at": [naive, naive - timedelta(seconds=312)],
                "data_age_seconds": [2.1, 312.0],
                "scrape_seconds": [0.012, None],
                "samples": [412, 0],
                "samples_per_second": [27.5, 0.0],
                "bad_lines": [0, 0],
                "unknown_families": [7, 0],
                "error": [None, "connection refused; check: curl http://gpu-5:8000/metrics"],
            }
        ),
        "tables": pl.DataFrame(
            {
                "table": ["request", "sample", "scrape"],
                "rows": [2_357_922, 88_112_004, 51_840],
                "oldest_at": [naive - timedelta(days=30)] * 3,
                "newest_at": [naive] * 3,
            }
        ),
        "clocks": pl.DataFrame(
            [
                (
                    "http://gpu-2:8000/metrics",
                    "target",
                    "off",
                    -94.2,
                    1.0,
                    30.0,
                    "94.2 s behind, compared with the server's clock: what it says of its starts"
                    " lies at wrong times; run a time service on both",
                ),
                ("gpu-3", "agent", "agrees", 0.004, 0.0012, 1.0012, None),
                ("http://gpu-1:8000/metrics", "target", "agrees", -0.4, 1.0, 30.0, None),
                (
                    "http://gpu-5:8000/metrics",
                    "target",
                    "unknown",
                    None,
                    None,
                    30.0,
                    "none of its answers since this server started had a date",
                ),
            ],
            schema=CLOCKS_SCHEMA,
            orient="row",
        ),
        "coverage": pl.DataFrame(
            {
                "page": ["Fleet", "Fleet", "Workload", "Workload", "SLOs", "SLOs"],
                "target_or_source": ["vllm 0.13.2", CONV] * 3,
                "state": ["full", "partial", "none", "full", "partial", "none"],
                "missing": [
                    None,
                    "latency",
                    "request rows",
                    None,
                    "per-tenant attainment",
                    "latency",
                ],
            }
        ),
        "imports": pl.DataFrame(
            {
                "import_id": [1, 2],
                "source": [CONV, CODE],
                "file": ["conv.csv", "code.csv"],
                "rows_added": [19_366, 8_819],
                "rows_duplicate": [0, 0],
                "rows_rejected": [0, 3],
                "at": [naive, naive],
                "seconds": [0.21, 0.12],
            }
        ),
    }
    measures = {
        "rows_total": Measure(90_521_766.0, ""),
        "store_bytes": Measure(455_000_000.0, "bytes"),
        "write_lag_seconds": Measure(0.004, "s"),
        "data_age_seconds": Measure(2.1, "s"),
    }
    return {
        "frames": frames,
        "measures": measures,
        "sentences": ("1 of 6 targets does not answer: gpu-5:8000, connection refused.",),
    }


def trust(scope, rng, names) -> dict:
    """Frames of the trust view: one target is well, one is silent, one signal froze."""
    naive = NOW.replace(tzinfo=None)
    urls = ["http://gpu-5:8000/metrics", "http://gpu-1:8000/metrics"]
    signals = ["kv_cache_usage_ratio", "requests_running"]
    said = ["Nobody answers at this address (connection refused).", "It answers with 41 signals."]
    advice = ["Check that the process runs.", None]
    stood = "It stands at 0.99 although nothing was generated for 95 s."
    frames = {
        "targets": pl.DataFrame(
            {
                "url": urls,
                "instance": ["gpu-5:8000", "gpu-1:8000"],
                "target": ["gpu-5:8000", "gpu-1:8000"],
                "engine": ["vllm", "vllm"],
                "grade": ["silent", "fresh"],
                "since": [naive - timedelta(seconds=312)] * 2,
                "evidence": said,
                "advice": advice,
                "signals": [41, 41],
                "usable_signals": [0, 40],
            }
        ),
        "signals": pl.DataFrame(
            {
                "url": [urls[1]] * 2,
                "instance": ["gpu-1:8000"] * 2,
                "target": ["gpu-1:8000"] * 2,
                "signal": signals,
                "meaning": ["Share of the KV cache in use.", "Requests in the running batch."],
                "grade": ["frozen", "fresh"],
                "is_usable": [False, True],
                "since": [naive - timedelta(seconds=95)] * 2,
                "evidence": [stood, "It is on the page and plausible."],
                "advice": ["Send one request.", None],
            }
        ),
        "history": pl.DataFrame(
            {
                "at": [naive] * 2,
                "url": urls,
                "signal": ["", "requests_running"],
                "grade": ["silent", "two_scrapers"],
                "evidence": said,
                "advice": advice,
            }
        ),
        "drops": pl.DataFrame(
            {
                "door": ["otlp"],
                "reason": ["span without a name"],
                "dropped": [7],
                "example": ["trace 0af7"],
                "first_at": [naive - timedelta(minutes=10)],
                "last_at": [naive],
            }
        ),
    }
    sentences = (f"gpu-5:8000 is silent: {said[0]} {advice[0]}",)
    return {"frames": frames, "measures": {}, "sentences": sentences}


def _latency_counts(rng, scope) -> pl.DataFrame:
    """Counts by time and logarithmic bin, slower in the middle of the range."""
    rows = []
    for i, at in enumerate(_at(scope, 96)):
        middle = 20 + 8 * math.sin(i / 96 * 6.3)
        for log_bin in range(-20, 60, 2):
            requests = int(400 * math.exp(-(((log_bin - middle) / 14) ** 2)) + rng.random())
            if requests:
                rows.append((at, log_bin, requests))
    schema = {"at": pl.Datetime("us"), "log_bin": pl.Int32, "requests": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def latency(scope, rng, names) -> dict:
    """How E2E is spread, of two models."""
    from analysis import anatomy

    counts = _latency_counts(rng, scope)
    doubled = pl.concat(
        counts.select(series=pl.lit(name), log_bin=pl.col("log_bin") + shift, requests="requests")
        for name, shift in (("llama-3.3-70b", 0), ("qwen3-32b", -6))
    )
    merged = doubled.group_by("series", "log_bin").agg(pl.col("requests").sum())
    frames = {
        "heatmap": anatomy.heatmap(counts),
        "quantiles": anatomy.quantiles_over_time(counts),
        "ecdf": anatomy.ecdf(merged),
        "objectives": pl.DataFrame({"name": ["whole"], "threshold_seconds": [8.0]}),
        "shown": pl.DataFrame({"quantity": ["e2e"], "by": ["model"], "basis": ["requests"]}),
    }
    measures = {
        "e2e_p50_seconds": Measure(2.4, "s", n=59_000),
        "e2e_p95_seconds": Measure(8.1, "s", n=59_000),
        "e2e_p99_seconds": Measure(None, "s", 10.0, 15.0, 59_000, "between two bucket edges"),
        "ttft_p50_seconds": Measure(0.17, "s", n=59_000),
        "ttft_p95_seconds": Measure(1.2, "s", n=59_000),
        "tpot_p50_seconds": Measure(0.035, "s", n=59_000),
        "tpot_p95_seconds": Measure(0.064, "s", n=59_000),
        "queue_p95_seconds": Measure(None, "s", why="no row carries queue_seconds"),
    }
    sentences = ("Of 59,000 successful requests 95 % ended within 8.1 s",)
    return {"frames": frames, "measures": measures, "sentences": sentences}


def _phases(e2e: list[float]) -> dict:
    return {
        "queue_seconds": [0.2 * v for v in e2e],
        "prefill_seconds": [0.1 * v for v in e2e],
        "first_token_seconds": [None] * len(e2e),
        "decode_seconds": [0.68 * v for v in e2e],
        "unattributed_seconds": [0.02 * v for v in e2e],
        "e2e_seconds": e2e,
    }


def latency_phases(scope, rng, names) -> dict:
    """A stack whose phases leave two hundredths unexplained."""
    at = _at(scope, 96)
    e2e = _wave(rng, 96, 3.0, 1.0, 0.1)
    stack = pl.DataFrame({"at": at, **_phases(e2e), "requests": [600] * 96})
    return {"frames": {"stack": stack}, "sentences": ("Decode is E2E - TTFT",)}


def latency_tail(scope, rng, names) -> dict:
    """Four ranks."""
    from analysis.anatomy_phases import GROUPS

    frame = pl.DataFrame(
        {
            "group": list(GROUPS),
            "e2e_low_seconds": [0.1, 2.0, 5.0, 12.0],
            "e2e_high_seconds": [2.0, 5.0, 12.0, 60.0],
            **_phases([1.2, 3.2, 7.5, 20.0]),
            "requests": [29_500, 23_600, 5_310, 590],
        },
        schema_overrides={"first_token_seconds": pl.Float64},
    )
    return {"frames": {"tail": frame}, "sentences": ("The slowest 1 % take 20 s",)}


def latency_drivers(scope, rng, names) -> dict:
    """A prompt twice as long takes twice as long; company slows decoding."""
    from analysis.anatomy_drivers import GRID_SCHEMA, MEDIANS_SCHEMA

    def made(edges, seconds):
        grid, medians = [], []
        for low, high in itertools.pairwise(edges):
            middle = seconds(low)
            medians.append((low, high, (low + high) / 2, middle, 300))
            grid += [
                (low, high, middle * 2**step, middle * 2 ** (step + 1), 100 - 20 * abs(step))
                for step in (-2, -1, 0, 1)
            ]
        return (
            pl.DataFrame(grid, schema=GRID_SCHEMA, orient="row"),
            pl.DataFrame(medians, schema=MEDIANS_SCHEMA, orient="row"),
        )

    lengths = made(
        [2.0**k for k in range(5, 14)], lambda tokens: 2.0 ** round(math.log2(tokens) - 13)
    )
    crowds = made([float(k) for k in range(1, 12)], lambda n: 2.0**-5)
    frames = {
        "ttft_by_input": lengths[0],
        "ttft_medians": lengths[1],
        "tpot_by_concurrency": crowds[0],
        "tpot_medians": crowds[1],
    }
    measures = {
        "ttft_slope_seconds_per_1k_tokens": Measure(0.12, "s", n=3_000),
        "tpot_slope_seconds_per_request": Measure(None, "s", why="all requests are alike here"),
    }
    return {"frames": frames, "measures": measures}


def latency_stragglers(scope, rng, names) -> dict:
    """One of four is slow; the lone model has no peers."""
    from analysis.anatomy_stragglers import INSTANCES_SCHEMA

    rows = [
        ("gpu-3:8000", "llama-3.3-70b", 9_600, 0.056, 1.68, 0.17, 1.02, 21.7, True, 0.97, 12.0, 1),
        ("gpu-1:8000", "llama-3.3-70b", 9_600, 0.032, 0.96, 0.17, 1.0, 1.3, False, 0.5, 0.0, 0),
        ("gpu-2:8000", "llama-3.3-70b", 9_600, 0.033, 1.0, 0.17, 1.0, 0.6, False, 0.5, 0.0, 0),
        ("q-1:8000", "qwen3-32b", 9_600, 0.033, None, 0.17, None, None, False, None, None, None),
    ]
    frame = pl.DataFrame(
        [(*row, "median of requests") for row in rows], schema=INSTANCES_SCHEMA, orient="row"
    )
    return {"frames": {"instances": frame}, "sentences": ("gpu-3:8000 stands out",)}


def _request_rows(scope, n: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "request": [f"1:{1_790_000_000_000_000 + i}:{i + 7}" for i in range(n)],
            "source": ["live"] * n,
            "arrived_at": _at(scope, n),
            "status": ["failed" if i % 9 == 8 else "ok" for i in range(n)],
            "tenant": ["acme"] * n,
            "model": ["llama-3.3-70b"] * n,
            "route": [None] * n,
            "instance": ["gpu-3:8000"] * n,
            "finish_reason": [None if i % 9 == 8 else "stop" for i in range(n)],
            "input_tokens": [1_000 + i for i in range(n)],
            "output_tokens": [200] * n,
            "cached_tokens": [None] * n,
            "queue_seconds": [0.4] * n,
            "prefill_seconds": [0.1] * n,
            "decode_seconds": [None] * n,
            "ttft_seconds": [0.52] * n,
            "tpot_seconds": [(59.48 - i) / 199 for i in range(n)],
            "e2e_seconds": [60.0 - i for i in range(n)],
        },
        schema_overrides={
            "route": pl.String,
            "cached_tokens": pl.Int32,
            "decode_seconds": pl.Float64,
        },
    )


def latency_requests(scope, rng, names) -> dict:
    """A full page of three."""
    measures = {
        "requests": Measure(120.0, "requests"),
        "page": Measure(2.0, ""),
        "pages": Measure(3.0, ""),
    }
    return {"frames": {"requests": _request_rows(scope, 50)}, "measures": measures}


def latency_request(scope, rng, names) -> dict:
    """One request with everything known about it."""
    from analysis.anatomy_requests import waterfall

    row = _request_rows(scope, 1).with_columns(
        slo_class=pl.lit(None, pl.String),
        session_id=pl.lit("s-1"),
        trace_id=pl.lit("0d8ece26-786e-9ae3-0a61-6f91238539f4"),
        decision_id=pl.lit(None, pl.Int64),
        predicted_output_tokens=pl.lit(None, pl.Int32),
    )
    attempts = row.select("request", "arrived_at", "status", "instance", "e2e_seconds")
    frames = {
        "spans": waterfall(row.row(0, named=True)),
        "request": row,
        "attempts": attempts,
        "decision": pl.DataFrame(),
    }
    return {"frames": frames, "sentences": ("60 s in all, 99 % of it decode",)}


def start_times_ahead(scope) -> pl.DataFrame:
    """What a start would take now; one place is answered by the rival."""
    said = scope.end.replace(tzinfo=None) - timedelta(minutes=3)
    columns = (
        "model", "place", "made_at", "expected_p10_seconds", "expected_p50_seconds",
        "expected_p90_seconds", "expected_p99_seconds", "rival_seconds", "was_fallback",
        "calibration", "model_id",
    )  # fmt: skip
    model = "llama-3.3-70b"
    rows = [
        (model, f"{model}@node-0", said, 80.0, 84.0, 118.0, 131.0, 86.0, False, "warming", "c-1"),
        (model, f"{model}@node-1", said, 70.0, 84.0, 98.0, 110.0, 84.0, True, "raw", "c-1"),
    ]
    return pl.DataFrame(rows, schema=columns, orient="row")


def start_times_before(found) -> pl.DataFrame:
    """What was said before each start but the first."""
    return pl.DataFrame(
        {
            "place": [start.place for start in found[1:]],
            "began_at": [start.began_at for start in found[1:]],
            "expected_p50_seconds": [84.0] * (len(found) - 1),
            "expected_p90_seconds": [118.0] * (len(found) - 1),
        }
    )


def cold_starts(scope, rng, names) -> dict:
    """Starts of two nodes; one never became ready, one goes on."""
    from analysis.cold_start_frames import day_frame, group_frame, segment_frame, start_frame
    from analysis.cold_start_starts import starts

    rows = []
    begin = scope.end.replace(tzinfo=None) - timedelta(hours=5)
    for k in range(9):
        who, cache = (f"gpu-{k % 3}:8000", "llama-3.3-70b", f"node-{k % 2}"), "warm"
        at = begin + timedelta(minutes=37 * k)
        if k % 3 == 0:
            cache = "cold"
        for phase, seconds, evidence in (
            ("schedule", 2, "kubernetes"),
            ("image", 30 if cache == "cold" else 1, "kubernetes"),
            ("process", 11, "log"),
            ("weights", 50 + 3 * k % 14, "span"),
            ("compile", 20, "log"),
        ):
            ended = at + timedelta(seconds=seconds)
            rows.append((*who, phase, at, ended, cache, evidence))
            at = ended + timedelta(seconds=1)
        if k not in (4, 8):
            rows.append((*who, "ready", at, at, None, "agent"))
    columns = (
        "instance", "model", "node", "phase", "started_at", "ended_at", "cache_state", "evidence",
    )  # fmt: skip
    seen = pl.DataFrame(rows, schema=columns, orient="row")
    found = starts(seen, scope.end.replace(tzinfo=None))
    frames = {
        "ahead": start_times_ahead(scope),
        "worth": pl.DataFrame(
            {
                "model": ["llama-3.3-70b"],
                "replicas": [5],
                "utility_p10": [0.4],
                "utility_p50": [12.0],
                "utility_p90": [40.0],
                "below_one_ratio": [0.2],
                "start_ratio": [0.07],
                "still_running": [2],
            }
        ),
        "starts": start_frame(found, [3.2] * len(found), start_times_before(found), {}),
        "segments": segment_frame(found),
        "groups": group_frame(found),
        "per_day": day_frame(found),
    }
    slow = frames["groups"].sort("ready_p95_seconds", nulls_last=True).row(-1, named=True)
    where = f"{slow['model']} on {slow['node']}, {slow['cache_state']} cache"
    outcomes = frames["starts"]["outcome"].to_list()
    measures = {
        "starts": Measure(float(len(found)), "starts"),
        "never_ready": Measure(float(outcomes.count("never ready")), "starts", n=len(found)),
        "in_progress": Measure(float(outcomes.count("in progress")), "starts"),
        "slowest_ready_p95_seconds": Measure(
            slow["ready_p95_seconds"], "s", n=slow["ready"], why=where
        ),
        "waited_request_seconds": Measure(28.8, "s", n=88, why="from queue times of requests"),
    }
    longest = seconds_text(slow["ready_p95_seconds"])
    sentences = (f"{where} takes longest to be ready: p95 {longest}",)
    return {"frames": frames, "measures": measures, "sentences": sentences}


@functools.cache
def _predicted() -> Database:
    """A store with a few hours of made-up predictions and forecasts, filled once."""
    place = Path(__file__).parents[1] / "data" / "fill_predictions.py"
    spec = importlib.util.spec_from_file_location("servescope_fill_predictions", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    database = Database.open(None, StoreSettings(memory_limit_bytes=256 << 20), WallClock())
    module.fill(database, NOW, count=1200, hours=8)
    control_rows().fill(database, NOW)
    alert_rows().fill(database, NOW)
    report_rows().fill(database, NOW)
    return database


@functools.cache
def control_rows():
    """The module of made-up ledgers and desks."""
    return _beside("control_rows")


@functools.cache
def alert_rows():
    """The module of made-up alerts."""
    return _beside("alert_rows")


def report_rows():
    """The module of made-up reports."""
    return _beside("report_rows")


def _beside(name: str):
    """A module of this folder, loaded by its path: tests are no package."""
    place = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"servescope_{name}", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@functools.cache
def _seen(name, scope, options=()) -> dict:
    view = compute(name, _predicted().reader, scope, clock=VirtualClock(NOW), options=dict(options))
    return {
        "frames": view.frames,
        "measures": view.measures,
        "sentences": view.sentences,
        "empty": view.empty,
        "sql": view.sql,
    }


def _real(name):
    """What the view itself makes of the made-up store."""
    return lambda scope, rng, names: _seen(name, scope)


@functools.cache
def bare() -> Database:
    """A store as it is made: nothing was ever put into it."""
    return Database.open(None, StoreSettings(memory_limit_bytes=256 << 20), WallClock())


@functools.cache
def _degraded() -> Database:
    """A store with a made-up fleet of which one instance is slowed, filled once."""
    place = Path(__file__).parents[1] / "data" / "degraded_fleet.py"
    spec = importlib.util.spec_from_file_location("servescope_degraded_fleet", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    database = Database.open(None, StoreSettings(memory_limit_bytes=256 << 20), WallClock())
    module.fill(database, NOW)
    return database


def degradation(scope, options) -> dict:
    """What the view itself makes of the made-up fleet."""
    view = compute(
        "degradation", _degraded().reader, scope, clock=VirtualClock(NOW), options=options
    )
    return {"frames": view.frames, "measures": view.measures, "sentences": view.sentences,
            "empty": view.empty}  # fmt: skip


@functools.cache
def _tenants() -> Database:
    """A store in which one of three tenants gets too much, and somebody was refused."""
    database = Database.open(None, StoreSettings(memory_limit_bytes=256 << 20), WallClock())
    rng, rows = random.Random(11), []  # noqa: S311
    for number in range(900):
        tenant = "search" if number % 9 < 6 else ("chat" if number % 9 < 8 else "batch")
        rows.append((f"f{number}", NOW - timedelta(seconds=3600 - 4 * number), tenant,
                     "refused" if number % 50 == 49 else "ok", 200 + rng.randrange(400),
                     100 + rng.randrange(100), 20.0 + 40 * rng.random()))  # fmt: skip
    names = ("request_id", "arrived_at", "tenant", "status", "input_tokens", "output_tokens",
             "ttft_seconds")  # fmt: skip
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.col("arrived_at").dt.replace_time_zone(None),
        pl.when(pl.col("status") == "ok").then("ttft_seconds").alias("ttft_seconds"),
        pl.when(pl.col("status") == "ok").then("output_tokens").alias("output_tokens"),
        e2e_seconds=pl.when(pl.col("status") == "ok").then(pl.col("ttft_seconds") + 5),
    )
    database.writer.append("request", frame).result()
    return database


def _of_tenants(name, **options):
    """What a view of fairness itself makes of three tenants."""

    def make(scope, rng, names) -> dict:
        live = Scope((1,), NOW - timedelta(hours=1), NOW)
        view = compute(name, _tenants().reader, live, clock=VirtualClock(NOW), options=options)
        return {"frames": view.frames, "measures": view.measures, "sentences": view.sentences,
                "sql": view.sql}  # fmt: skip

    return make


@functools.cache
def _scraped() -> tuple[Database, CostRules]:
    """A store of a fleet that is scraped, and what its cards cost."""
    place = Path(__file__).parent / "cost_rows.py"
    spec = importlib.util.spec_from_file_location("servescope_cost_rows", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    database = Database.open(None, StoreSettings(memory_limit_bytes=256 << 20), WallClock())
    module.fill(database, NOW)
    return database, module.RULES


@functools.cache
def _cost() -> View:
    database, rules = _scraped()
    half_day = Scope((1,), NOW - timedelta(hours=6), NOW)
    return compute("cost", database.reader, half_day, clock=VirtualClock(NOW), costs=rules)


def cost(scope, rng, names) -> dict:
    """What the view itself makes of two pools."""
    view = _cost()
    return {"frames": view.frames, "measures": view.measures, "sentences": view.sentences,
            "sql": view.sql}  # fmt: skip


def jobs(scope, rng, names) -> dict:
    """One job that is done and one that fails."""
    at = NOW.replace(tzinfo=None)
    frame = pl.DataFrame(
        {"job": ["rollup", "retention"], "outcome": ["failed", "done"], "last_at": [at, at],
         "last_done_at": [None, at], "done": [0, 24], "failed": [3, 0], "skipped": [1, 0],
         "usual_seconds": [None, 0.2], "longest_seconds": [10.0, 0.4],
         "error": ["the query took too long", None]},
        schema_overrides={"last_done_at": pl.Datetime("us")},
    )  # fmt: skip
    return {"frames": {"jobs": frame}, "sentences": ("The last run of rollup failed.",)}


def first_steps(scope, rng, names, *, is_done=True) -> dict:
    """Everything was done long ago, or nothing yet."""
    rows = [(name, is_done, "it is so") for name in ("source", "records", "objective")]
    frame = pl.DataFrame(rows, schema=STEPS_SCHEMA, orient="row")
    left = Measure(0.0 if is_done else 3.0, "")
    return {"frames": {"steps": frame}, "measures": {"left": left}}


def server(scope, rng, names) -> dict:
    """How quick the process is."""
    frame = pl.DataFrame(
        {"page": ["Fairness", "Fleet"], "answers": [41, 905], "computed": [12, 88],
         "p95_seconds": [0.41, 0.083], "longest_seconds": [0.62, 0.2],
         "slowest_view": ["fairness", "fleet"]}
    )  # fmt: skip
    measures = {"shared_ratio": Measure(0.894, "ratio", n=946),
                "loop_lag_p95_seconds": Measure(0.004, "s", n=600),
                "loop_lag_longest_seconds": Measure(0.031, "s", n=600)}  # fmt: skip
    return {"frames": {"pages": frame}, "measures": measures}


MAKERS = {
    "server": server,
    "cost": cost,
    "fairness": _of_tenants("fairness", batch_tokens="4000"),
    "fairness_interference": _of_tenants("fairness_interference"),
    "predictors": _real("predictors"),
    "predictors_inputs": _real("predictors_inputs"),
    "predictors_models": _real("predictors_models"),
    "predictors_forecast": _real("predictors_forecast"),
    "predictors_backtest": _real("predictors_backtest"),
    "degradation_now": _real("degradation_now"),
    "latency": latency,
    "latency_phases": latency_phases,
    "latency_tail": latency_tail,
    "latency_drivers": latency_drivers,
    "latency_stragglers": latency_stragglers,
    "latency_requests": latency_requests,
    "latency_request": latency_request,
    "cold_starts": cold_starts,
    "trust": trust,
    "fleet": fleet,
    "fleet_models": fleet_models,
    "slo_list": slo_list,
    "slo_detail": slo_detail,
    "workload_arrivals": arrivals,
    "workload_burstiness": burstiness,
    "workload_lengths": lengths,
    "workload_clients": clients,
    "workload_sessions": sessions,
    "workload_prefix": prefix,
    "workload_failures": failures,
    "workload_findings": findings,
    "workload_compare": compare,
    "admin": admin,
    "jobs": jobs,
    "signal_coverage": signal_coverage,
}


LEDGER = (
    "controller",
    "controller_decision",
    "happenings",
    "replays",
    "replay",
    "alerts",
    "reports",
)


def gateway_row(name="edge", *, seconds_ago=1.0, **fairness) -> dict:
    """How a gateway stood; what it tells of fairness may be changed by name."""
    told = {"line": "vtc", "apart_service": 1200.0, "greatest_gap_service": 3000.0,
            "bound_service": 4040.0, "why_no_bound": None, "breaches": 0, "is_broken": False,
            "broken_seconds_ago": None, "input_weight": 1.0, "output_weight": 2.0,
            "cached_weight": 1.0, **fairness}  # fmt: skip
    at = (NOW - timedelta(seconds=seconds_ago)).replace(tzinfo=None)
    return {"name": name, "url": "http://n:8300", "version": "0.1.0", "last_seen_at": at,
            "started_at": at - timedelta(hours=5), "heartbeat_seconds": 2.0, "policy_version": None,
            "waiting_rows": 0, "dropped_rows": 0,
            "details": json.dumps({"waiting": 7, "running": 12, "fairness": told})}  # fmt: skip


def server_told() -> dict:
    """What a process knows of itself."""
    names = ("section", "key", "value", "origin")
    rows = [("server", "listen", "127.0.0.1:8787", "default"),
            ("server", "view_ttl_seconds", 2.0, "/etc/servescope.toml:4"),
            ("store", "sample_retention_days", 30.0, "default"),
            ("store", "replay_retention_days", None, "/etc/servescope.toml:9"),
            ("gateway", "upstream_api_key", "***", "SERVESCOPE_GATEWAY__KEY")]  # fmt: skip
    return {
        "file": "/etc/servescope.toml",
        "settings": [dict(zip(names, row, strict=True)) for row in rows],
        "numbers": [("Running for", 81_400.0, "s", "since this process started"),
                    ("Rows waiting", 0.0, "rows", "to be written")],
    }  # fmt: skip


class FakeSaved:
    """Saved views in memory; the title `taken` is taken."""

    def __init__(self) -> None:
        self.views: list[SavedView] = []

    def listed(self):
        return sorted(self.views, key=lambda view: view.title)

    def save(self, title, path, params):
        if title == "taken":
            raise InputError("a view is saved as 'taken' already", hint="take another name")
        self.views.append(SavedView(title.replace(" ", "-"), title, tuple(path), dict(params)))
        return self.views[-1]

    def delete(self, name):
        self.views = [view for view in self.views if view.name != name]


class FakeModels:
    """A registry that remembers who was made champion."""

    def __init__(self) -> None:
        self.promoted: list[tuple] = []
        self.gone: dict[str, str] = {}

    def refused(self) -> dict[str, str]:
        """Those whose files a test deleted."""
        return self.gone

    def promote(self, model_id, seen, by, reason) -> dict:
        """Remember the wish."""
        self.promoted.append((model_id, seen, by, reason))
        return {"model_id": model_id, "before": seen}


class FakeServices:
    """Services whose state a test may change between two looks.

    Attributes:
        failing: raised instead of an answer, when set.
        empty: put into every view, when set.
        store: a real store that all views and the catalogue come from, when set.
        asked: the views asked for, with their options.
        now: the wall clock.
        slow_seconds: how long every view takes.
        control: the controller that pages tell something; None where there is none.
        replays: the comparisons.
        gateways: rows of table `gateway`.
        rights: of whoever looks.
    """

    def __init__(self) -> None:
        self.failing: ServescopeError | None = None
        self.empty: Empty | None = None
        self.store: Database | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.now = NOW
        self.newest_at: datetime | None = NOW - timedelta(seconds=4)
        self.loaded = 0
        self.slow_seconds = 0.0
        self._free = threading.Event()
        self._free.set()
        self.control = control_rows().FakeControl()
        self.replays = control_rows().FakeReplays()
        self.alerts = alert_rows().FakeAlerts()
        self.reports = report_rows().FakeReports()
        self.models = FakeModels()
        self.gateways: list[dict] = []
        self.saved = FakeSaved()
        self.rights = Rights()

    def view(self, name: str, params: Mapping[str, str], **options: str) -> View:
        """Answer like the server would."""
        self.asked.append((name, options))
        threading.Event().wait(self.slow_seconds)
        self._free.wait()
        if self.failing is not None:
            raise self.failing
        scope = resolve(params, self.catalog(), self.now)
        if self.store is not None:
            return compute(
                name, self.store.reader, scope, clock=VirtualClock(self.now), options=options
            )
        if name == "first_steps":  # says something of an empty store above all
            made = first_steps(scope, None, (), is_done=self.empty is None)
            return replace(View(name, scope, computed_at=self.now), **made)
        if self.empty is not None:
            return View(name, scope, empty=self.empty, computed_at=self.now)
        if name == "gateways":
            return replace(view_of(self.gateways, scope, self.now, None), computed_at=self.now)
        named = {2: (CONV, 5.5), 3: (CODE, 2.6), 1: ("live", 41.0), 4: ("burst", 0.14)}
        if name in LEDGER:
            made = _seen(name, scope, tuple(sorted(options.items())))
            return replace(View(name, scope, computed_at=self.now), **made)
        if name == "degradation":
            return replace(View(name, scope, computed_at=self.now), **degradation(scope, options))
        made = MAKERS[name](scope, random.Random(7), [named[i] for i in scope.source_ids])  # noqa: S311
        return replace(View(name, scope, computed_at=self.now), **made)

    def catalog(self) -> list[SourceInfo]:
        """The sources there are."""
        return catalog() if self.store is None else stored_sources(self.store.reader)

    def hold(self) -> None:
        """Let no view be answered until `let_go`."""
        self._free.clear()

    def let_go(self) -> None:
        """Answer again."""
        self._free.set()

    def gateway(self, name="edge", **more) -> dict:
        """How a gateway stood; see `gateway_row`."""
        return gateway_row(name, **more)

    def load_example(self) -> str:
        """Count the wish."""
        self.loaded += 1
        return "28,185 requests loaded"

    def services(self) -> Services:
        """What pages get."""
        return Services(
            view=self.view,
            catalog=self.catalog,
            now=lambda: self.now,
            data_age=lambda: DataAge(self.newest_at, 5, 6),
            label_values=lambda params: {
                "model": ["llama-3.3-70b", "qwen3-32b"],
                "tenant": ["acme", "globex"],
                "instance": [f"gpu-{i}:8000" for i in range(1, 7)],
            },
            version="0.1.0",
            load_example=self.load_example,
            control=self.control,
            replays=self.replays,
            alerts=self.alerts,
            reports=self.reports,
            models=self.models,
            saved=self.saved,
            server=server_told,
            look=lambda: [("http://127.0.0.1:8000", "vllm")],
            rights=lambda: self.rights,
        )
