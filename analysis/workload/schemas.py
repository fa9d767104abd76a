"""Columns of the frames that the workload views give."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from analysis.workload import clients, gap_fits, length_fits, lengths, prefixes, rate_bins, seasons
from analysis.workload import sessions as turns

Schema = Mapping[str, pl.DataType | type[pl.DataType]]
RATE_SCHEMA: Schema = {"at": pl.Datetime("us"), "source": pl.String, **rate_bins.RATE_SCHEMA}
INTERARRIVAL_SCHEMA: Schema = {
    "source": pl.String,
    "gap_seconds": pl.Float64,
    "cdf_ratio": pl.Float64,
    "exponential_cdf_ratio": pl.Float64,
}
FITS_SCHEMA: Schema = {"source": pl.String, **gap_fits.FITS_SCHEMA}
SOURCES_SCHEMA: Schema = {
    "source": pl.String,
    "requests": pl.Int64,
    "requests_per_second": pl.Float64,
    "interarrival_cv": pl.Float64,
    "largest_gap_seconds": pl.Float64,
    "largest_gap_at": pl.Datetime("us"),
    "clock_resolution_seconds": pl.Float64,
    "distinct_stamps": pl.Int64,
    "zero_gap_ratio": pl.Float64,
    "lump_seconds": pl.Float64,
    "quantised": pl.Boolean,
    "peak_to_mean_day_ratio": pl.Float64,
    "peak_hour": pl.Int64,
    "day_explained_ratio": pl.Float64,
    "why": pl.String,
}
DISPERSION_SCHEMA: Schema = {
    "source": pl.String,
    "window_seconds": pl.Float64,
    "index_of_dispersion": pl.Float64,
    "windows": pl.Int64,
    "peak_requests": pl.Int64,
    "peak_to_mean_ratio": pl.Float64,
    "index_with_last_window": pl.Float64,
}
INPUT_SCHEMA: Schema = {"source": pl.String, **lengths.BINS_SCHEMA}
LENGTH_FITS_SCHEMA: Schema = {
    "source": pl.String,
    "field": pl.String,
    **length_fits.FITS_SCHEMA,
}
SUMMARY_SCHEMA: Schema = {
    "source": pl.String,
    "field": pl.String,
    "requests": pl.Int64,
    "mean": pl.Float64,
    "p50": pl.Float64,
    "p90": pl.Float64,
    "p99": pl.Float64,
    "largest": pl.Int64,
    "largest_share_ratio": pl.Float64,
    "variation": pl.Float64,
    "output_to_input_ratio": pl.Float64,
}
BY_TIME_SCHEMA: Schema = {"at": pl.Datetime("us"), "failed": pl.Int64, "attempted": pl.Int64}
BY_LABEL_SCHEMA: Schema = {
    "dimension": pl.String,
    "value": pl.String,
    "failed": pl.Int64,
    "attempted": pl.Int64,
    "failure_ratio": pl.Float64,
}
DIFFERENCES_SCHEMA: Schema = {
    "quantity": pl.String,
    "a": pl.Float64,
    "b": pl.Float64,
    "ratio": pl.Float64,
    "ks_distance": pl.Float64,
    "sentence": pl.String,
}
OVERLAY_SCHEMA: Schema = {
    "quantity": pl.String,
    "series": pl.String,
    "x": pl.Float64,
    "cdf_ratio": pl.Float64,
}
# Every view's frames by name, so that an empty answer has the columns of a full one.
VIEW_FRAMES: Mapping[str, Mapping[str, Schema]] = {
    "workload_arrivals": {
        "rate": RATE_SCHEMA,
        "weekly": seasons.WEEKLY_SCHEMA,
        "interarrival": INTERARRIVAL_SCHEMA,
        "fits": FITS_SCHEMA,
        "diurnal": seasons.DIURNAL_SCHEMA,
        "sources": SOURCES_SCHEMA,
    },
    "workload_burstiness": {"dispersion": DISPERSION_SCHEMA},
    "workload_lengths": {
        "input": INPUT_SCHEMA,
        "output": INPUT_SCHEMA,
        "joint": lengths.JOINT_SCHEMA,
        "fits": LENGTH_FITS_SCHEMA,
        "summary": SUMMARY_SCHEMA,
    },
    "workload_clients": {"lorenz": clients.LORENZ_SCHEMA, "clients": clients.CLIENTS_SCHEMA},
    "workload_sessions": {
        "turns": turns.TURNS_SCHEMA,
        "gaps": turns.GAPS_SCHEMA,
        "growth": turns.GROWTH_SCHEMA,
    },
    "workload_prefix": {"lru": prefixes.LRU_SCHEMA},
    "workload_compare": {
        "differences": DIFFERENCES_SCHEMA,
        "overlay": OVERLAY_SCHEMA,
    },
    "workload_failures": {"by_time": BY_TIME_SCHEMA, "by_label": BY_LABEL_SCHEMA},
}
# Every view's measures by name, with their units.
VIEW_UNITS: Mapping[str, Mapping[str, str]] = {
    "workload_arrivals": {
        "requests": "requests",
        "requests_per_second": "requests/s",
        "interarrival_cv": "",
        "peak_1s": "requests",
        "peak_to_mean_1s": "",
        "peak_to_mean_10s": "",
        "peak_to_mean_60s": "",
        "clock_resolution_seconds": "s",
    },
    "workload_burstiness": {"idc_1s": "", "idc_10s": "", "idc_60s": "", "idc_600s": ""},
    "workload_lengths": {
        "input_tokens_mean": "tokens",
        "input_tokens_p50": "tokens",
        "input_tokens_p90": "tokens",
        "input_tokens_p99": "tokens",
        "output_tokens_mean": "tokens",
        "output_tokens_p50": "tokens",
        "output_tokens_p90": "tokens",
        "output_tokens_p99": "tokens",
        "output_to_input_ratio": "ratio",
    },
    "workload_clients": {
        "clients": "",
        "gini_requests": "",
        "gini_tokens": "",
        "top1_share_ratio": "ratio",
        "top10_share_ratio": "ratio",
    },
    "workload_sessions": {
        "sessions": "",
        "turns_mean": "",
        "gap_p50_seconds": "s",
        "context_growth_tokens_per_turn": "tokens",
    },
    "workload_prefix": {
        "infinite_block_hit_ratio": "ratio",
        "infinite_token_hit_ratio": "ratio",
        "unique_blocks": "",
    },
    "workload_compare": {},
    "workload_failures": {"failed": "requests", "failure_ratio": "ratio"},
}


def empty_frames(view: str) -> dict[str, pl.DataFrame]:
    """The frames of a view, without rows."""
    return {name: pl.DataFrame(schema=dict(schema)) for name, schema in VIEW_FRAMES[view].items()}
