"""The rules that turn workload views into findings, one source or scope at a time."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.measure import View
from analysis.workload.arrivals import LARGEST_ZERO_GAP_RATIO
from analysis.workload.words import factor_text, number_text, time_text
from store.units import count_text, percent_text, seconds_text

Facts = Mapping[str, View]
Row = Mapping[str, Any]

# Counts that spread twice as wide as Poisson's need twice the headroom a Poisson plan gives.
BURSTY_DISPERSION = 4.0
# With fewer windows the index of dispersion is mostly chance.
FEWEST_WINDOWS = 10
POISSON_LIKE = (0.67, 1.5)
# Independent people never arrive this evenly.
STEADY_DISPERSION = 0.25
# The longest of n exponential gaps is about mean x (ln n + 0.58). Twenty times that does not happen
# by chance; ten seconds is the shortest silence an operator would look into.
HOLE_TO_EXPECTED_RATIO = 20.0
SHORTEST_HOLE_SECONDS = 10.0
EULER = 0.5772
# Lognormal lengths of the usual spread (sigma 1) reach p99/p50 = 10.
HEAVY_TAIL_RATIO = 10.0
# A smooth tail puts far less than this within a tenth of a percent of its own end.
CAP_SHARE_RATIO = 0.005
SHORTEST_CAP_TOKENS = 64
# The largest of anything sits at the largest value: a pile is more than that.
FEWEST_AT_CAP = 20
FAILURE_RATIO = 0.01
# Where most failures fall on one label, and more than its traffic explains, it is worth naming.
CONCENTRATION_RATIO = 0.5
OVER_REPRESENTATION = 1.5
SKEWED_GINI = 0.6
FEWEST_CLIENTS = 5
PREFIX_HIT_RATIO = 0.1
UNFAIR_RATIO = 1.25 / 0.8
DAILY_PEAK_RATIO = 1.5
DAILY_EXPLAINED_RATIO = 0.3
GROWTH_TOKENS_PER_TURN = 100.0
FEWEST_TURNS = 30
PREFILL_HEAVY_RATIO = 0.1
DECODE_HEAVY_RATIO = 1.0
LARGEST_KS_DISTANCE = 0.1


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence worth reading.

    Attributes:
        score: doublings beyond the rule's threshold, plus one; larger comes first.
        subject: the source or sources it is about.
        sentence: what it is and what follows from it.
        evidence: the numbers, how many events are behind them, and the view they come from.
        command: how to look further.
        topics: what else of the same subjects need not be told beside it; () where nothing is.
    """

    score: float
    subject: str
    sentence: str
    evidence: str
    command: str
    topics: tuple[str, ...] = ()


def doublings(value: float, threshold: float) -> float:
    """1 at the threshold, 2 at twice it, and so on."""
    return 1 + math.log2(value / threshold)


def command(*names: str) -> str:
    """How to look further at sources."""
    return f"servescope analyze {shlex.quote(','.join(names))}"


def source_names(facts: Facts) -> list[str]:
    """The sources that the arrivals view knows."""
    return list(facts["workload_arrivals"].frames["sources"]["source"])


def widest_dispersion(facts: Facts, source: str) -> Row | None:
    """The index at the longest window, up to a minute, that has enough windows."""
    frame = (
        facts["workload_burstiness"]
        .frames["dispersion"]
        .filter(
            (pl.col("source") == source)
            & (pl.col("windows") >= FEWEST_WINDOWS)
            & (pl.col("window_seconds") <= 60)
            & pl.col("index_of_dispersion").is_not_null()
        )
    )
    return frame.sort("window_seconds").row(-1, named=True) if frame.height else None


def burstiness(facts: Facts) -> Iterator[Finding]:
    """Sources whose counts spread wider than Poisson's, or just as Poisson's do."""
    for source in source_names(facts):
        row = widest_dispersion(facts, source)
        if row is None:
            continue
        index, window = row["index_of_dispersion"], f"{row['window_seconds']:g} s"
        at = f"dispersion {number_text(index)} at {window}"
        evidence = (
            f"index of dispersion at {window}: {number_text(index)} over {row['windows']:,} "
            "windows (workload_burstiness)"
        )
        if index >= BURSTY_DISPERSION:
            spread = math.sqrt(index)
            sentence = (
                f"{source} is bursty: counts per {window} spread {factor_text(spread)} as wide as "
                f"Poisson's (dispersion {number_text(index)}){_peak(facts, source)}"
            )
            score = doublings(spread, math.sqrt(BURSTY_DISPERSION))
            yield Finding(score, source, sentence, evidence, command(source), ("burstiness",))
        elif index <= STEADY_DISPERSION:
            sentence = (
                f"{source} arrives like a beat ({at}): a load generator rather than people, so it "
                "shows less queueing than real traffic would"
            )
            yield Finding(1.0, source, sentence, evidence, command(source))
        elif POISSON_LIKE[0] <= index <= POISSON_LIKE[1]:
            sentence = f"{source} arrives close to Poisson ({at})"
            yield Finding(0.1, source, sentence, evidence, command(source))


