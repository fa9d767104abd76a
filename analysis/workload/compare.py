"""Two bodies of requests beside each other: ratios, distances, and what differs most."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from analysis.measure import Measure, View
from analysis.remembering import Remembering
from analysis.workload.arrival_view import arrivals_view
from analysis.workload.arrivals import Floats
from analysis.workload.burst_view import burstiness_view
from analysis.workload.contrast_rules import contrasts
from analysis.workload.failure_view import failures_view
from analysis.workload.length_tally import merged
from analysis.workload.length_view import lengths_view, load_lengths
from analysis.workload.lengths import Lengths
from analysis.workload.loading import NotingReader, empty_view, members
from analysis.workload.schemas import DIFFERENCES_SCHEMA, OVERLAY_SCHEMA
from analysis.workload.streams import combined, load_streams
from analysis.workload.words import number_text
from store.errors import InputError
from store.queries import totals
from store.queries import workload as queries
from store.queries.scope import Scope, split_values

_VIEW = "workload_compare"
PREVIOUS = "previous"
_POINTS = 200
# Words for each quantity, and the view measure it comes from.
_QUANTITIES: Mapping[str, tuple[str, str]] = {
    "requests_per_second": ("request rate", "requests_per_second"),
    "interarrival_gap_seconds": ("variation of gaps", "interarrival_cv"),
    "idc_1s": ("dispersion at 1 s", "idc_1s"),
    "idc_60s": ("dispersion at 60 s", "idc_60s"),
    "peak_to_mean_1s": ("peak second over mean", "peak_to_mean_1s"),
    "input_tokens": ("mean input", "input_tokens_mean"),
    "output_tokens": ("mean output", "output_tokens_mean"),
    "output_to_input_ratio": ("output per input token", "output_to_input_ratio"),
    "failure_ratio": ("failure ratio", "failure_ratio"),
}


Sample = tuple[Floats, Floats]
"""Values ascending, and how often each occurs."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two bodies.

    Attributes:
        name: what people call it.
        measures: from the workload views.
        samples: sorted values and how often each occurs, by quantity; only where known.
        views: the workload views they come from.
        empty: whether it has no request.
    """

    name: str
    measures: Mapping[str, Measure]
    samples: Mapping[str, Sample]
    views: Mapping[str, View]
    empty: bool


def workload_compare(reader: queries.FrameReader, scope: Scope, against: str = "") -> View:
    """What differs between a scope (a) and another one (b).

    Args:
        reader: the store.
        scope: a.
        against: b: names of sources separated by commas, whole; or "previous" for the same sources
            over the range just before.

    Raises:
        InputError: nothing or an unknown source is named.
    """
    reader = Remembering(reader)  # the views share their scan of the sums
    other = other_scope(reader, scope, against)
    one, two = _sides(reader, (scope, ""), (other, against))
    if one.empty or two.empty:
        missing = scope if one.empty else other
        noting = NotingReader(reader)
        view = empty_view(_VIEW, noting, missing, members(noting, missing))
        if view.empty is None or one.empty:
            return replace(view, scope=scope)
        text = f"Nothing to compare with, {two.name}: {view.empty.text}"
        return replace(view, scope=scope, empty=replace(view.empty, text=text))
    differences = differences_frame(one, two)
    return View(
        _VIEW,
        scope,
        frames={"differences": differences, "overlay": _overlay(one, two)},
        sentences=(*_verdicts(one, two), *differences["sentence"].drop_nulls()),
    )


def _verdicts(one: Side, two: Side) -> list[str]:
    """What the two are to each other in one sentence, where they differ enough to say so."""
    names = [
        set(side.views["workload_arrivals"].frames["sources"]["source"]) for side in (one, two)
    ]
    if names[0] & names[1]:
        return []  # the same source at two times: a name alone would not tell them apart
    facts = {
        name: replace(
            view,
            frames={
                key: pl.concat([frame, two.views[name].frames[key]])
                for key, frame in view.frames.items()
            },
        )
        for name, view in one.views.items()
    }
    return [finding.sentence for finding in contrasts(facts)]


def other_scope(reader: queries.FrameReader, scope: Scope, against: str) -> Scope:
    """The scope that `against` names; see `workload_compare`."""
    if against == PREVIOUS:
        return replace(scope, start=scope.start - (scope.end - scope.start), end=scope.start)
    known = queries.source_spans(reader)
    wanted = split_values(against)
    found = known.filter(pl.col("source").is_in(wanted) & pl.col("first_at").is_not_null())
    missing = sorted(set(wanted) - set(found["source"]))
    if missing or not wanted:
        names = ", ".join(known["source"]) or "none"
        what = f"'{missing[0]}' is not a source with requests" if missing else "nothing to compare"
        raise InputError(f"{what}", hint=f"name a source, or '{PREVIOUS}'; there are: {names}")
    start, end = found["first_at"].min(), found["last_at"].max()
    ids = tuple(int(source_id) for source_id in found["source_id"])
    aware = [queries.aware(at) for at in (start, end)]  # type: ignore[arg-type]
    return Scope(ids, aware[0], aware[1] + timedelta(microseconds=1))


def _sides(reader: queries.FrameReader, *asked: tuple[Scope, str]) -> list[Side]:
    """The bodies of requests; lengths are counted beside arrivals, which leave a processor idle."""
    with ThreadPoolExecutor(1) as beside:
        sizes = [beside.submit(_sizes, reader, scope) for scope, _ in asked]
        return [
            _side(reader, scope, against, counted)
            for (scope, against), counted in zip(asked, sizes, strict=True)
        ]


def _sizes(
    reader: queries.FrameReader, scope: Scope
) -> tuple[tuple[View, View], Mapping[str, Sample]]:
    """The views of lengths and failures, and the lengths as samples."""
    noting = NotingReader(reader)
    sources = members(noting, scope)
    by_source = load_lengths(noting, scope, sources)
    lengths = lengths_view(noting, scope, sources, by_source, with_charts=False)
    whole = merged(list(by_source.values()))
    samples = {"input_tokens": _weighted(whole.input), "output_tokens": _weighted(whole.output)}
    failures = failures_view(reader, scope, with_times=False, with_labels=False)
    return (lengths, failures), samples


def _side(
    reader: queries.FrameReader,
    scope: Scope,
    against: str,
    sizes: Future[tuple[tuple[View, View], Mapping[str, Sample]]],
) -> Side:
    noting = NotingReader(reader)
    sources = members(noting, scope)
    name = ", ".join(member.name for member in sources) or "nothing"
    if against == PREVIOUS:
        name = f"{name} before"
    streams = load_streams(noting, scope, sources, with_charts=False)
    arrivals = arrivals_view(noting, scope, sources, streams, with_charts=False, with_fits=False)
    bursts = burstiness_view(noting, scope, sources, streams)
    (lengths, failures), found = sizes.result()
    views = {view.name: view for view in (lengths, failures, arrivals, bursts)}
    measures = {key: one for view in views.values() for key, one in view.measures.items()}
    samples = {**found}
    # A source of rates knows a variation, but no single arrivals.
    if streams and measures["interarrival_cv"].value is not None:
        gaps = combined(streams).arrived.gaps.sample
        samples["interarrival_gap_seconds"] = (gaps, np.ones_like(gaps))
    known = {quantity: pair for quantity, pair in samples.items() if pair[0].size}
    return Side(name, measures, known, views, totals.attempted(noting, scope) == 0)


def _weighted(found: Lengths) -> Sample:
    return found.values.astype(np.float64), found.counts.astype(np.float64)


def two_sample_ks(a: Sample, b: Sample) -> float:
    """Largest vertical distance between two empirical distributions.

    Args:
        a: values ascending, and how often each occurs.
        b: likewise.
    """
    values = np.concatenate((a[0], b[0]))
    # A stable sort merges two sorted runs, which takes a tenth of sorting them anew.
    order = np.argsort(values, kind="stable")
    apart = np.cumsum(np.concatenate((a[1] / a[1].sum(), -b[1] / b[1].sum()))[order])
    ordered = values[order]
    is_last = np.append(ordered[1:] != ordered[:-1], True)
    return float(np.abs(apart[is_last]).max())


def differences_frame(one: Side, two: Side) -> pl.DataFrame:
    """quantity, a, b, ratio (a ÷ b), ks_distance, sentence; what differs most comes first.

    The order is that of |log(ratio)|; a quantity without a ratio goes by its distance.
    """
    rows = [_difference(quantity, one, two) for quantity in _QUANTITIES]
    known = [row for row in rows if row["a"] is not None or row["b"] is not None]
    known.sort(key=_size, reverse=True)
    return pl.DataFrame(known, schema=dict(DIFFERENCES_SCHEMA))


def _size(row: Mapping[str, object]) -> float:
    ratio, distance = row["ratio"], row["ks_distance"]
    by_ratio = abs(math.log(ratio)) if isinstance(ratio, float) and ratio > 0 else 0.0
    return max(by_ratio, distance if isinstance(distance, float) else 0.0)


def _difference(quantity: str, one: Side, two: Side) -> dict[str, object]:
    words, measure = _QUANTITIES[quantity]
    a, b = one.measures[measure].value, two.measures[measure].value
    ratio = a / b if a is not None and b else None
    distance = None
    if quantity in one.samples and quantity in two.samples:
        distance = two_sample_ks(one.samples[quantity], two.samples[quantity])
    sentence = _sentence(words, one, two, measure, ratio, distance)
    return {
        "quantity": quantity,
        "a": a,
        "b": b,
        "ratio": ratio,
        "ks_distance": distance,
        "sentence": sentence,
    }


def _sentence(
    words: str, one: Side, two: Side, measure: str, ratio: float | None, distance: float | None
) -> str | None:
    a, b = one.measures[measure], two.measures[measure]
    if a.value is None or b.value is None:
        side, unknown = (one, a) if a.value is None else (two, b)
        return f"{words}: unknown for {side.name} ({unknown.why})."
    times = f" ({number_text(ratio)} times)" if ratio is not None else ""
    apart = f"; distributions are {distance:.2f} apart (KS)" if distance is not None else ""
    return (
        f"{words}: {number_text(a.value)} in {one.name} against {number_text(b.value)} in "
        f"{two.name}{times}{apart}."
    )


def _overlay(one: Side, two: Side) -> pl.DataFrame:
    """quantity, series, x, cdf_ratio: the empirical curves of both, at most 200 points each."""
    columns: dict[str, list[Any]] = {name: [] for name in OVERLAY_SCHEMA}
    for side in (one, two):
        for quantity, sample in side.samples.items():
            values, shares = _curve(sample)
            columns["quantity"] += [quantity] * values.size
            columns["series"] += [side.name] * values.size
            columns["x"] += values.tolist()
            columns["cdf_ratio"] += shares.tolist()
    return pl.DataFrame(columns, schema=dict(OVERLAY_SCHEMA))


def _curve(sample: Sample) -> tuple[Floats, Floats]:
    """Values ascending, each once, and the share of all up to it; at most `_POINTS`."""
    values, weights = sample
    share = np.cumsum(weights) / weights.sum()
    places = np.unique(np.searchsorted(share, np.linspace(0, 1, _POINTS)).clip(0, values.size - 1))
    x = values[places]
    last = places[np.append(x[1:] != x[:-1], True)]
    return values[last], share[last]
