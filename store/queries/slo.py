"""Counting good and bad requests: one scan for any number of objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from store.queries.log_bins import log_bin_sql
from store.queries.scope import IS_COUNTED, Scope
from store.queries.workload import FrameReader
from store.reader import Reader, Snapshot

# Published without a status, so that every row reads as a success.
FORMATS_WITHOUT_FAILURES = ("azure", "mooncake")
LABEL_COLUMNS = ("model", "tenant", "route", "instance", "slo_class")
# log2 of the input length, rounded down; an unknown length has none.
OCTAVE_SQL = (
    "CASE WHEN r.input_tokens IS NOT NULL"
    " THEN CAST(floor(log2(greatest(r.input_tokens, 1))) AS INTEGER) END"
)
COUNTS_SCHEMA: dict[str, Any] = {
    "rule": pl.Int64,
    "bin": pl.Int64,
    "good": pl.Int64,
    "bad": pl.Int64,
    "undetermined": pl.Int64,
    "measured": pl.Int64,
}


@dataclass(frozen=True, slots=True)
class GoodRule:
    """What makes a request good, and which requests are meant.

    Attributes:
        limits_seconds: request column -> largest good value; empty asks for success alone.
        labels: label column -> accepted values; a missing column accepts all.
        source_ids: sources that are meant; empty means all in scope.
        count_aborted: whether an aborted request is bad (else it is undetermined).
    """

    limits_seconds: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source_ids: tuple[int, ...] = ()
    count_aborted: bool = True


def naive_utc(at: datetime) -> datetime:
    """How DuckDB keeps a time: naive, in UTC; a naive one is that already."""
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at


def outcome_sql(rule: GoodRule, values: dict[str, Any], name: str) -> str:
    """SQL that is TRUE for a good request, FALSE for a bad one and NULL for an undetermined one.

    A request that broke one limit is bad even when another quantity was not recorded.

    Args:
        rule: what makes a request good.
        values: receives the query parameters.
        name: unique prefix of those parameters.
    """
    parts = []
    for column, limit in rule.limits_seconds.items():
        values[f"{name}_{column}"] = limit
        parts.append(f"r.{column} <= ${name}_{column}")
    good = f"(r.status = 'ok' AND {' AND '.join(parts)})" if parts else "(r.status = 'ok')"
    if rule.count_aborted:
        return good
    return f"CASE WHEN r.status = 'aborted' THEN NULL ELSE {good} END"


def counts(
    reader: Reader | Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    start: datetime,
    end: datetime,
    width_seconds: int,
    *,
    anchor: datetime | None = None,
) -> pl.DataFrame:
    """Good, bad and undetermined requests per rule and bin, in one scan.

    Bin 0 is the one that ends at `anchor`; bin k covers [anchor - (k+1) width, anchor - k width).

    Args:
        reader: the store.
        scope: sources and labels; its own time range is not used.
        rules: the objectives.
        start: aware, inclusive.
        end: aware, exclusive.
        width_seconds: > 0.
        anchor: where bin 0 ends; `end` when None.

    Returns:
        rule, bin, good, bad, undetermined, measured (successful requests whose quantities are
        known); bins without requests are absent. Sorted by rule and bin.
    """
    if not rules:
        return pl.DataFrame(schema=COUNTS_SCHEMA)
    values: dict[str, Any] = {"anchor": naive_utc(anchor or end)}
    width_us = int(width_seconds * 1_000_000)
    bins = f"(epoch_us($anchor) - epoch_us(r.arrived_at) - 1) // {width_us}"
    wide = counted_by(reader, scope, rules, [(start, end)], {"bin": bins}, values)
    return _long(wide.lazy(), len(rules), ("bin",)).collect().sort("rule", "bin")


def counted_by(
    reader: Reader | Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    spans: Sequence[tuple[datetime, datetime]],
    keys: Mapping[str, str],
    values: dict[str, Any],
) -> pl.DataFrame:
    """Requests of several stretches (aware or naive UTC, half open, apart) by keys, in no order.

    Args:
        reader: the store.
        scope: sources and labels.
        rules: the objectives; at least one.
        spans: the stretches; at least one.
        keys: name -> SQL of a whole number, over rows `r` of `request`.
        values: parameters of the keys.

    Returns:
        The keys; good, bad, undetermined and measured of each rule, with its number behind.
    """
    named = ", ".join(f"{sql} AS {name}" for name, sql in keys.items())
    return reader.frame(
        f"""{_labels_cte(scope, rules, values)}SELECT {", ".join(keys)}, {_count_columns(rules)}
        FROM (SELECT {named},
          {_judged_columns(rules, values)}
        FROM {_rows_sql(scope, spans, values)}{_labels_join(scope, rules)})
        GROUP BY {", ".join(keys)}""",
        **values,
    )


def _rows_sql(
    scope: Scope, spans: Sequence[tuple[datetime, datetime]], values: dict[str, Any]
) -> str:
    """The requests of all stretches as one relation `r`: one query costs less than one for each."""
    parts = []
    for number, (start, end) in enumerate(spans):
        values |= {f"start{number}": naive_utc(start), f"end{number}": naive_utc(end)}
        parts.append(
            f"SELECT * FROM request AS r WHERE {source_sql(scope)}"
            f" AND r.arrived_at >= $start{number} AND r.arrived_at < $end{number} AND {IS_COUNTED}"
        )
    return f"({' UNION ALL '.join(parts)}) AS r"


def _judged_columns(rules: Sequence[GoodRule], values: dict[str, Any]) -> str:
    """What each request is to each rule, worked out once: 1 good, 0 bad, NULL neither."""
    judged = ["r.status = 'ok' AS succeeded"]
    for index, rule in enumerate(rules):
        meant = _meant_sql(rule, index)
        outcome = f"CAST({outcome_sql(rule, values, f'rule{index}')} AS TINYINT)"
        judged.append(f"CAST({meant} AS TINYINT) AS counts{index}")
        judged.append(f"CASE WHEN {meant} THEN {outcome} END AS outcome{index}")
    return ",\n  ".join(judged)


def _count_columns(rules: Sequence[GoodRule]) -> str:
    """The counts of every rule over the rows of `_judged_columns`; filters take twice as long."""
    counted = {
        "good": "coalesce(sum(outcome{n}), 0)",
        "bad": "count(outcome{n}) - coalesce(sum(outcome{n}), 0)",
        "undetermined": "coalesce(sum(counts{n}), 0) - count(outcome{n})",
        "measured": "count(CASE WHEN succeeded THEN outcome{n} END)",
    }
    return ",\n  ".join(
        f"CAST({text.format(n=index)} AS BIGINT) AS {name}{index}"
        for index in range(len(rules))
        for name, text in counted.items()
    )


def _long(wide: pl.LazyFrame, rules: int, keys: tuple[str, ...]) -> pl.LazyFrame:
    parts = [
        wide.select(
            pl.lit(index, pl.Int64).alias("rule"),
            *keys,
            *(
                pl.col(f"{name}{index}").cast(pl.Int64).alias(name)
                for name in ("good", "bad", "undetermined", "measured")
            ),
        )
        for index in range(rules)
    ]
    came = pl.col("good") + pl.col("bad") + pl.col("undetermined") > 0
    return pl.concat(parts).filter(came)


SPENDER_KEYS = ("model", "tenant", "route", "instance", "input_octave", "hour")


def spenders(
    reader: Reader | Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    spans: Sequence[tuple[datetime, datetime]],
    *,
    labels_only: bool = False,
) -> pl.LazyFrame:
    """Requests by outcome and by everything that may explain it, in one scan for all rules.

    Args:
        reader: the store.
        scope: sources and labels.
        rules: the objectives; at least one.
        spans: stretches of time, aware or naive UTC, half open, apart; at least one.
        labels_only: leave input_octave and hour null, which makes it cheaper.

    Returns:
        rule, model, tenant, route, instance, input_octave (log2 of input tokens, rounded down),
        hour (0-23), good, bad, undetermined, measured.
    """
    values: dict[str, Any] = {}
    octave, hour = ("NULL", "NULL") if labels_only else (OCTAVE_SQL, "hour(r.arrived_at)")
    meant = _labels_cte(scope, rules, values)
    wide = reader.frame(
        f"""{f"{meant}, " if meant else "WITH "}
        c AS (SELECT labels_id, input_octave, hour, {_count_columns(rules)}
        FROM (SELECT r.labels_id, {octave} AS input_octave, {hour} AS hour,
          {_judged_columns(rules, values)}
        FROM {_rows_sql(scope, spans, values)}{_labels_join(scope, rules)})
        GROUP BY ALL)
        SELECT l.model, l.tenant, l.route, l.instance, c.* EXCLUDE (labels_id)
        FROM c JOIN request_labels AS l USING (labels_id)""",
        **values,
    )
    return _long(wide.lazy(), len(rules), SPENDER_KEYS)


def threshold_bins(
    reader: Reader, scope: Scope, rule: GoodRule, column: str, start: datetime, end: datetime
) -> pl.DataFrame:
    """How many requests would be good for every threshold of one quantity, others held.

    Args:
        reader: the store.
        scope: sources and labels.
        rule: the objective; its limit on `column` is left open.
        column: one of the keys of `rule.limits_seconds`.
        start: aware, inclusive.
        end: aware, exclusive.

    Returns:
        log_bin, requests: good requests if only `column` did not matter, by its log bin; sorted.
    """
    values: dict[str, Any] = {"start": naive_utc(start), "end": naive_utc(end)}
    others = {key: limit for key, limit in rule.limits_seconds.items() if key != column}
    open_rule = GoodRule(others, rule.labels, rule.source_ids, rule.count_aborted)
    sql = (
        f"SELECT {log_bin_sql(f'r.{column}')} AS log_bin, count(*) AS requests\n"
        f"FROM request AS r\nWHERE {source_sql(scope, rule)}"
        f" AND r.arrived_at >= $start AND r.arrived_at < $end AND {IS_COUNTED}\n"
        f"{_labels_in(scope, rule, values)}"
        f"AND r.{column} IS NOT NULL AND {outcome_sql(open_rule, values, 'rule0')}\n"
        "GROUP BY log_bin ORDER BY log_bin"
    )
    return reader.frame(sql, **values)


def source_sql(scope: Scope, rule: GoodRule | None = None) -> str:
    """SQL condition on `r.source_id`; the ids are our own small integers."""
    chosen = scope.source_ids
    if rule is not None and rule.source_ids:
        chosen = tuple(number for number in chosen if number in rule.source_ids)
    if not chosen:
        return "FALSE"
    return f"r.source_id IN ({', '.join(str(int(number)) for number in chosen)})"


def scope_labels(scope: Scope) -> dict[str, tuple[str, ...]]:
    """The label filters of a scope that say anything, by column."""
    given = {
        "model": scope.models,
        "tenant": scope.tenants,
        "route": scope.routes,
        "instance": scope.instances,
    }
    return {column: accepted for column, accepted in given.items() if accepted}


def labels_sql(labels: Mapping[str, tuple[str, ...]], values: dict[str, Any], name: str) -> str:
    """SQL condition on a row of `request_labels`; a NULL label never matches.

    Args:
        labels: column -> accepted values; columns are checked against `LABEL_COLUMNS`.
        values: receives the query parameters.
        name: unique prefix of those parameters.
    """
    parts = []
    for column, accepted in labels.items():
        if column not in LABEL_COLUMNS:
            raise ValueError(f"{column} is not a label")
        values[f"{name}_{column}"] = list(accepted)
        parts.append(f"coalesce(list_contains(${name}_{column}, {column}), FALSE)")
    return " AND ".join(parts) or "TRUE"


def _labels_in(scope: Scope, rule: GoodRule, values: dict[str, Any]) -> str:
    if not scope_labels(scope) and not rule.labels:
        return ""
    in_scope = labels_sql(scope_labels(scope), values, "scope")
    meant = labels_sql(rule.labels, values, "match")
    return (
        f"AND r.labels_id IN (SELECT labels_id FROM request_labels WHERE {in_scope} AND {meant})\n"
    )


def _labels_cte(scope: Scope, rules: Sequence[GoodRule], values: dict[str, Any]) -> str:
    """One flag a rule, computed once per combination of labels instead of once per request."""
    if not _labels_join(scope, rules):
        return ""
    flags = [
        f"{labels_sql(rule.labels, values, f'match{index}')} AS meant{index}"
        for index, rule in enumerate(rules)
    ]
    in_scope = labels_sql(scope_labels(scope), values, "scope")
    if all(rule.labels for rule in rules):
        # Requests that no rule is about need not be looked at.
        asked = (labels_sql(rule.labels, values, f"match{i}") for i, rule in enumerate(rules))
        in_scope += f" AND ({' OR '.join(asked)})"
    return (
        f"WITH meant AS (SELECT labels_id, {', '.join(flags)}\n"
        f"  FROM request_labels WHERE {in_scope})\n"
    )


def _labels_join(scope: Scope, rules: Sequence[GoodRule]) -> str:
    if not scope_labels(scope) and not any(rule.labels for rule in rules):
        return ""
    return " JOIN meant USING (labels_id)"


def _meant_sql(rule: GoodRule, index: int) -> str:
    parts = [f"meant{index}"] if rule.labels else []
    if rule.source_ids:
        parts.append(f"r.source_id IN ({', '.join(str(int(n)) for n in rule.source_ids)})")
    return " AND ".join(parts) or "TRUE"


def without_failures(reader: FrameReader, source_ids: Sequence[int]) -> bool:
    """Whether none of these sources can tell failed requests: their formats record none."""
    found = reader.frame(
        "SELECT format FROM source WHERE list_contains($ids, source_id)", ids=list(source_ids)
    )["format"].to_list()
    return bool(found) and all(name in FORMATS_WITHOUT_FAILURES for name in found)


def has_requests(reader: Reader, source_id: int) -> bool:
    """Whether a source holds any request row at all."""
    asked = "SELECT EXISTS (SELECT 1 FROM request WHERE source_id = $source_id)"
    return bool(reader.scalar(asked, source_id=source_id))


def source_ids(reader: Reader) -> dict[str, int]:
    """Source name -> source id, without touching the requests."""
    frame = reader.frame("SELECT name, source_id FROM source")
    return dict(zip(frame["name"].to_list(), frame["source_id"].to_list(), strict=True))
