"""The lengths view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from analysis.measure import Measure, View
from analysis.workload import length_fits, lengths
from analysis.workload.length_tally import LengthCounts, merged, tally, tally_counted
from analysis.workload.lengths import Lengths
from analysis.workload.loading import Member, NotingReader, empty_view, members
from analysis.workload.schemas import (
    INPUT_SCHEMA,
    LENGTH_FITS_SCHEMA,
    SUMMARY_SCHEMA,
    empty_frames,
)
from analysis.workload.words import number_text
from store.queries import lengths as length_queries
from store.queries import workload as queries
from store.queries.lengths import LengthField
from store.queries.scope import Scope

_VIEW = "workload_lengths"
_FIELDS: Mapping[LengthField, Callable[[LengthCounts], Lengths]] = {
    "input_tokens": lambda counts: counts.input,
    "output_tokens": lambda counts: counts.output,
}


def workload_lengths(reader: queries.FrameReader, scope: Scope) -> View:
    """How long requests are: input, output, both together, and what family describes them.

    Input counts every attempted request whose length is known; output, the joint picture and the
    ratio count successful ones. Quantiles are exact.
    """
    noting = NotingReader(reader)
    sources = members(noting, scope)
    return lengths_view(noting, scope, sources, load_lengths(noting, scope, sources))


def load_lengths(
    reader: queries.FrameReader, scope: Scope, sources: Sequence[Member]
) -> dict[str, LengthCounts]:
    """All lengths of each source, by name."""
    return {
        member.name: _counted(reader, replace(scope, source_ids=(member.source_id,)))
        for member in sources
    }


def _counted(reader: queries.FrameReader, scope: Scope) -> LengthCounts:
    """All lengths of a scope: whole hours as they are counted, the rest in one pass over rows."""
    plan = length_queries.parts(reader, scope)
    found = []
    if plan.rolled:
        pairs = length_queries.pairs_of_hours(reader, scope, plan.rolled)
        found.append(tally_counted(length_queries.of_hours(reader, scope, plan.rolled), pairs))
    if plan.raw:
        found.append(tally(length_queries.of_rows(reader, scope, plan.raw)))
    return merged(found)


def lengths_view(
    noting: NotingReader,
    scope: Scope,
    sources: Sequence[Member],
    by_source: Mapping[str, LengthCounts],
    *,
    with_charts: bool = True,
) -> View:
    """The view of lengths that are already counted.

    Args:
        noting: what counted them, just now.
        scope: what is asked for.
        sources: of the scope.
        by_source: as `load_lengths` gives.
        with_charts: False leaves all frames but `summary` empty, and says nothing.
    """
    text = noting.last_text
    whole = merged(list(by_source.values()))
    if not whole.input.requests and not whole.output.requests:
        return empty_view(_VIEW, noting, scope, sources)
    named = {
        field: {name: one for name, found in by_source.items() if (one := of(found)).values.size}
        for field, of in _FIELDS.items()
    }
    frames = empty_frames(_VIEW) | {"summary": _summary(named, by_source)}
    measures = {
        **_measures("input_tokens", whole.input),
        **_measures("output_tokens", whole.output),
        "output_to_input_ratio": _ratio_measure(whole),
    }
    if not with_charts:
        return View(_VIEW, scope, measures, frames)
    frames |= {
        "input": _histograms(named["input_tokens"]),
        "output": _histograms(named["output_tokens"]),
        "joint": lengths.joint_frame(whole.octaves()),
        "fits": _fits(named),
    }
    sentences = _sentences(frames["summary"], frames["fits"], measures)
    return View(_VIEW, scope, measures, frames, sentences, sql=dict.fromkeys(frames, text))


def _histograms(by_name: dict[str, Lengths]) -> pl.DataFrame:
    parts = [
        lengths.histogram(one).select(pl.lit(name).alias("source"), pl.all())
        for name, one in by_name.items()
    ]
    return pl.concat([pl.DataFrame(schema=dict(INPUT_SCHEMA)), *parts])


def _fits(named: dict[LengthField, dict[str, Lengths]]) -> pl.DataFrame:
    parts = [
        length_fits.fits_frame(length_fits.fit_lengths(one)).select(
            pl.lit(name).alias("source"), pl.lit(field).alias("field"), pl.all()
        )
        for field, by_name in named.items()
        for name, one in by_name.items()
    ]
    return pl.concat([pl.DataFrame(schema=dict(LENGTH_FITS_SCHEMA)), *parts])


def _summary(
    named: dict[LengthField, dict[str, Lengths]], by_source: Mapping[str, LengthCounts]
) -> pl.DataFrame:
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
            "output_to_input_ratio": _ratio(by_source[name]),
        }
        for field, by_name in named.items()
        for name, one in by_name.items()
    ]
    return pl.DataFrame(rows, schema=dict(SUMMARY_SCHEMA))


def _ratio(counts: LengthCounts) -> float | None:
    """All output tokens ÷ all input tokens."""
    return counts.output_tokens / counts.input_tokens if counts.input_tokens else None


def _ratio_measure(counts: LengthCounts) -> Measure:
    value = _ratio(counts)
    why = "no successful request with both lengths known" if value is None else None
    return Measure(value, "ratio", n=counts.requests, why=why)


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
