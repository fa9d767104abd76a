"""The query behind a picture as people would write it: against the view `requests`, to be pasted.

What the pages run is longer (one scan for many numbers, roll-ups where they are true) and gives the
same counts.
"""

from __future__ import annotations

from analysis.slo_model import Slo
from store.queries.scope import Scope
from store.queries.slo import naive_utc, scope_labels


def where(scope: Scope) -> str:
    """The condition of a scope on the view `requests`."""
    ids = ", ".join(str(int(number)) for number in scope.source_ids) or "NULL"
    parts = [
        f"source_id IN ({ids})",
        f"arrived_at >= TIMESTAMP '{naive_utc(scope.start)}'",
        f"arrived_at < TIMESTAMP '{naive_utc(scope.end)}'",
        "is_counted IS NOT false",
        *(_among(column, values) for column, values in scope_labels(scope).items()),
    ]
    return " AND ".join(parts)


def good(slo: Slo) -> str:
    """What makes a request good: TRUE, FALSE, or NULL when it is undetermined."""
    parts = ["status = 'ok'"]
    parts += [f"{column} <= {limit:g}" for column, limit in slo.limits_seconds.items()]
    return " AND ".join(parts)


def matching(slo: Slo) -> str:
    """The condition for the requests an SLO is about; empty when it is about all."""
    match = slo.match
    labels = {
        "source": match.sources,
        "model": match.models,
        "tenant": match.tenants,
        "route": match.routes,
        "slo_class": match.classes,
    }
    parts = [_among(column, values) for column, values in labels.items() if values]
    if not slo.count_aborted:
        parts.append("status <> 'aborted'")
    return "".join(f" AND {part}" for part in parts)


def slo_by(slo: Slo, scope: Scope, key: str) -> str:
    """Good and bad requests of an SLO by an expression over the view `requests`."""
    return (
        f"SELECT {key} AS key,\n  count(*) FILTER (WHERE {good(slo)}) AS good,\n"
        f"  count(*) FILTER (WHERE NOT ({good(slo)})) AS bad,\n"
        f"  count(*) FILTER (WHERE ({good(slo)}) IS NULL) AS undetermined\n"
        f"FROM requests\nWHERE {where(scope)}{matching(slo)}\nGROUP BY key ORDER BY key"
    )


def time_bins(scope: Scope, width_seconds: int) -> str:
    """Rates and the p95 of latencies by time."""
    return (
        f"SELECT time_bucket(INTERVAL {int(width_seconds)} SECONDS, arrived_at) AS bin,\n"
        f"  count(*) / {int(width_seconds)} AS requests_per_second,\n"
        f"  sum(output_tokens) / {int(width_seconds)} AS output_tokens_per_second,\n"
        "  avg((status <> 'ok')::INT) AS error_ratio,\n"
        "  quantile_disc(ttft_seconds, 0.95) FILTER (WHERE status = 'ok') AS ttft_p95_seconds,\n"
        "  quantile_disc(tpot_seconds, 0.95) FILTER (WHERE status = 'ok') AS tpot_p95_seconds\n"
        f"FROM requests\nWHERE {where(scope)}\nGROUP BY bin ORDER BY bin"
    )


def workloads(scope: Scope) -> str:
    """Requests, lengths and latencies by model, route or source."""
    return (
        "SELECT coalesce(model, route, source) AS workload, count(*) AS requests,\n"
        "  avg(input_tokens) AS input_tokens_mean, avg(output_tokens) AS output_tokens_mean,\n"
        "  quantile_disc(ttft_seconds, 0.95) FILTER (WHERE status = 'ok') AS ttft_p95_seconds,\n"
        "  quantile_disc(tpot_seconds, 0.95) FILTER (WHERE status = 'ok') AS tpot_p95_seconds\n"
        f"FROM requests\nWHERE {where(scope)}\nGROUP BY workload ORDER BY requests DESC"
    )


def _among(column: str, values: tuple[str, ...]) -> str:
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({quoted})"