def _peak(facts: Facts, source: str) -> str:
    frame = (
        facts["workload_burstiness"]
        .frames["dispersion"]
        .filter(
            (pl.col("source") == source)
            & (pl.col("window_seconds") == 1)
            & pl.col("peak_requests").is_not_null()
        )
    )
    if frame.is_empty() or source in _coarse(facts):
        return ""
    row = frame.row(0, named=True)
    times = factor_text(row["peak_to_mean_ratio"])
    return f"; its busiest second held {row['peak_requests']:,} requests, {times} the mean"


def _coarse(facts: Facts) -> list[str]:
    """Sources whose clock gathers requests in lumps: their busiest second is the clock's doing."""
    frame = facts["workload_arrivals"].frames["sources"]
    return list(frame.filter(pl.col("quantised") & (pl.col("lump_seconds") > 1))["source"])


def coarse_clocks(facts: Facts) -> Iterator[Finding]:
    """Sources whose stamps are too coarse for anything about gaps."""
    for row in facts["workload_arrivals"].frames["sources"].iter_rows(named=True):
        if row["quantised"]:
            many = row["zero_gap_ratio"] > LARGEST_ZERO_GAP_RATIO
            zero = f"{percent_text(row['zero_gap_ratio'])} of them are zero"
            sentence = (
                f"the clock of {row['source']} is too coarse for gaps: "
                f"{zero if many else _grid(row)}; fits are refused, counts per window still hold"
            )
            evidence = f"{row['why']}; n = {row['requests']:,} (workload_arrivals)"
            yield Finding(1.5, row["source"], sentence, evidence, command(row["source"]))


def _grid(row: Row) -> str:
    grid, rate = row["clock_resolution_seconds"], row["requests_per_second"]
    if grid is None or not rate:
        return "all stamps are the same"
    return f"stamps lie on a {seconds_text(grid)} grid, the mean gap is {seconds_text(1 / rate)}"


def gap_shapes(facts: Facts) -> Iterator[Finding]:
    """Sources whose gaps no family describes."""
    fits = facts["workload_arrivals"].frames["fits"].filter(pl.col("ks_distance").is_not_null())
    for source in source_names(facts):
        mine = fits.filter(pl.col("source") == source).sort("ks_distance")
        if mine.is_empty() or mine["accepted"].any():
            continue
        best = mine.row(0, named=True)
        distance = best["ks_distance"]
        sentence = (
            f"no standard family describes the gaps of {source} (nearest: {best['family']}, KS "
            f"distance {distance:.2f}): replay the recorded gaps rather than a fit"
        )
        parts = ", ".join(f"{f} {d:.3f}" for f, d in mine.select("family", "ks_distance").rows())
        evidence = f"KS distances: {parts} (workload_arrivals)"
        score = doublings(distance, LARGEST_KS_DISTANCE)
        yield Finding(score, source, sentence, evidence, command(source))


def holes(facts: Facts) -> Iterator[Finding]:
    """Silences too long to be chance."""
    for row in facts["workload_arrivals"].frames["sources"].iter_rows(named=True):
        gap, rate = row["largest_gap_seconds"], row["requests_per_second"]
        if gap is None or not rate or gap < SHORTEST_HOLE_SECONDS:
            continue
        expected = (math.log(row["requests"]) + EULER) / rate
        if gap < HOLE_TO_EXPECTED_RATIO * expected:
            continue
        sentence = (
            f"{row['source']} is silent for {gap:,.0f} s from {time_text(row['largest_gap_at'])}, "
            f"{factor_text(gap / expected)} the longest gap that Poisson arrivals would show: an "
            "outage, a filter, or a client that sends in batches"
        )
        evidence = (
            f"largest gap {number_text(gap)} s, expected {seconds_text(expected)} at "
            f"{number_text(rate)} requests/s, n = {row['requests']:,} (workload_arrivals)"
        )
        score = doublings(gap / expected, HOLE_TO_EXPECTED_RATIO)
        yield Finding(score, row["source"], sentence, evidence, command(row["source"]))


