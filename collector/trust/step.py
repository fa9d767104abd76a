"""What changed between the last good page of a target and this one: facts, no judgement yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from collector.model import HistogramSample, PageNotes, Scrape
from collector.trust.grades import TrustSettings
from collector.trust.memory import START_MARKS, Key, Memory
from store.signals import SIGNALS

# Counters and histograms that move when, and only when, an engine works on requests.
WORK = frozenset(
    {
        *("prompt_tokens_total", "prompt_tokens_computed_total", "generation_tokens_total"),
        *("requests_finished_total", "engine_steps_total", "prefill_busy_seconds_total"),
        *("decode_busy_seconds_total", "ttft_seconds", "itl_seconds", "tpot_seconds"),
        *("e2e_seconds", "step_tokens", "input_tokens", "output_tokens"),
    }
)
_NO_NOTES = PageNotes()
# Sums of floating-point numbers may wobble in the last digits.
_NOISE = 1e-9
_SAME_START_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Step:
    """One look at a target.

    Args:
        scrape: the page, good.
        memory: what was remembered before it.
        settings: when what counts as what.
        values: every value of the page.
        totals: signal -> the sum of its values; histograms are not in it.
        signals: every signal of the page.
        fell: signal -> its value before and now, for counters that went down.
        broken: histograms of which a bucket or the count went down.
        sums_fell: histograms of which only the sum went down, and by how much.
        fewer: signal -> series that feed it now and before, where some are missing.
        worked: whether a counter of work moved; None when there is nothing to compare with.
        restarted: whether the process behind the page is another one than before.
        alternates: whether that other one has answered before, so that several do in turns.
    """

    scrape: Scrape
    memory: Memory
    settings: TrustSettings
    values: Mapping[Key, float]
    totals: Mapping[str, float]
    signals: frozenset[str]
    fell: Mapping[str, tuple[float, float]]
    broken: frozenset[str]
    sums_fell: Mapping[str, float]
    fewer: Mapping[str, tuple[int, int]]
    worked: bool | None
    restarted: bool
    alternates: bool

    @property
    def notes(self) -> PageNotes:
        """What the page showed beside its values."""
        return self.scrape.notes or _NO_NOTES

    def total(self, signal: str) -> float | None:
        """The sum of a signal over its series; None when the page does not show it."""
        return self.totals.get(signal)


def step(scrape: Scrape, memory: Memory, settings: TrustSettings) -> Step:
    """Compare a good page with what is remembered."""
    values = {(told.signal, told.labels): told.value for told in scrape.samples}
    totals: dict[str, float] = {}
    for (signal, _), value in values.items():
        totals[signal] = totals.get(signal, 0.0) + value
    signals = frozenset(totals).union(told.signal for told in scrape.histograms)
    fewer = _fewer(scrape, memory)
    fell, counted, grew = _counters(values, memory, fewer)
    broken, sums_fell, observed = _histograms(scrape.histograms, memory, fewer)
    first = memory.last_at is None
    moved = _start_moved(totals, values, memory)
    return Step(
        scrape,
        memory,
        settings,
        values,
        totals,
        signals,
        fell,
        broken,
        sums_fell,
        fewer,
        None if first else bool(grew or observed),
        not first and (bool(moved) or _most_fell(fell, broken, counted)),
        any(mark in memory.starts for mark in moved),
    )


def _fewer(scrape: Scrape, memory: Memory) -> dict[str, tuple[int, int]]:
    """Signals that fewer series feed than before, where that means a missing rank.

    Series of a signal with labels of its own (pods, reasons) come and go; they count only beside a
    signal without, whose series are ranks and nothing else.
    """
    told = scrape.notes.parts if scrape.notes is not None else {}
    fewer = {
        signal: (parts, memory.parts[signal])
        for signal, parts in told.items()
        if parts < memory.parts.get(signal, 0)
    }
    return fewer if any(not SIGNALS[signal].labels for signal in fewer) else {}


def _counters(
    values: Mapping[Key, float], memory: Memory, fewer: Mapping[str, object]
) -> tuple[dict[str, tuple[float, float]], int, bool]:
    """Counters that went down, how many could have, and whether one of work went up."""
    fell: dict[str, tuple[float, float]] = {}
    counted: set[str] = set()
    grew = False
    for key, value in values.items():
        signal = key[0]
        course = memory.courses.get(key)
        if course is None or SIGNALS[signal].kind != "counter":
            grew = grew or (course is None and value > 0 and signal in WORK)
            continue
        before = course.value
        if before > 0:
            counted.add(signal)
        if value < before - _NOISE * before:
            if signal not in fewer:
                fell[signal] = (before, value)
        elif value > before and signal in WORK:
            grew = True
    return fell, len(counted), grew


def _histograms(
    told: tuple[HistogramSample, ...], memory: Memory, fewer: Mapping[str, object]
) -> tuple[frozenset[str], dict[str, float], bool]:
    """Histograms that started again, sums that fell alone, and whether one of work was fed."""
    broken: set[str] = set()
    sums: dict[str, float] = {}
    observed = False
    for now in told:
        before = memory.histograms.get((now.signal, now.labels))
        if before is None or before.edges != now.edges or now.signal in fewer:
            continue
        if histogram_fell(before, now):
            broken.add(now.signal)
        elif (drop := sum_drop(before, now)) > 0:
            sums[now.signal] = drop
        if now.observation_count > before.observation_count and now.signal in WORK:
            observed = True
    return frozenset(broken), sums, observed


def histogram_fell(before: HistogramSample, now: HistogramSample) -> bool:
    """Whether a histogram of the same edges started again: a bucket or the count went down."""
    if now.observation_count < before.observation_count:
        return True
    old, new = before.cumulative_counts, now.cumulative_counts
    return old != new and any(n < o for n, o in zip(new, old, strict=True))


def sum_drop(before: HistogramSample, now: HistogramSample) -> float:
    """By how much the sum went down although the count did not; 0 when it did not.

    Only of what cannot be negative in truth: a sum of latencies, lengths, counts.
    """
    old, new = before.observation_sum, now.observation_sum
    if old is None or new is None or now.observation_count < before.observation_count:
        return 0.0
    drop = old - new
    return drop if drop > _NOISE * max(abs(old), 1.0) else 0.0


def _start_moved(
    totals: Mapping[str, float], values: Mapping[Key, float], memory: Memory
) -> list[tuple[Key, float]]:
    """Start marks that are others than on the page before."""
    if not any(mark in totals for mark in START_MARKS):
        return []
    return [
        (key, value)
        for key, value in values.items()
        if key[0] in START_MARKS
        and (course := memory.courses.get(key)) is not None
        and abs(value - course.value) > _SAME_START_SECONDS
    ]


def _most_fell(fell: Mapping[str, object], broken: frozenset[str], counted: int) -> bool:
    """Whether so much went down together that the process must be a new one."""
    return len(fell) + len(broken) >= 2 and len(fell) * 2 >= counted
