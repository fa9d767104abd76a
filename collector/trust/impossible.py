"""Impossible: values that cannot be true, and NaN, which is idleness where nothing runs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from collector.model import Refused
from collector.trust.grades import CLOCK, Verdict, seconds_text
from collector.trust.step import Step
from store.signals import SIGNALS

# The first can never be larger than the second.
BOUNDED_BY = (
    ("requests_running", "requests_running_max"),
    ("lora_adapters_running", "lora_adapters_max"),
    ("prefix_cache_hit_tokens_total", "prefix_cache_queried_tokens_total"),
    ("external_prefix_cache_hit_tokens_total", "external_prefix_cache_queried_tokens_total"),
    ("multimodal_cache_hit_items_total", "multimodal_cache_queried_items_total"),
    ("spec_decode_accepted_tokens_total", "spec_decode_draft_tokens_total"),
)
# Values that mean "nobody measured" in exporters: near 2**63, 2**47 (DCGM's blanks).
_SENTINEL = 2.0**46
# Two lines of one page are not read at the same instant.
_SLACK = 1.01

_BLANK = "The exporter shows a blank for it: ignore the signal until a plausible value comes back."
_RANGE = "Do not use it; see the release notes of the engine for a change of unit or meaning."
_SUM = (
    "Its counts and buckets stay good; its mean is wrong from here on. No restart: do not treat it"
    " as one."
)
_NTP = "Set the clock of that machine (NTP). Samples carry our own time; times it tells are off."


def refused(now: Step) -> Iterator[tuple[str, Verdict]]:
    """Values that the page shows and no one may use."""
    for told in now.notes.refused:
        if math.isnan(told.value):
            yield told.signal, _not_a_number(now)
        else:
            yield told.signal, _out_of_range(told)


def _not_a_number(now: Step) -> Verdict:
    running = now.total("requests_running") or 0.0
    if not now.worked and running == 0:
        text = "NaN: nothing to average, for nothing runs and the target answers. Demand is zero."
        return Verdict("idle", text, "", "nan")
    text = f"NaN although requests run ({running:g} running)."
    return Verdict("impossible", text, _RANGE, "nan")


def _out_of_range(told: Refused) -> Verdict:
    known = SIGNALS[told.signal]
    low = "-inf" if known.low is None else f"{known.low:g}"
    high = "inf" if known.high is None else f"{known.high:g}"
    unit = f" {known.unit}" if known.unit else ""
    text = f"It says {told.value:g}, and {low} to {high}{unit} is possible."
    if not math.isfinite(told.value) or abs(told.value) >= _SENTINEL:
        return Verdict("impossible", text, _BLANK, "sentinel")
    return Verdict("impossible", text, _RANGE, "range")


def contradicting(now: Step) -> Iterator[tuple[str, Verdict]]:
    """Values that another value of the same page rules out."""
    for small, large in BOUNDED_BY:
        if small in now.signals and large in now.signals:
            least, most = now.total(small) or 0.0, now.total(large) or 0.0
            if least > most * _SLACK:
                text = f"It says {least:g}, but {large} is {most:g}."
                yield small, Verdict("impossible", text, _RANGE, "bound")
    capacity = _capacity_tokens(now)
    used = now.total("kv_cache_used_tokens")
    if capacity is not None and used is not None and used > capacity * _SLACK:
        text = f"It says {used:g} tokens, but the cache holds {capacity:g}."
        yield "kv_cache_used_tokens", Verdict("impossible", text, _RANGE, "bound")


def _capacity_tokens(now: Step) -> float | None:
    blocks, size = now.total("kv_cache_capacity_blocks"), now.total("kv_cache_block_tokens")
    return None if blocks is None or size is None else blocks * size


def sums(now: Step) -> Iterator[tuple[str, Verdict]]:
    """A sum that went down while its count did not: bad data, not a restart."""
    for signal, drop in now.sums_fell.items():
        unit = SIGNALS[signal].unit
        text = f"Its sum went down by {drop:g} {unit} while its count did not."
        yield signal, Verdict("impossible", text, _SUM, "sum_fell")


def shape(now: Step) -> Iterator[tuple[str, Verdict]]:
    """Cumulative buckets that shrink from one edge to the next, or hold more than all."""
    for told in now.scrape.histograms:
        counts = told.cumulative_counts
        if not counts:
            continue
        if counts[-1] > told.observation_count or _shrinks(counts):
            text = "Its buckets contradict each other: a wider one counts less than a narrower one."
            yield told.signal, Verdict("impossible", text, _RANGE, "buckets")


def _shrinks(counts: tuple[float, ...]) -> bool:
    return list(counts) != sorted(counts)


def clock(now: Step) -> Iterator[tuple[str, Verdict]]:
    """The target's own clock, by the date of its answers."""
    offset = now.notes.clock_offset_seconds
    if offset is None:
        return
    if abs(offset) > now.settings.clock_off_seconds:
        way = "ahead of" if offset > 0 else "behind"
        text = f"Its clock is {seconds_text(abs(offset))} {way} ours (Date of its answer)."
        yield CLOCK, Verdict("impossible", text, _NTP, "off")
    else:
        yield CLOCK, Verdict("fresh", "Its clock agrees with ours.")
