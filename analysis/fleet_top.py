"""All of `servescope top` in one answer: how the fleet stands now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from analysis import latency
from analysis.emptiness import why_empty
from analysis.fleet import Seen, in_trouble, look, lowest_budget
from analysis.fleet_courses import budget_line
from analysis.fleet_models import recorded, workloads
from analysis.fleet_part import INSTANCES_SCHEMA, conform
from analysis.measure import Measure, View
from analysis.slo_model import Slo
from analysis.slo_views import urgency
from analysis.timeline import timeline
from store.queries import alerts as alert_queries
from store.queries import anatomy, decisions
from store.queries import cost as served_queries
from store.queries.scope import Scope
from store.queries.token_cost import Cost
from store.reader import Reader

P95 = 0.95
MOST_EVENTS = 50
MOST_TENANTS = 50
OBJECTIVES_SCHEMA: dict[str, Any] = {
    "name": pl.String,
    "status": pl.String,
    "attainment_ratio": pl.Float64,
    "budget_left_ratio": pl.Float64,
    "burn_short": pl.Float64,
    "burn_long": pl.Float64,
    "since_at": pl.Datetime("us"),
    "why": pl.String,
}


def top(reader: Reader, scope: Scope, *, now: datetime, slos: Sequence[Slo] = ()) -> View:
    """The fleet at a glance; the sentences and numbers are those of the Fleet page of the range.

    Measures: those of the view `fleet`, data_age_seconds, alerts_firing.
    Frames: `sparklines`, `budget_line`, `models`, `instances` (with p95 and tokens), `tenants`,
    `objectives` (the most urgent first), `pools` (how the controller treats them), `events` (the
    newest first).

    Args:
        reader: the store.
        scope: a short range that ends now.
        now: aware UTC.
        slos: definitions.
    """
    seen = look(reader, scope, slos)
    whole = seen.whole
    models = workloads(reader, scope, recorded(reader, scope, slos), seen.scraped).models
    firing = alert_queries.opened(reader).filter(pl.col("state") == "firing").height
    judged = [one.status for one in seen.verdict.judged]
    instances = _instances(reader, scope, whole.instances)
    measures = {
        **whole.measures,
        "lowest_budget_left_ratio": lowest_budget(judged),
        "objectives_in_trouble": in_trouble(seen.verdict),
        "data_age_seconds": _age(instances, whole.sparklines, now, scope),
        "alerts_firing": Measure(float(firing), ""),
    }
    frames = {
        "sparklines": whole.sparklines,
        "budget_line": budget_line(seen.verdict.judged),
        "models": models,
        "instances": instances,
        "tenants": _tenants(reader, scope),
        "objectives": _objectives(seen),
        "pools": decisions.treated(reader, now.replace(tzinfo=None)).select(
            "pool", "mode", "is_frozen", "frozen_until", "ready", "starting", "draining", "desired"
        ),
        "events": timeline(reader, scope).reverse().head(MOST_EVENTS),
    }
    empty = why_empty(reader, scope) if seen.is_silent else None
    return View("top", scope, measures, frames, seen.sentences, empty)


def _instances(reader: Reader, scope: Scope, found: pl.DataFrame) -> pl.DataFrame:
    """Instances with the latencies and tokens of their request rows, where rows name them."""
    rows = pl.DataFrame(schema={"instance": pl.String})
    for name in ("ttft", "tpot"):
        counts = anatomy.log_counts_by_labels(reader, scope, name).drop_nulls("instance")
        times = latency.quantiles(counts, P95, "instance").select(
            "instance",
            *(pl.col("seconds").alias(f"{name}_p95_seconds_{end}") for end in ("low", "high")),
        )
        rows = rows.join(times, on="instance", how="full", coalesce=True)
    served = served_queries.service(reader, scope, Cost()).drop_nulls("instance")
    tokens = served.group_by("instance").agg(
        output_tokens_per_second=pl.col("output_tokens").sum() / scope.seconds
    )
    rows = rows.join(tokens, on="instance", how="full", coalesce=True)
    names = [name for name in rows.columns if name != "instance"]
    return conform(
        found.join(rows, on="instance", how="left", suffix="_rows").with_columns(
            pl.coalesce(f"{name}_rows", name).alias(name) for name in names
        ),
        INSTANCES_SCHEMA,
    )


def _tenants(reader: Reader, scope: Scope) -> pl.DataFrame:
    """tenant, requests, requests_per_second, output_tokens_per_second, share_ratio (of service)."""
    served = served_queries.service(reader, scope, Cost()).drop_nulls("tenant")
    return (
        served.group_by("tenant")
        .agg(pl.col("requests", "output_tokens", "service").sum())
        .select(
            "tenant",
            "requests",
            requests_per_second=pl.col("requests") / scope.seconds,
            output_tokens_per_second=pl.col("output_tokens") / scope.seconds,
            share_ratio=pl.col("service") / pl.col("service").sum(),
        )
        .sort("share_ratio", "tenant", descending=[True, False])
        .head(MOST_TENANTS)
    )


def _objectives(seen: Seen) -> pl.DataFrame:
    rows = []
    for one in sorted(seen.verdict.judged, key=lambda one: urgency(one.status)):
        burn, status = one.burning, one.status
        since = burn.since.replace(tzinfo=None) if burn.since else None
        standing = (status.status, status.attainment_ratio, status.budget_left_ratio)
        rows.append((status.slo.name, *standing, burn.short, burn.long, since, status.why))
    return pl.DataFrame(rows, schema=OBJECTIVES_SCHEMA, orient="row")


def _age(instances: pl.DataFrame, lines: pl.DataFrame, now: datetime, scope: Scope) -> Measure:
    """How old the newest thing known of the range is: a scrape, else the newest bin with rows."""
    known = lines.filter(pl.col("requests_per_second") > 0)["at"]
    seen = [*instances["last_seen_at"].drop_nulls().to_list(), *known.tail(1).to_list()]
    if not seen:
        return Measure(None, "s", why="nothing was heard in this range")
    newest = max(at.replace(tzinfo=UTC) for at in seen)
    end = now if scope.is_live else scope.end
    return Measure(max(0.0, (end - newest).total_seconds()), "s")
