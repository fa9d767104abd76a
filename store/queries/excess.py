"""How much longer each phase of bad requests took than is typical of good ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from store.queries.anatomy import PHASE_SQL, PHASES
from store.queries.scope import IS_COUNTED, Scope
from store.queries.slo import (
    LABEL_COLUMNS,
    OCTAVE_SQL,
    GoodRule,
    labels_sql,
    naive_utc,
    outcome_sql,
    scope_labels,
    source_sql,
)
from store.reader import Reader

EXCESS_SCHEMA: dict[str, Any] = {
    "phase": pl.String,
    "typical_seconds": pl.Float64,
    "good": pl.Int64,
    "bad_mean_seconds": pl.Float64,
    "bad": pl.Int64,
    "excess_seconds": pl.Float64,
}
_NUMBERS = {"input_octave": OCTAVE_SQL, "hour": "hour(r.arrived_at)"}
_PARTS = ("typical", "good", "mean", "bad", "excess")


@dataclass(frozen=True, slots=True)
class Excess:
    """What the bad requests of a stretch are made of.

    Attributes:
        phases: columns of `EXCESS_SCHEMA`, a row for each of `PHASES`; null where no row knows it.
        bad: bad requests.
        refused: those of them that were turned away.
        failed: those that failed or were given up.
    """

    phases: pl.DataFrame
    bad: int
    refused: int
    failed: int


def phase_excess(
    reader: Reader,
    scope: Scope,
    rule: GoodRule,
    start: datetime,
    end: datetime,
    who: tuple[str, str] | None = None,
) -> Excess:
    """Excess time of the bad requests of a stretch, by phase.

    Typical of a phase is its median over the good requests of the same stretch and the same `who`;
    the excess of a bad request is what its own phase took beyond that, never less than 0.

    Args:
        reader: the store.
        scope: sources and labels.
        rule: what makes a request good.
        start: aware, inclusive.
        end: aware, exclusive.
        who: a dimension of `slo_rolled.ALL_DIMENSIONS` and its value; None is everybody.
    """
    values: dict[str, Any] = {"start": naive_utc(start), "end": naive_utc(end)}
    labels = [labels_sql(scope_labels(scope), values, "scope")]
    labels.append(labels_sql(rule.labels, values, "match"))
    meant = "TRUE"
    if who is not None and who[0] in LABEL_COLUMNS:
        labels.append(labels_sql({who[0]: (who[1],)}, values, "who"))
    elif who is not None:
        meant, values["who"] = f"{_NUMBERS[who[0]]} = $who", int(who[1])
    phases = ", ".join(f"{PHASE_SQL[name]} AS {name}" for name in PHASES)
    typical = ", ".join(f"median({name}) FILTER (good) AS {name}" for name in PHASES)
    row = reader.frame(
        f"""WITH judged AS MATERIALIZED (
  SELECT {outcome_sql(rule, values, "rule")} AS good, r.status, {phases}
  FROM request AS r WHERE {source_sql(scope, rule)} AND {IS_COUNTED} AND {meant}
    AND r.arrived_at >= $start AND r.arrived_at < $end
    AND r.labels_id IN (SELECT labels_id FROM request_labels WHERE {" AND ".join(labels)})
), typical AS (SELECT {typical} FROM judged)
SELECT count(*) FILTER (NOT good) AS bad,
  count(*) FILTER (NOT good AND status = 'refused') AS refused,
  count(*) FILTER (NOT good AND status IN ('failed', 'aborted')) AS failed,
  {", ".join(_sums(name) for name in PHASES)}
FROM judged, typical""",
        **values,
    ).row(0, named=True)
    rows = [(name, *(row[f"{name}_{part}"] for part in _PARTS)) for name in PHASES]
    frame = pl.DataFrame(rows, schema=EXCESS_SCHEMA, orient="row")
    return Excess(frame, int(row["bad"]), int(row["refused"]), int(row["failed"]))


def _sums(name: str) -> str:
    phase, usual = f"judged.{name}", f"typical.{name}"
    return (
        f"any_value({usual}) AS {name}_typical, count({phase}) FILTER (good) AS {name}_good,"
        f" avg({phase}) FILTER (NOT good) AS {name}_mean,"
        f" count({phase}) FILTER (NOT good) AS {name}_bad,"
        f" sum(greatest({phase} - {usual}, 0)) FILTER (NOT good AND {phase} IS NOT NULL)"
        f" AS {name}_excess"
    )
