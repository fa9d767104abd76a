"""Which workload suffers? One row for each model of the fleet, and its course."""

from __future__ import annotations

from collections.abc import Sequence

from analysis import fleet_live_models, fleet_rows_models, plain_sql
from analysis.emptiness import why_empty
from analysis.fleet_part import (
    INSTANCES_SCHEMA,
    MODELS_SCHEMA,
    Workloads,
    conform,
    join_instances,
    join_workloads,
    sparkline_width_seconds,
)
from analysis.fleet_replicas import of_models
from analysis.fleet_rows import instances
from analysis.fleet_scraped import Scraped, scraped_in, standing
from analysis.measure import View
from analysis.sharing import Sharing, unshared
from analysis.slo_counting import applicable
from analysis.slo_model import Slo
from store.queries import slo as slo_queries
from store.queries.scope import Scope
from store.reader import Reader


def fleet_models(
    reader: Reader, scope: Scope, *, slos: Sequence[Slo], sharing: Sharing = unshared
) -> View:
    """The workloads of a scope: models; where none is known routes, then sources.

    From request rows where there are any, else from the engines' metrics.

    Frames: `models` (the worst first), `model_lines` (the rate of each over time); columns in
    `analysis.fleet_part`.
    """
    scraped = scraped_in(reader, scope, sparkline_width_seconds(scope), sharing)
    rows = recorded(reader, scope, slos)
    found = workloads(reader, scope, rows, scraped)
    return View(
        "fleet_models",
        scope,
        frames={"models": found.models, "model_lines": found.lines},
        empty=why_empty(reader, scope) if rows is None and scraped is None else None,
        sql={} if rows is None else {"models": plain_sql.workloads(scope)},
    )


def recorded(reader: Reader, scope: Scope, slos: Sequence[Slo]) -> Workloads | None:
    """What request rows say; None when there are none."""
    ids = slo_queries.source_ids(reader)
    chosen = applicable(reader, slos, scope, ids)
    width = sparkline_width_seconds(scope)
    return fleet_rows_models.from_rows(reader, scope, chosen, width, ids)


def workloads(
    reader: Reader, scope: Scope, rows: Workloads | None, scraped: Scraped | None
) -> Workloads:
    """The workloads of a scope with their replicas.

    Args:
        reader: the store.
        scope: what is asked about.
        rows: as `recorded`.
        scraped: as `fleet_scraped.scraped_in`.
    """
    if scraped is None:
        return join_workloads(rows or Workloads(), Workloads())
    stand = standing(scraped)
    live = fleet_live_models.from_scrapes(scraped, stand, scope, sparkline_width_seconds(scope))
    whole = join_workloads(rows or Workloads(), live)
    if rows is not None and stand["model"].null_count():
        # What an engine does not tell of itself its requests may.
        stand = join_instances(conform(stand, INSTANCES_SCHEMA), instances(reader, scope))
    served = of_models(reader, scope, stand)
    models = whole.models.drop(served.columns[1:]).join(
        served, on="workload", how="left", maintain_order="left"
    )
    return Workloads(conform(models, MODELS_SCHEMA), whole.lines)
