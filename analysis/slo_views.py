"""The SLO pages: the list, and everything about one objective."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl

from analysis import plain_sql, slo_ahead, slo_frames
from analysis.emptiness import why_empty
from analysis.measure import Empty, Measure, View
from analysis.slo import STATUS_ORDER, SloStatus, check, status_of
from analysis.slo_charted import count_charted
from analysis.slo_counting import applicable, good_rule
from analysis.slo_model import Slo, short_window
from analysis.slo_window import window_of
from analysis.slo_words import period_told
from store.errors import InputError
from store.nearest import nearest_hint
from store.queries import rollup, slo_rolled
from store.queries import slo as slo_queries
from store.queries.scope import Scope
from store.queries.slo import GoodRule
from store.reader import Reader

SLOS_SCHEMA: dict[str, Any] = {
    "name": pl.String,
    "kind": pl.String,
    "objective_text": pl.String,
    "target_ratio": pl.Float64,
    "window_seconds": pl.Float64,
    "window": pl.String,
    "window_start_at": pl.Datetime("us"),
    "resets_at": pl.Datetime("us"),
    "expected": pl.Int64,
    "attempted": pl.Int64,
    "good": pl.Int64,
    "bad": pl.Int64,
    "undetermined": pl.Int64,
    "attainment_ratio": pl.Float64,
    "attainment_low": pl.Float64,
    "attainment_high": pl.Float64,
    "budget_left_ratio": pl.Float64,
    "burn_1h": pl.Float64,
    "burn_6h": pl.Float64,
    "exhausted_at": pl.Datetime("us"),
    "status": pl.String,
    "why": pl.String,
    "attainment_of_successful_ratio": pl.Float64,
    "basis": pl.String,
}


def slo_list(reader: Reader, scope: Scope, *, slos: Sequence[Slo], over: str = "") -> View:
    """Every SLO of the scope's sources, the one that runs out first at the top.

    Frames: `slos` (columns of `SLOS_SCHEMA`). Budgets are those of each SLO's own window ending at
    `scope.end`; the visible range plays no part, unless `over` is "range": then each is judged as
    if its window were that range, for reports on a period.

    Raises:
        InputError: `over` is something else.
    """
    slos = _judged_over(slos, scope, over)
    statuses = sorted(check(reader, slos, scope), key=urgency)
    frame = pl.DataFrame([status_row(item) for item in statuses], schema=SLOS_SCHEMA)
    sentences = [verdict(item) for item in statuses if item.status != "healthy"]
    if not slos:
        sentences.append(
            "No SLO is defined yet: write one in slo.toml, `servescope slo lint` checks it."
        )
    elif not statuses:
        sentences.append(f"None of the {len(slos)} SLOs is about the sources shown.")
    elif not sentences:
        sentences.append(f"All {len(statuses)} SLOs are healthy.")
    sentences += _filter_note(scope)
    empty = why_empty(reader, scope) if all(s.status == "no data" for s in statuses) else None
    return View("slo_list", scope, frames={"slos": frame}, sentences=tuple(sentences), empty=empty)


def slo_detail(
    reader: Reader, scope: Scope, *, slos: Sequence[Slo], slo: str = "", over: str = ""
) -> View:
    """Everything about one SLO; `over` as of `slo_list`.

    Measures: attainment_ratio, attainment_of_successful_ratio, budget_left_ratio, burn_1h, burn_6h.
    Frames: `slos` (its row of the list), `budget`, `burn`, `events`, `alerts`, `spent_by`,
    `threshold_curve`; columns in `analysis.slo_frames`, those of `budget` in `analysis.slo_ahead`.

    Raises:
        InputError: no SLO has this name, it is not about these sources, or `over` is no word of
            ours.
    """
    ids = slo_queries.source_ids(reader)
    chosen = _named(reader, _judged_over(slos, scope, over), scope, slo, ids)
    rule = good_rule(chosen, ids)
    start = window_of(chosen, scope.end).start
    # What explains it is counted beside the rest: each leaves a processor idle in turns.
    with ThreadPoolExecutor(1) as beside:
        spent = beside.submit(slo_rolled.spent, reader, scope, [rule], start, scope.end)
        curve = beside.submit(threshold_bins, reader, chosen, rule, scope, start)
        counted = count_charted(reader, chosen, rule, scope)
    status = status_of(chosen, counted.own)
    budget = slo_frames.budget(chosen, counted.own)
    frames = {
        "slos": pl.DataFrame([status_row(status)], schema=SLOS_SCHEMA),
        "budget": slo_ahead.projected(budget, status, scope.end),
        "burn": slo_frames.burn(chosen, counted.charts, scope),
        "events": counted.events,
        "alerts": slo_frames.alerts(chosen, counted.own, status),
    }
    sql: dict[str, str] = {}
    if status.basis == "requests" and not counted.own.is_uncounted:
        frames["spent_by"] = slo_frames.spent_by(spent.result())
        frames["threshold_curve"] = _curve(status, curve.result())
        sql = _plain_sql(chosen, scope)
    else:
        frames["spent_by"] = pl.DataFrame(schema=slo_frames.SPENT_BY_SCHEMA)
        frames["threshold_curve"] = pl.DataFrame(schema=slo_frames.CURVE_SCHEMA)
    told = (verdict(status), *period_told(status))
    sentences = (*told, *contributor(frames["spent_by"]), *_filter_note(scope))
    empty = None
    if status.status == "no data":
        frames |= {name: _unknown(frames[name]) for name in ("budget", "burn")}
        empty = why_empty(reader, scope) or Empty("metric_absent", f"No data: {status.why}.")
    return View("slo_detail", scope, _measures(status), frames, sentences, empty, sql)


def _unknown(frame: pl.DataFrame) -> pl.DataFrame:
    """The same times without a value: nothing that can be judged is not nothing burnt."""
    names = [name for name in frame.columns if name != "at"]
    return frame.with_columns(pl.lit(None, pl.Float64).alias(name) for name in names)


def urgency(status: SloStatus) -> tuple[int, float, float]:
    """Sort key: worst status first, then time to exhaustion, then budget left."""
    end = status.exhausted_at.timestamp() if status.exhausted_at else math.inf
    left = status.budget_left_ratio
    return STATUS_ORDER.index(status.status), end, math.inf if left is None else left


def status_row(status: SloStatus) -> dict[str, Any]:
    """One row of the `slos` frame."""
    exact = status.tally.exact and status.status != "no data"
    return {
        "name": status.slo.name,
        "kind": status.slo.kind,
        "objective_text": status.slo.objective_text,
        "target_ratio": status.slo.target_ratio,
        "window_seconds": status.slo.window_seconds,
        "window": status.slo.window_text,
        "window_start_at": _naive(status.window.start),
        "resets_at": _naive(status.window.resets_at),
        "expected": None if status.expected is None else round(status.expected),
        "attempted": round(status.tally.attempted),
        "good": round(status.tally.good_low) if exact else None,
        "bad": round(status.tally.bad_low) if exact else None,
        "undetermined": round(status.tally.undetermined),
        "attainment_ratio": status.attainment_ratio,
        "attainment_low": status.attainment_low,
        "attainment_high": status.attainment_high,
        "budget_left_ratio": status.budget_left_ratio,
        "burn_1h": status.burn_1h,
        "burn_6h": status.burn_6h,
        "exhausted_at": _naive(status.exhausted_at),
        "status": status.status,
        "why": status.why,
        "attainment_of_successful_ratio": status.attainment_of_successful_ratio,
        "basis": status.basis,
    }


def verdict(status: SloStatus) -> str:
    """Where one SLO stands, as a sentence that starts with its name."""
    slo, parts = status.slo, []
    if status.attainment_ratio is not None:
        parts.append(
            f"{status.attainment_ratio * 100:.4g} % of {status.tally.attempted:,.0f} attempted"
            f" requests were good in {slo.window_text}"
            f" (target {slo.target_ratio * 100:.6g} %)"
        )
    elif status.attainment_low is not None and status.attainment_high is not None:
        parts.append(
            f"between {status.attainment_low * 100:.4g} and {status.attainment_high * 100:.4g} %"
            f" were good (target {slo.target_ratio * 100:.6g} %)"
        )
    if status.burn_1h is not None and status.burn_1h > 1:
        parts.append(f"it burned at {status.burn_1h:.3g}x in the last hour")
    if status.status == "no data":
        return f"{slo.name}: no data, {status.why}."
    return f"{slo.name} is {_word(status.status)}: {'; '.join([*parts, status.why])}."


def _word(status: str) -> str:
    return {"watch": "to be watched", "too few events": "undecided"}.get(status, status)


def _judged_over(slos: Sequence[Slo], scope: Scope, over: str) -> Sequence[Slo]:
    """The SLOs as they are, or with the scope's range in place of their windows."""
    if over not in ("", "range"):
        raise InputError(f"an SLO cannot be judged over '{over[:40]}'", hint="over=range")
    if not over:
        return slos
    return [replace(slo, window_seconds=scope.seconds, calendar=None) for slo in slos]


