"""Latency definitions, and quantiles from log-bin counts.

With arrival a, first token f, last token l and n output tokens:

* TTFT = f - a.
* TPOT = (l - f) / (n - 1) for n >= 2. A one-token answer has none: it is NULL, never 0, and an
  objective on TPOT leaves it undetermined. Source: vLLM `benchmarks/serve.py`, DistServe, GuideLLM.
* ITL is one observation per gap between chunks; engines count it differently under speculation.
* E2E = l - a. A failed request has no latency; it counts as bad, not as fast.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from store.queries.log_bins import middle_seconds


def tpot_seconds(
    first_token_seconds: float, last_token_seconds: float, output_tokens: int
) -> float | None:
    """Mean time per output token after the first; None below two tokens or when time runs back.

    Args:
        first_token_seconds: time of the first token, on any clock.
        last_token_seconds: time of the last token, on the same clock.
        output_tokens: >= 0.
    """
    if output_tokens < 2 or last_token_seconds < first_token_seconds:
        return None
    return (last_token_seconds - first_token_seconds) / (output_tokens - 1)


def quantiles(counts: pl.DataFrame, q: float, *keys: str) -> pl.DataFrame:
    """The q-quantile of each group, read at the middle of its log bin (at most 2.2 % wrong).

    Args:
        counts: keys, log_bin, requests.
        q: 0 < q <= 1.
        keys: columns to group by; none for one quantile over all.

    Returns:
        keys, seconds, requests; groups without requests are absent. Sorted by keys.
    """
    found = several_quantiles(counts, {"q": q}, *keys)
    return found.select(*keys, pl.col("q_seconds").alias("seconds"), "requests")


def several_quantiles(counts: pl.DataFrame, asked: Mapping[str, float], *keys: str) -> pl.DataFrame:
    """Several quantiles of each group in one pass.

    Args:
        counts: keys, log_bin, requests.
        asked: name to q, 0 < q <= 1.
        keys: columns to group by; none for quantiles over all.

    Returns:
        keys, requests, <name>_seconds of each; groups without requests are absent. Sorted by keys.
    """
    groups = keys or ("all",)
    framed = counts.lazy() if keys else counts.lazy().with_columns(all=pl.lit(0))
    requests = pl.col("requests")
    reached = {n: requests.cum_sum() >= q * requests.sum() - 1e-9 for n, q in asked.items()}
    found = (
        framed.sort("log_bin")
        .group_by(*groups)
        .agg(
            requests.sum().alias("total"),
            *(pl.col("log_bin").filter(at).first().alias(name) for name, at in reached.items()),
        )
        .filter(pl.col("total") > 0)
        .sort(*groups)
        .collect()
    )
    seconds = {name: [middle_seconds(number) for number in found[name]] for name in asked}
    return found.select(
        *keys,
        pl.col("total").cast(pl.Int64).alias("requests"),
        *(pl.Series(f"{name}_seconds", at, dtype=pl.Float64) for name, at in seconds.items()),
    )


def quantile(counts: pl.DataFrame, q: float) -> tuple[float, int] | None:
    """One quantile over all counts, in seconds, and how many requests are behind it."""
    found = quantiles(counts, q)
    if found.is_empty():
        return None
    return float(found["seconds"][0]), int(found["requests"][0])
