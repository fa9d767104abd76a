"""The lengths view."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.measure import Measure, View
from analysis.workload import length_fits, lengths
from analysis.workload.lengths import Lengths
from analysis.workload.loading import Member, NotingReader, empty_view, members
from analysis.workload.schemas import INPUT_SCHEMA, LENGTH_FITS_SCHEMA, SUMMARY_SCHEMA
from analysis.workload.words import number_text
from store.queries import workload as queries
from store.queries.scope import Scope

_VIEW = "workload_lengths"
_FIELDS: tuple[queries.LengthField, ...] = ("input_tokens", "output_tokens")


def workload_lengths(reader: queries.FrameReader, scope: Scope) -> View:
    """How long requests are: input, output, both together, and what family describes them.

    Input counts every attempted request whose length is known; output, the joint picture and the
    ratio count successful ones. Quantiles are exact.
    """
    noting = NotingReader(reader)
    sources = members(noting, scope)
    counts, sql = {}, {}
    for field in _FIELDS:
        counts[field] = queries.length_counts(noting, scope, field)
        sql[field.removesuffix("_tokens")] = noting.last_text
    if all(frame.is_empty() for frame in counts.values()):
        return empty_view(_VIEW, noting, scope, sources)
    joint = queries.joint_lengths(noting, scope)
    sql["joint"] = noting.last_text
    totals = queries.token_totals(noting, scope)
    named = {field: _split(frame, sources) for field, frame in counts.items()}
    frames = {
        "input": _histograms(named["input_tokens"]),
        "output": _histograms(named["output_tokens"]),
        "joint": lengths.joint_frame(joint),
        "fits": _fits(named),
        "summary": _summary(named, totals, sources),
    }
    measures: dict[str, Measure] = {}
    for field in _FIELDS:
        measures |= _measures(field, lengths.pooled(counts[field]))
    measures["output_to_input_ratio"] = _ratio_measure(totals)
    sentences = _sentences(frames["summary"], frames["fits"], measures)
    sql |= {"fits": sql["input"], "summary": sql["input"]}
    return View(_VIEW, scope, measures, frames, sentences, sql=sql)


def _split(frame: pl.DataFrame, sources: Sequence[Member]) -> dict[str, Lengths]:
    """Lengths by source name, of those that have any."""
    parts = {m.name: frame.filter(pl.col("source_id") == m.source_id) for m in sources}
    return {name: lengths.pooled(part) for name, part in parts.items() if part.height}


def _histograms(by_name: dict[str, Lengths]) -> pl.DataFrame:
    parts = [
        lengths.histogram(one).select(pl.lit(name).alias("source"), pl.all())
        for name, one in by_name.items()
    ]
    return pl.concat([pl.DataFrame(schema=dict(INPUT_SCHEMA)), *parts])


def _fits(named: dict[queries.LengthField, dict[str, Lengths]]) -> pl.DataFrame:
    parts = [
        length_fits.fits_frame(length_fits.fit_lengths(one)).select(
            pl.lit(name).alias("source"), pl.lit(field).alias("field"), pl.all()
        )
        for field, by_name in named.items()
        for name, one in by_name.items()
    ]
    return pl.concat([pl.DataFrame(schema=dict(LENGTH_FITS_SCHEMA)), *parts])


def _summary(
    named: dict[queries.LengthField, dict[str, Lengths]],
    totals: pl.DataFrame,
    sources: Sequence[Member],
) -> pl.DataFrame:
    ids = {member.name: member.source_id for member in sources}
    rows = [
        {
            "source": name,
            "field": field,
            "requests": one.requests,
            "mean": lengths.mean(one),
            **{key: lengths.quantile(one, ratio) for key, ratio in lengths.QUANTILES.items()},
            "largest": int(one.values[-1]),
            "largest_share_ratio": lengths.share_near_largest(one),
            "variation": lengths.variation(one),
            "output_to_input_ratio": _ratio(totals.filter(pl.col("source_id") == ids[name])),
        }
        for field, by_name in named.items()
        for name, one in by_name.items()
    ]
    return pl.DataFrame(rows, schema=dict(SUMMARY_SCHEMA))


def _ratio(totals: pl.DataFrame) -> float | None:
    """All output tokens ÷ all input tokens."""
    inputs, outputs = totals["input_tokens"].sum(), totals["output_tokens"].sum()
    return float(outputs) / float(inputs) if inputs else None


def _ratio_measure(totals: pl.DataFrame) -> Measure:
    n = int(totals["requests"].sum())
    value = _ratio(totals)
    why = "no successful request with both lengths known" if value is None else None
    return Measure(value, "ratio", n=n, why=why)


def _measures(field: str, all_lengths: Lengths) -> dict[str, Measure]:
    n = all_lengths.requests
    why = None if n else f"no request with known {field.replace('_', ' ')}"
    found = {f"{field}_mean": lengths.mean(all_lengths)}
    for key, ratio in lengths.QUANTILES.items():
        found[f"{field}_{key}"] = lengths.quantile(all_lengths, ratio)
    return {name: Measure(value, "tokens", n=n, why=why) for name, value in found.items()}


def _sentences(
    summary: pl.DataFrame, fits: pl.DataFrame, measures: dict[str, Measure]
) -> tuple[str, ...]:
    inputs, outputs = (measures[f"{field}_mean"].n for field in _FIELDS)
    lines = [
        f"Input counts all {inputs:,} attempted requests of known length; "
        f"output the {outputs:,} that succeeded."
    ]
    for row in summary.iter_rows(named=True):
        field = row["field"].replace("_tokens", "")
        lines.append(
            f"{row['source']}: {field} mean {number_text(row['mean'])}, p50 {row['p50']:,.0f}, "
            f"p99 {row['p99']:,.0f} tokens; {_fit_words(row, fits)}."
        )
    return tuple(lines)


def _fit_words(row: dict[str, object], fits: pl.DataFrame) -> str:
    mine = fits.filter(
        (pl.col("source") == row["source"])
        & (pl.col("field") == row["field"])
        & pl.col("ks_distance").is_not_null()
        # A tail says nothing of the body, so it cannot stand for the whole.
        & (pl.col("family") != "pareto_tail")
    ).sort("ks_distance")
    if mine.is_empty():
        return "too few or too equal to fit"
    best = mine.row(0, named=True)
    if best["accepted"]:
        return f"best fit {best['family']} (KS distance {best['ks_distance']:.3f})"
    return f"no family fits (nearest {best['family']}, KS distance {best['ks_distance']:.2f})"
