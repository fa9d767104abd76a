"""Latency: how one quantity is distributed over time, and by model or instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from analysis import anatomy_scraped as scraped
from analysis import anatomy_sql
from analysis.emptiness import why_empty
from analysis.histograms import quantile_interval
from analysis.latency import several_quantiles
from analysis.measure import Empty, Measure, View
from analysis.slo_model import Slo
from store.errors import InputError
from store.queries import anatomy as queries
from store.queries import rollup, telemetry
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader
from store.units import seconds_text

QUANTITIES = tuple(queries.QUANTITIES)
ROLLED = ("e2e", "ttft", "tpot", "queue")
BY = ("model", "instance")
# The heat map is drawn in four bins to the octave: sixteen would be thinner than a pixel.
BINS_TO_A_CELL = 4
MOST_SERIES = 8
OBJECTIVES_SCHEMA: dict[str, Any] = {"name": pl.String, "threshold_seconds": pl.Float64}
TILES = (
    ("e2e", ("p50", "p95", "p99")),
    ("ttft", ("p50", "p95")),
    ("tpot", ("p50", "p95")),
    ("queue", ("p95",)),
)


def latency(
    reader: Reader, scope: Scope, *, slos: Sequence[Slo] = (), quantity: str = "", by: str = ""
) -> View:
    """How one latency is spread over time, and how models or instances differ in it.

    Options: `quantity` (e2e, ttft, tpot, queue, prefill, decode; the first that is known when not
    given) and `by` (model or instance).

    Measures: `<quantity>_<p50|p95|p99>_seconds` of `TILES`. Frames: `heatmap` (at, low_seconds,
    high_seconds, requests), `quantiles` (at, p50, p95, p99 with their intervals), `ecdf` (series,
    seconds, share_low, share_high, requests), `objectives` (name, threshold_seconds), `shown`
    (quantity, by, basis).

    Raises:
        InputError: another quantity or label.
    """
    _check(quantity, QUANTITIES, "quantity")
    _check(by, BY, "by")
    grouped = by or "model"
    counts = _whole(reader, scope, grouped)
    chosen = quantity or _first_known(counts)
    frames, basis = _from_rows(reader, scope, chosen or "e2e", grouped, counts), "requests"
    measures = _measures(counts)
    if frames["heatmap"].is_empty():
        basis = "buckets"
        chosen = quantity or _first_scraped(reader, scope) or "e2e"
        frames, measures = _from_scrapes(reader, scope, chosen, grouped, measures)
    frames |= {
        "objectives": objectives(slos, scope, chosen or "e2e"),
        "shown": pl.DataFrame({"quantity": [chosen or "e2e"], "by": [grouped], "basis": [basis]}),
    }
    # A latency that is not known here is one card's matter while another is.
    nothing = frames["heatmap"].is_empty() and not any(map(_is_known, measures.values()))
    empty = _why_empty(reader, scope, chosen or "e2e") if nothing else None
    column = queries.QUANTITIES[chosen or "e2e"]
    width = scope.bin_seconds()
    sql = {
        "heatmap": anatomy_sql.quantiles(scope, column, width),
        "ecdf": anatomy_sql.ecdf(scope, column, grouped),
    }
    return View(
        "latency", scope, measures=measures, frames=frames,
        sentences=_sentences(measures, basis) if empty is None else (),
        empty=empty, sql=sql if basis == "requests" else {},
    )  # fmt: skip


def _check(value: str, known: Sequence[str], option: str) -> None:
    if value and value not in known:
        raise InputError(f"there is no {option} '{value}'", hint=f"one of: {', '.join(known)}")


def _whole(reader: Reader, scope: Scope, by: str) -> pl.DataFrame:
    """Counts of the whole range; by model too where the roll-up that is read knows it."""
    label: rollup.Label | None = "model" if by == "model" and not scope.tenants else None
    return _ok(rollup.counts(reader, scope, ROLLED, None, by=label))


def _ok(counts: pl.DataFrame) -> pl.DataFrame:
    """Successful requests; a failed one has no latency to speak of."""
    return counts.filter(pl.col("status") == "ok")


def _first_known(counts: pl.DataFrame) -> str | None:
    known = set(counts["quantity"].unique().to_list())
    return next((name for name in ROLLED if name in known), None)


def _measures(counts: pl.DataFrame) -> dict[str, Measure]:
    known = several_quantiles(counts, scraped.QUANTILES, "quantity")
    rows = {row["quantity"]: row for row in known.iter_rows(named=True)}
    found = {}
    for name, wanted in TILES:
        row = rows.get(name)
        why = f"no row carries {queries.QUANTITIES[name]}"
        for seconds in (f"{label}_seconds" for label in wanted):
            found[f"{name}_{seconds}"] = (
                Measure(row[seconds], "s", n=row["requests"])
                if row
                else Measure(None, "s", why=why)
            )
    return found


def _from_rows(
    reader: Reader, scope: Scope, quantity: str, by: str, whole: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    width = scope.bin_seconds()
    if quantity in ROLLED:
        timed = _ok(rollup.counts(reader, scope, [quantity], width))
    else:
        timed = queries.log_counts_by_time(reader, scope, quantity, width)
    if timed.is_empty():
        return {
            "heatmap": pl.DataFrame(schema=scraped.HEATMAP_SCHEMA),
            "quantiles": pl.DataFrame(schema=scraped.QUANTILES_SCHEMA),
            "ecdf": pl.DataFrame(schema=scraped.ECDF_SCHEMA),
        }
    if quantity in ROLLED and by in whole.columns:
        labelled = whole.filter(pl.col("quantity") == quantity)
    else:
        labelled = queries.log_counts_by_labels(reader, scope, quantity)
    return {
        "heatmap": heatmap(timed),
        "quantiles": quantiles_over_time(timed),
        "ecdf": ecdf(_series(labelled, by)),
    }


def _series(found: pl.DataFrame, by: str) -> pl.DataFrame:
    """series, log_bin, requests."""
    named = found.with_columns(series=pl.col(by).fill_null(f"{by} unknown"))
    return named.group_by("series", "log_bin").agg(pl.col("requests").sum())


def heatmap(timed: pl.DataFrame) -> pl.DataFrame:
    """Counts by time and cell of four bins, from counts by logarithmic bin."""
    cell = pl.col("log_bin").floordiv(BINS_TO_A_CELL)
    edge = 2.0 ** (1 / 16 * BINS_TO_A_CELL)
    return (
        timed.group_by("at", cell.alias("cell"))
        .agg(pl.col("requests").sum().cast(pl.Float64))
        .select(
            "at",
            low_seconds=pl.lit(edge).pow(pl.col("cell")),
            high_seconds=pl.lit(edge).pow(pl.col("cell") + 1),
            requests="requests",
        )
        .sort("at", "low_seconds")
    )


def quantiles_over_time(timed: pl.DataFrame) -> pl.DataFrame:
    """p50, p95 and p99 of each time bin, read at the middle of their log bin; low = high."""
    found = several_quantiles(timed, scraped.QUANTILES, "at")
    ends = (f"{name}_seconds" for name in scraped.QUANTILES)
    return found.with_columns(
        pl.col("requests").cast(pl.Float64),
        *(pl.col(name).alias(f"{name}_{side}") for name in ends for side in ("low", "high")),
    ).select(*scraped.QUANTILES_SCHEMA)


def ecdf(counts: pl.DataFrame) -> pl.DataFrame:
    """Share of the requests up to each bin's end, the largest series first.

    Args:
        counts: series, log_bin, requests.
    """
    totals = counts.group_by("series").agg(total=pl.col("requests").sum())
    order = totals.sort("total", "series", descending=[True, False]).head(MOST_SERIES)
    ranked = (
        counts.join(order, on="series")
        .sort("series", "log_bin")
        .with_columns(share=pl.col("requests").cum_sum().over("series") / pl.col("total"))
    )
    return ranked.sort("total", "series", "log_bin", descending=[True, False, False]).select(
        "series",
        seconds=pl.lit(2.0).pow((pl.col("log_bin") + 1) / 16),
        share_low="share",
        share_high="share",
        requests=pl.col("total").cast(pl.Float64),
    )


_UNTOLD = "no request row tells it, and no engine here shows a histogram of it"


def _from_scrapes(
    reader: Reader, scope: Scope, quantity: str, by: str, known: dict[str, Measure]
) -> tuple[dict[str, pl.DataFrame], dict[str, Measure]]:
    width = scope.bin_seconds()
    signals = [f"{name}_seconds" for name in QUANTITIES]
    everything = scraped.observations(reader, scope, signals, width)
    found = [pair for pair in everything if pair[1].signal == f"{quantity}_seconds"]
    frames = {
        "heatmap": scraped.heatmap(found, scope, width),
        "quantiles": scraped.quantiles_over_time(found, scope, width),
        "ecdf": scraped.ecdf(found, by),
    }
    untold = {
        name: measure if _is_known(measure) else replace(measure, why=_UNTOLD)
        for name, measure in known.items()
    }
    return frames, {**untold, **_interval_measures(everything)}


def _interval_measures(everything: Sequence[tuple[str, Any]]) -> dict[str, Measure]:
    found = {}
    for name, wanted in TILES:
        histogram = scraped.whole(p for p in everything if p[1].signal == f"{name}_seconds")
        if histogram is None:
            continue
        for label in wanted:
            interval = quantile_interval(histogram, scraped.QUANTILES[label])
            if interval is not None:
                found[f"{name}_{label}_seconds"] = Measure(
                    None, "s", *interval, n=round(histogram.count), why="between two bucket edges"
                )
    return found


def _is_known(measure: Measure) -> bool:
    return any(part is not None for part in (measure.value, measure.low, measure.high))


def _first_scraped(reader: Reader, scope: Scope) -> str | None:
    width = scope.bin_seconds()
    signals = [f"{name}_seconds" for name in QUANTITIES]
    known = {item.signal for _, item in scraped.observations(reader, scope, signals, width)}
    return next((name for name in QUANTITIES if f"{name}_seconds" in known), None)


def objectives(slos: Sequence[Slo], scope: Scope, quantity: str) -> pl.DataFrame:
    """Thresholds of the objectives about this quantity that can concern the models shown."""
    column = queries.QUANTITIES[quantity]
    rows = [
        (slo.name, slo.limits_seconds[column])
        for slo in slos
        if column in slo.limits_seconds
        and (not scope.models or not slo.match.models or set(scope.models) & set(slo.match.models))
    ]
    return pl.DataFrame(rows, schema=OBJECTIVES_SCHEMA, orient="row")


def _why_empty(reader: Reader, scope: Scope, quantity: str) -> Empty:
    needed = queries.QUANTITIES[quantity]
    found = why_empty(reader, scope, needed)
    if found is None:
        return Empty("metric_absent", f"No successful request here carries {needed}.")
    if found.kind != "metric_absent" or LIVE_SOURCE_ID not in scope.source_ids:
        return found
    targets = telemetry.targets(reader, scope.end)
    engines = sorted({name for name in targets["engine"].to_list() if name})
    if not engines:
        return found
    verb = "exports" if len(engines) == 1 else "export"
    text = (
        f"{' and '.join(engines)} {verb} no histogram of latencies, and no request row carries "
        "them. Send spans (OTLP) or request rows to see where the time goes."
    )
    return replace(found, text=text)


def _sentences(measures: dict[str, Measure], basis: str) -> tuple[str, ...]:
    whole, first = measures["e2e_p95_seconds"], measures["ttft_p95_seconds"]
    words = []
    if whole.value is not None and first.value is not None:
        n = f"{whole.n:,}" if whole.n else "the"
        words.append(
            f"Of {n} successful requests 95 % ended within {seconds_text(whole.value)} and showed "
            f"their first token within {seconds_text(first.value)}"
        )
    if basis == "buckets":
        words.append(
            "From the engines' histograms: a quantile is known only to lie between two edges, and "
            "what needs single requests is not shown"
        )
    return tuple(words)