def _named(
    reader: Reader, slos: Sequence[Slo], scope: Scope, name: str, ids: Mapping[str, int]
) -> Slo:
    for slo in slos:
        if slo.name == name:
            if not applicable(reader, [slo], scope, ids):
                about = ", ".join(slo.match.sources)
                raise InputError(
                    f"the SLO '{name}' is about {about}, which is not shown",
                    hint=f"choose source={about}",
                )
            return slo
    names = [slo.name for slo in slos]
    hint = nearest_hint(name, names) if names else "none is defined; write slo.toml"
    raise InputError(f"no SLO is called '{name}'" if name else "which SLO?", hint=hint)


def _curve(status: SloStatus, found: pl.DataFrame | None) -> pl.DataFrame:
    """Attainment against the first threshold of the SLO, its other ones held."""
    if found is None:
        return pl.DataFrame(schema=slo_frames.CURVE_SCHEMA)
    column = next(iter(status.slo.limits_seconds))
    return slo_frames.threshold_curve(status.slo, status, column, found)


def _plain_sql(slo: Slo, scope: Scope) -> dict[str, str]:
    """The query behind each table, as people can paste it."""
    window = replace(scope, start=window_of(slo, scope.end).start)
    five_minutes = "time_bucket(INTERVAL 5 MINUTES, arrived_at)"
    queries = {
        "budget": plain_sql.slo_by(slo, window, five_minutes),
        "burn": plain_sql.slo_by(slo, window, five_minutes),
        "events": plain_sql.slo_by(slo, scope, five_minutes),
        "alerts": plain_sql.slo_by(slo, window, five_minutes),
        "spent_by": plain_sql.slo_by(slo, window, "coalesce(model, route, source)"),
    }
    for column in list(slo.limits_seconds)[:1]:
        queries["threshold_curve"] = plain_sql.slo_by(slo, window, f"round({column}, 2)")
    return queries