def lengths(facts: Facts) -> Iterator[Finding]:
    """Heavy tails, caps, and sources that are nearly all prompt or nearly all answer."""
    summary = facts["workload_lengths"].frames["summary"]
    for row in summary.iter_rows(named=True):
        yield from _tail(row)
        yield from _cap(row)
        if row["field"] == "input_tokens":
            yield from _mix(row)


def _tail(row: Row) -> Iterator[Finding]:
    if not row["p50"] or row["p99"] / row["p50"] < HEAVY_TAIL_RATIO:
        return
    ratio = row["p99"] / row["p50"]
    field = row["field"].replace("_tokens", "s")
    sentence = (
        f"the longest 1 % of {field} of {row['source']} exceed {factor_text(ratio)} the median "
        f"({number_text(row['p99'])} against {number_text(row['p50'])} tokens): plan with the "
        "distribution, not with the mean"
    )
    evidence = (
        f"{row['field']}: p50 {number_text(row['p50'])}, p99 {number_text(row['p99'])}, mean "
        f"{number_text(row['mean'])}, n = {row['requests']:,} (workload_lengths)"
    )
    score = doublings(ratio, HEAVY_TAIL_RATIO)
    yield Finding(score, row["source"], sentence, evidence, command(row["source"]))


def _cap(row: Row) -> Iterator[Finding]:
    share, largest = row["largest_share_ratio"], row["largest"]
    # A source where most requests have one length is constant, not cut off.
    if largest < SHORTEST_CAP_TOKENS or not CAP_SHARE_RATIO <= share <= 0.5:
        return
    if share * row["requests"] < FEWEST_AT_CAP:
        return
    field = row["field"].replace("_tokens", "s")
    sentence = (
        f"{percent_text(share)} of {field} of {row['source']} sit at the largest value, "
        f"{largest:,} tokens: they look cut off there, so the true tail is longer"
    )
    evidence = (
        f"{row['field']}: share within 0.1 % of the largest {percent_text(share)}, n = "
        f"{row['requests']:,} (workload_lengths)"
    )
    score = min(2.0, doublings(share, CAP_SHARE_RATIO))
    yield Finding(score, row["source"], sentence, evidence, command(row["source"]))


def _mix(row: Row) -> Iterator[Finding]:
    ratio = row["output_to_input_ratio"]
    if not ratio:
        return
    if ratio <= PREFILL_HEAVY_RATIO:
        kind, score = "prefill", doublings(PREFILL_HEAVY_RATIO, ratio)
        advice = "prompt processing and prefix caching decide its latency"
    elif ratio >= DECODE_HEAVY_RATIO:
        kind, score = "decode", doublings(ratio, DECODE_HEAVY_RATIO)
        advice = "decoding and KV-cache space decide its latency"
    else:
        return
    sentence = f"{row['source']} is {kind}-heavy (output/input {number_text(ratio)}): {advice}"
    evidence = f"all output ÷ all input tokens of n = {row['requests']:,} (workload_lengths)"
    yield Finding(score, row["source"], sentence, evidence, command(row["source"]), ("mix",))


def failures(facts: Facts) -> Iterator[Finding]:
    """A failure ratio that is surely above one percent, and where it comes from."""
    view = facts["workload_failures"]
    ratio, failed = view.measures["failure_ratio"], view.measures["failed"]
    if ratio.low is None or ratio.low < FAILURE_RATIO or not ratio.value:
        return
    names = source_names(facts)
    where = _concentration(view.frames["by_label"], failed.value or 0, ratio.value)
    sentence = (
        f"{percent_text(ratio.value)} of the requests of {', '.join(names)} did not succeed{where}"
    )
    evidence = (
        f"{count_text(failed.value)} of {ratio.n:,} attempted, 95 % interval "
        f"{percent_text(ratio.low)} to {percent_text(ratio.high)} (workload_failures)"
    )
    score = doublings(ratio.value, FAILURE_RATIO)
    yield Finding(score, ", ".join(names), sentence, evidence, command(*names))


def _concentration(labels: pl.DataFrame, failed: float, ratio: float) -> str:
    found = labels.filter(
        (pl.col("failed") >= CONCENTRATION_RATIO * failed)
        & (pl.col("failure_ratio") >= OVER_REPRESENTATION * ratio)
    ).sort("failure_ratio", descending=True)
    if found.is_empty():
        return ""
    row = found.row(0, named=True)
    return (
        f"; {percent_text(row['failed'] / failed)} of the failures are of {row['dimension']} "
        f"{row['value']}, where {percent_text(row['failure_ratio'])} fail"
    )


