"""The queries behind the latency page as people would write them, against the view `requests`."""

from __future__ import annotations

from analysis.plain_sql import where
from store.queries.scope import Scope

_PHASES = """avg(queue_seconds) AS queue_seconds,
  avg(coalesce(prefill_seconds, ttft_seconds - queue_seconds)) AS prefill_seconds,
  avg(coalesce(decode_seconds, e2e_seconds - ttft_seconds)) AS decode_seconds,
  avg(e2e_seconds) AS e2e_seconds, count(*) AS requests"""


def phases(scope: Scope, width_seconds: int) -> str:
    """Mean phases by time."""
    return (
        f"SELECT time_bucket(INTERVAL {int(width_seconds)} SECONDS, arrived_at) AS at,\n"
        f"  {_PHASES}\nFROM requests\nWHERE {_measured(scope, 'e2e_seconds')}\n"
        "GROUP BY at ORDER BY at"
    )


def tail(scope: Scope) -> str:
    """Mean phases by rank of the whole duration."""
    return (
        "WITH ranked AS (\n  SELECT *, percent_rank() OVER (ORDER BY e2e_seconds) AS rank\n"
        f"  FROM requests WHERE {_measured(scope, 'e2e_seconds')})\n"
        "SELECT CASE WHEN rank < 0.5 THEN '0-50 %' WHEN rank < 0.9 THEN '50-90 %'\n"
        "  WHEN rank < 0.99 THEN '90-99 %' ELSE '99-100 %' END AS group,\n"
        f"  {_PHASES}\nFROM ranked GROUP BY 1 ORDER BY min(rank)"
    )


def quantiles(scope: Scope, column: str, width_seconds: int) -> str:
    """Quantiles of one latency by time."""
    return (
        f"SELECT time_bucket(INTERVAL {int(width_seconds)} SECONDS, arrived_at) AS at,\n"
        f"  quantile_disc({column}, [0.5, 0.95, 0.99]) AS p50_p95_p99, count(*) AS requests\n"
        f"FROM requests\nWHERE {_measured(scope, column)}\nGROUP BY at ORDER BY at"
    )


def ecdf(scope: Scope, column: str, series: str) -> str:
    """Share of the requests up to each latency."""
    return (
        f"SELECT {series} AS series, {column},\n"
        f"  cume_dist() OVER (PARTITION BY {series} ORDER BY {column}) AS share\n"
        f"FROM requests\nWHERE {_measured(scope, column)}\nORDER BY series, {column}"
    )


def ttft_by_input(scope: Scope) -> str:
    """TTFT by input length, four bins to the octave."""
    return (
        "SELECT floor(log2(input_tokens) * 4) AS input_bin, count(*) AS requests,\n"
        "  quantile_disc(ttft_seconds, 0.5) AS ttft_p50_seconds\n"
        f"FROM requests\nWHERE {_measured(scope, 'ttft_seconds')} AND input_tokens > 0\n"
        "GROUP BY 1 ORDER BY 1"
    )


def _measured(scope: Scope, column: str) -> str:
    return f"{where(scope)} AND status = 'ok' AND {column} IS NOT NULL"
