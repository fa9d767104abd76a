"""How much longer each phase of bad requests took than is typical of good ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from store.queries.phase_sql import PHASE_SQL, PHASES
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
        phases: columns of `EXCESS_SCHEMA`, a row for each that was asked for; null where no request
            knows it.
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
    *,
    phases: Collection[str] = tuple(PHASES),
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
        phases: which of `PHASES`; what is typical of one costs more than all the rest.
    """
    values: dict[str, Any] = {"start": naive_utc(start), "end": naive_utc(end)}
    labels = [labels_sql(scope_labels(scope), values, "scope")]
    labels.append(labels_sql(rule.labels, values, "match"))
    meant = "TRUE"
    if who is not None and who[0] in LABEL_COLUMNS:
        labels.append(labels_sql({who[0]: (who[1],)}, values, "who"))
    elif who is not None:
        meant, values["who"] = f"{_NUMBERS[who[0]]} = $who", int(who[1])
    asked = [name for name in PHASES if name in phases]
    taken = "".join(f", {PHASE_SQL[name]} AS {name}" for name in asked)
    row = reader.frame(
        f"""WITH judged AS {"MATERIALIZED" if asked else ""} (
  SELECT {outcome_sql(rule, values, "rule")} AS good, r.status{taken}
  FROM request AS r WHERE {source_sql(scope, rule)} AND {IS_COUNTED} AND {meant}
    AND r.arrived_at >= $start AND r.arrived_at < $end
    AND r.labels_id IN (SELECT labels_id FROM request_labels WHERE {" AND ".join(labels)})
){_compared(asked)}""",
        **values,
    ).row(0, named=True)
    rows = [(name, *(row[f"{name}_{part}"] for part in _PARTS)) for name in asked]
    frame = pl.DataFrame(rows, schema=EXCESS_SCHEMA, orient="row")
    return Excess(frame, int(row["bad"]), int(row["refused"]), int(row["failed"]))


_COUNTED = """count(*) AS bad, count(*) FILTER (status = 'refused') AS refused,
    count(*) FILTER (status IN ('failed', 'aborted')) AS failed"""


def _compared(asked: Sequence[str]) -> str:
    """What bad requests of `judged` are, and their phases beside what is typical of good ones."""
    if not asked:
        return f" SELECT {_COUNTED} FROM judged WHERE NOT good"
    return f""", typical AS (SELECT {", ".join(map(_typical, asked))} FROM judged WHERE good),
  spent AS (SELECT {", ".join([_COUNTED, *map(_sums, asked)])} FROM judged, typical WHERE NOT good)
SELECT * FROM typical, spent"""


def _typical(name: str) -> str:
    return f"median({name}) AS {name}_typical, count({name}) AS {name}_good"


def _sums(name: str) -> str:
    return (
        f"avg(judged.{name}) AS {name}_mean, count(judged.{name}) AS {name}_bad,"
        f" sum(greatest(judged.{name} - typical.{name}_typical, 0))"
        f" FILTER (judged.{name} IS NOT NULL) AS {name}_excess"
    )
