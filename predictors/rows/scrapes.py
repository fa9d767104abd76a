"""What engines said of themselves before each request arrived."""

from __future__ import annotations

import polars as pl

from analysis.instances import instance_name
from predictors.base import AT

NAMES = {
    "requests_running": "scraped_running",
    "requests_waiting": "scraped_waiting",
    "kv_cache_usage_ratio": "kv_cache_usage_ratio",
    "kv_cache_capacity_tokens": "kv_cache_capacity_tokens",
    "requests_running_max": "requests_running_max",
}
DERIVED = ("engine_step_seconds", "prompt_tokens_per_second")
LABELS = ("engine", "gpu_type")
AGE = "scraped_age_seconds"
OLDEST_SECONDS = 300.0
"""Gauges older than this are unknown."""


def with_gauges(
    rows: pl.DataFrame, scrapes: pl.DataFrame | None, targets: pl.DataFrame | None
) -> pl.DataFrame:
    """`rows` with `engine`, `gpu_type`, the gauges of `NAMES`, `DERIVED` and their age.

    A request without an instance belongs to the only instance of its model, if there is only one.

    Args:
        rows: by `at`, with `instance` and `model`.
        scrapes: as `store.queries.predictor_rows.scrapes` gives them; None: nothing is scraped.
        targets: as `store.queries.predictor_rows.targets` gives them.
    """
    if scrapes is None or targets is None or scrapes.is_empty() or rows.is_empty():
        return rows.with_columns(
            *(pl.lit(None, pl.String).alias(name) for name in LABELS),
            *(pl.lit(None, pl.Float64).alias(name) for name in (*NAMES.values(), *DERIVED, AGE)),
        )
    found = (
        placed(rows, targets)
        .drop(*LABELS)
        .join_asof(
            told(scrapes).sort("scraped_at"),
            left_on=AT,
            right_on="scraped_at",
            by="place",
            strategy="backward",
            tolerance=f"{int(OLDEST_SECONDS)}s",
            check_sortedness=False,
        )
    )
    age = (pl.col(AT) - pl.col("scraped_at")).dt.total_microseconds() / 1e6
    return found.with_columns(age.alias(AGE)).drop("place", "scraped_at")


def placed(rows: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """`rows` with `place` (the instance; else the only one of the model), `engine`, `gpu_type`.

    Args:
        rows: with `instance` and `model`.
        targets: as `store.queries.predictor_rows.targets` gives them.
    """
    alone = (
        targets.filter(pl.col("model").is_not_null())
        .group_by("model")
        .agg(pl.col("url").first(), pl.len().alias("count"))
        .filter(pl.col("count") == 1)
    )
    only = {model: instance_name(url) for model, url, _ in alone.iter_rows()}
    guess = pl.col("model").replace_strict(only, default=None, return_dtype=pl.String)
    names = {
        label: {
            instance_name(url): text
            for url, text in targets.select("url", label).iter_rows()
            if text is not None
        }
        for label in LABELS
    }
    return rows.with_columns(place=pl.coalesce("instance", guess)).with_columns(
        pl.col("place").replace_strict(known, default=None, return_dtype=pl.String).alias(label)
        for label, known in names.items()
    )


def told(scrapes: pl.DataFrame) -> pl.DataFrame:
    """One row a scrape: place, scraped_at, labels, gauges; paces since the scrape before.

    Args:
        scrapes: as `store.queries.predictor_rows.scrapes` gives them.
    """
    names = {url: instance_name(url) for url in scrapes["url"].unique()}
    passed = (pl.col(AT) - pl.col(AT).shift(1)).dt.total_microseconds().over("url") / 1e6

    def pace(counter: str) -> pl.Expr:
        gained = (pl.col(counter) - pl.col(counter).shift(1)).over("url")
        # A restart sets counters back: then nothing is known for one scrape.
        return pl.when((gained >= 0) & (passed > 0)).then(gained / passed)

    step = pl.col("requests_running") / pace("generation_tokens_total")
    return scrapes.sort("url", AT).select(
        pl.col("url").replace_strict(names, return_dtype=pl.String).alias("place"),
        pl.col(AT).alias("scraped_at"),
        *LABELS,
        *(pl.col(name).cast(pl.Float64).alias(given) for name, given in NAMES.items()),
        pl.coalesce("engine_step_seconds", pl.when(step.is_finite() & (step > 0)).then(step)),
        pace("prompt_tokens_total").alias("prompt_tokens_per_second"),
    )