def threshold_bins(
    reader: Reader, slo: Slo, rule: GoodRule, scope: Scope, start: datetime
) -> pl.DataFrame | None:
    """Successful requests by the log bin of the SLO's first quantity, from roll-ups where they do.

    None where it has no threshold. The ordinary roll-ups know models and routes, so they answer for
    one limit and no other label.
    """
    if not slo.limits_seconds:
        return None
    column = next(iter(slo.limits_seconds))
    rolled = len(slo.limits_seconds) == 1 and not slo.match.tenants and not slo.match.classes
    twice = (slo.match.models and scope.models) or (slo.match.routes and scope.routes)
    if not rolled or scope.instances or twice:
        return slo_queries.threshold_bins(reader, scope, rule, column, start, scope.end)
    sources = tuple(n for n in scope.source_ids if not rule.source_ids or n in rule.source_ids)
    window = replace(
        scope,
        source_ids=sources,
        start=start,
        models=slo.match.models or scope.models,
        routes=slo.match.routes or scope.routes,
    )
    found = rollup.counts(reader, window, [column.removesuffix("_seconds")], None)
    return (
        found.filter(pl.col("status") == "ok")
        .group_by("log_bin")
        .agg(pl.col("requests").sum())
        .sort("log_bin")
    )


def contributor(spent: pl.DataFrame, when: str = "") -> list[str]:
    """Who spent the budget out of proportion, if anybody did, as a sentence.

    At least 20 bad requests and 1.5 times the share of the traffic.
    """
    row = stands_out(spent)
    if row is None:
        return []
    return [
        f"{row['bad_share_ratio'] * 100:.0f} % of the bad requests{when} are"
        f" {called(row['dimension'], row['value'])},"
        f" which is {row['traffic_share_ratio'] * 100:.0f} % of the traffic."
    ]


def stands_out(spent: pl.DataFrame) -> dict[str, Any] | None:
    """The row of `spent_by` that explains most of the bad requests; None where none does."""
    explains = spent.filter(
        (pl.col("bad") >= 20)
        & (pl.col("over_representation") >= 1.5)
        # That a label is missing explains nothing.
        & (pl.col("value") != slo_frames.UNLABELLED)
    ).sort("bad_share_ratio", descending=True, maintain_order=True)
    return None if explains.is_empty() else explains.row(0, named=True)


def called(dimension: str, value: str) -> str:
    """A value of a dimension of `spent_by` in a sentence."""
    names = {"hour": f"from {value}", "input_tokens": f"those of {value} input tokens"}
    return names.get(dimension, f"{dimension} {value}")


def _filter_note(scope: Scope) -> list[str]:
    if not slo_queries.scope_labels(scope):
        return []
    chosen = "; ".join(f"{k} {', '.join(v)}" for k, v in slo_queries.scope_labels(scope).items())
    return [f"Only {chosen}: budgets are those of this part, not of the whole SLO."]


def _measures(status: SloStatus) -> dict[str, Measure]:
    tally = status.tally
    why = status.why if status.attainment_ratio is None else None
    events = round(tally.attempted)
    return {
        "attainment_ratio": Measure(
            status.attainment_ratio,
            "ratio",
            status.attainment_low,
            status.attainment_high,
            events,
            why,
        ),
        "attainment_of_successful_ratio": Measure(
            status.attainment_of_successful_ratio, "ratio", n=round(tally.measured), why=why
        ),
        "budget_left_ratio": Measure(status.budget_left_ratio, "ratio", n=events, why=why),
        "burn_1h": Measure(
            status.burn_1h, "x", why=why or _why_no_burn(status, status.burn_1h, 3600)
        ),
        "burn_6h": Measure(
            status.burn_6h, "x", why=why or _why_no_burn(status, status.burn_6h, 6 * 3600)
        ),
    }


def _why_no_burn(status: SloStatus, burn: float | None, seconds: float) -> str | None:
    if burn is not None:
        return None
    if seconds > status.slo.window_seconds:
        return f"the SLO's window is only {short_window(status.slo.window_seconds)}"
    return f"no request in the last {short_window(seconds)}"


def _naive(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=None) if at is not None else None