def skew(facts: Facts) -> Iterator[Finding]:
    """A few clients that make most of the traffic."""
    view = facts["workload_clients"]
    gini, count = view.measures["gini_requests"].value, view.measures["clients"].value
    if gini is None or count is None or count < FEWEST_CLIENTS or gini < SKEWED_GINI:
        return
    top1, top10 = (view.measures[f"top{k}_share_ratio"].value for k in (1, 10))
    sentence = (
        f"a few clients make the traffic: of {count:,.0f}, the largest sends {percent_text(top1)} "
        f"and the ten largest {percent_text(top10)}; aggregates describe them, not the others"
    )
    evidence = f"Gini {gini:.2f} over {count:,.0f} clients (workload_clients)"
    names = source_names(facts)
    # Distance to perfect inequality, so that 0.8 is one doubling beyond 0.6.
    score = doublings(1 - SKEWED_GINI, max(1 - gini, 0.05))
    yield Finding(score, ", ".join(names), sentence, evidence, command(*names))


def unfairness(facts: Facts) -> Iterator[Finding]:
    """A tenant that got clearly more than its share while another waited."""
    view = facts.get("fairness")
    if view is None or not view.measures["held_back"].value:
        return
    names = source_names(facts)
    share, jain = view.measures["max_min_share"].value, view.measures["jain_index"]
    evidence = (
        f"Jain's index {number_text(jain.value or 0.0)} over n = {jain.n} tenants with demand, by"
        " service over the max-min fair share (fairness)"
    )
    # A quarter more beside a fifth less is where unfairness begins.
    score = doublings(1 / max(share or 1.0, 0.01), UNFAIR_RATIO)
    look = f"servescope fairness --source {shlex.quote(','.join(names))}"
    yield Finding(score, ", ".join(names), view.sentences[0].rstrip("."), evidence, look)


def prefix_reuse(facts: Facts) -> Iterator[Finding]:
    """How much prompt a prefix cache would save, and how large it must be."""
    view = facts["workload_prefix"]
    hit = view.measures["infinite_block_hit_ratio"]
    if hit.value is None or hit.value < PREFIX_HIT_RATIO:
        return
    sentence = f"a prefix cache can serve up to {percent_text(hit.value)} of the prompt blocks"
    lru = view.frames["lru"].filter(pl.col("block_hit_ratio") >= 0.9 * hit.value)
    if lru.height:
        row = lru.row(0, named=True)
        tokens = f" ({row['cache_tokens']:,} tokens)" if row["cache_tokens"] else ""
        sentence += f"; nine tenths of that takes {row['cache_blocks']:,} blocks{tokens}"
    evidence = f"n = {hit.n:,} block references in order of arrival (workload_prefix)"
    names = source_names(facts)
    score = doublings(hit.value, PREFIX_HIT_RATIO)
    yield Finding(score, ", ".join(names), sentence, evidence, command(*names))


def daily_peaks(facts: Facts) -> Iterator[Finding]:
    """Sources with a rhythm of the day."""
    for row in facts["workload_arrivals"].frames["sources"].iter_rows(named=True):
        peak, explained = row["peak_to_mean_day_ratio"], row["day_explained_ratio"]
        if peak is None or peak < DAILY_PEAK_RATIO or explained < DAILY_EXPLAINED_RATIO:
            continue
        sentence = (
            f"{row['source']} has a daily rhythm: its peak, about {row['peak_hour']:02d}:00, is "
            f"{factor_text(peak)} the mean; capacity that follows it saves the difference"
        )
        evidence = (
            f"24-h and 12-h harmonics explain {percent_text(explained)} of the variance of hourly "
            f"rates, n = {row['requests']:,} (workload_arrivals)"
        )
        score = doublings(peak, DAILY_PEAK_RATIO)
        yield Finding(score, row["source"], sentence, evidence, command(row["source"]))


def growing_context(facts: Facts) -> Iterator[Finding]:
    """Conversations whose prompts grow from turn to turn."""
    growth = facts["workload_sessions"].measures["context_growth_tokens_per_turn"]
    steps = growth.n or 0
    if growth.value is None or steps < FEWEST_TURNS or growth.value < GROWTH_TOKENS_PER_TURN:
        return
    sentence = (
        f"each turn of a session adds {number_text(growth.value)} input tokens: keep a session on "
        "the instance that holds its prefix"
    )
    evidence = f"mean over {steps:,} steps from turn to turn (workload_sessions)"
    names = source_names(facts)
    score = min(3.0, doublings(growth.value, GROWTH_TOKENS_PER_TURN))
    yield Finding(score, ", ".join(names), sentence, evidence, command(*names))
