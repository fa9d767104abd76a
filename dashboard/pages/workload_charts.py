"""The tabs of the workload page: which tiles and charts each shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from dashboard.cards import Chart
from dashboard.figures import distributions as dist
from dashboard.figures import series
from dashboard.figures.base import Look, Picture


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab over one view.

    Attributes:
        title: its name.
        view: key of `analysis.views.VIEWS`.
        tiles: label and measure of each tile.
        charts: its chart cards.
        tables: names in `workload_tables.TABLES`.
    """

    title: str
    view: str
    tiles: tuple[tuple[str, str], ...]
    charts: tuple[Chart, ...]
    tables: tuple[str, ...] = ()


def _input_lengths(frame: pl.DataFrame, look: Look) -> Picture | str:
    return dist.lengths(frame, "input")


def _output_lengths(frame: pl.DataFrame, look: Look) -> Picture | str:
    return dist.lengths(frame, "output")


def _input_cdf(frame: pl.DataFrame, look: Look) -> Picture | str:
    return dist.length_cdf(frame, "input")


def _output_cdf(frame: pl.DataFrame, look: Look) -> Picture | str:
    return dist.length_cdf(frame, "output")


ARRIVALS = Tab(
    "Arrivals",
    "workload_arrivals",
    (
        ("Requests", "requests"),
        ("Mean rate", "requests_per_second"),
        ("Inter-arrival CV", "interarrival_cv"),
        ("Peak in 1 s", "peak_1s"),
        ("Peak ÷ mean 1 s", "peak_to_mean_1s"),
        ("Peak ÷ mean 10 s", "peak_to_mean_10s"),
        ("Peak ÷ mean 60 s", "peak_to_mean_60s"),
        ("Clock resolution", "clock_resolution_seconds"),
    ),
    (
        Chart(
            "rate",
            "How many requests arrive?",
            "rate",
            series.rate_over_time,
            "Requests per second in each bin; the band is the lowest and highest one-second count.",
            span=12,
            height=280,
        ),
        Chart(
            "gaps",
            "Are arrivals memoryless?",
            "interarrival",
            dist.interarrival,
            "Share of the gaps between arrivals up to a length. Dotted: the exponential with the "
            "same mean. Where the two part, a Poisson plan is wrong.",
        ),
        Chart(
            "week",
            "When in the week does it come?",
            "weekly",
            series.week_profile,
            "Mean requests per second by weekday and hour, over the hours that were observed.",
        ),
        Chart(
            "day",
            "When in the day does it come?",
            "diurnal",
            series.day_profile,
            "Mean requests per second by hour of the day, over the hours that were observed.",
        ),
    ),
    ("arrival_fits", "arrivals_of"),
)

BURSTINESS = Tab(
    "Burstiness",
    "workload_burstiness",
    (
        ("Dispersion, 1 s", "idc_1s"),
        ("Dispersion, 10 s", "idc_10s"),
        ("Dispersion, 60 s", "idc_60s"),
        ("Dispersion, 600 s", "idc_600s"),
    ),
    (
        Chart(
            "dispersion",
            "At which time scales does it burst?",
            "dispersion",
            dist.dispersion,
            "Variance over mean of the counts in windows of one length. Poisson traffic stays at 1 "
            "on every scale; a line that climbs bursts more the longer one looks.",
            span=12,
            height=380,
        ),
    ),
    ("peaks",),
)

LENGTHS = Tab(
    "Lengths",
    "workload_lengths",
    (
        ("Input p50", "input_tokens_p50"),
        ("Input p90", "input_tokens_p90"),
        ("Input p99", "input_tokens_p99"),
        ("Output p50", "output_tokens_p50"),
        ("Output p90", "output_tokens_p90"),
        ("Output p99", "output_tokens_p99"),
        ("Output ÷ input", "output_to_input_ratio"),
    ),
    (
        Chart(
            "input",
            "How long are the prompts?",
            "input",
            _input_lengths,
            "Share of requests in logarithmic bins of input tokens.",
        ),
        Chart(
            "output",
            "How long are the answers?",
            "output",
            _output_lengths,
            "Share of requests in logarithmic bins of output tokens.",
        ),
        Chart(
            "input-share",
            "How many prompts are at most this long?",
            "input",
            _input_cdf,
            "Cumulative share of requests by input tokens.",
        ),
        Chart(
            "output-share",
            "How many answers are at most this long?",
            "output",
            _output_cdf,
            "Cumulative share of requests by output tokens.",
        ),
        Chart(
            "joint",
            "Do long prompts get long answers?",
            "joint",
            dist.joint,
            "Requests by input and output tokens in doubling bins; colour is the log of the count.",
            span=12,
            height=320,
        ),
    ),
    ("length_fits", "lengths_of"),
)

CLIENTS = Tab(
    "Clients",
    "workload_clients",
    (
        ("Clients", "clients"),
        ("Gini, requests", "gini_requests"),
        ("Gini, tokens", "gini_tokens"),
        ("Largest client", "top1_share_ratio"),
        ("Ten largest", "top10_share_ratio"),
    ),
    (
        Chart(
            "lorenz",
            "Do a few clients send it all?",
            "lorenz",
            dist.lorenz,
            "Share of requests and tokens that the smallest clients hold. The diagonal is "
            "equality; the further below, the more concentrated.",
            span=5,
            height=360,
        ),
    ),
    ("clients",),
)

SESSIONS = Tab(
    "Sessions",
    "workload_sessions",
    (
        ("Sessions", "sessions"),
        ("Turns, mean", "turns_mean"),
        ("Gap between turns, p50", "gap_p50_seconds"),
        ("Context growth a turn", "context_growth_tokens_per_turn"),
    ),
    (
        Chart(
            "turns",
            "How many turns has a session?",
            "turns",
            dist.turns,
            "Sessions by their number of requests.",
        ),
        Chart(
            "session-gaps",
            "How long between two turns?",
            "gaps",
            dist.gaps,
            "From one arrival of a session to the next.",
        ),
        Chart(
            "growth",
            "How does the context grow?",
            "growth",
            dist.growth,
            "Mean input tokens by turn, over the sessions that reach it.",
            span=12,
        ),
    ),
)

PREFIX = Tab(
    "Prefix",
    "workload_prefix",
    (
        ("Blocks seen before", "infinite_block_hit_ratio"),
        ("Tokens seen before", "infinite_token_hit_ratio"),
        ("Distinct blocks", "unique_blocks"),
    ),
    (
        Chart(
            "lru",
            "How large must a prefix cache be?",
            "lru",
            dist.lru,
            "Hit ratio of a least-recently-used cache over the trace's own block hashes, by size.",
            span=12,
            height=380,
        ),
    ),
)

FAILURES = Tab(
    "Failures",
    "workload_failures",
    (("Failed", "failed"), ("Failed share", "failure_ratio")),
    (
        Chart(
            "failed",
            "When does it fail?",
            "by_time",
            series.failures_over_time,
            "Failed, refused and aborted requests in each bin.",
            span=12,
        ),
    ),
    ("failure_labels",),
)

TABS: Mapping[str, Tab] = {
    "arrivals": ARRIVALS,
    "burstiness": BURSTINESS,
    "lengths": LENGTHS,
    "clients": CLIENTS,
    "sessions": SESSIONS,
    "prefix": PREFIX,
    "failures": FAILURES,
}
