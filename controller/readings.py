"""Points of targets -> readings of a pool: sums, grades, and what contradicts itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from controller import observation as seen
from controller.observation import Grade, Reading
from store.queries.control import COUNTERS

# A target that was not even tried for so long is none of the pool's any more.
LEFT_OUT_AFTER = timedelta(minutes=10)
# Points from further ahead than this are of a clock that goes wrong.
SKEW_SECONDS = 5.0
# Two scrapes that are the same to the last digit, while requests run, leave more than this between.
FROZEN_SCRAPES = 0.75
_WORK = frozenset(COUNTERS)


@dataclass(frozen=True, slots=True)
class Told:
    """What one target told last.

    Attributes:
        values: of gauges, and changes of counters and gauges under "+signal".
        seconds: what the changes cover, by signal.
        age_seconds: of its newest point.
        problem: why it cannot be believed; "" otherwise.
    """

    values: Mapping[str, float]
    seconds: Mapping[str, float]
    age_seconds: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Reads:
    """What there is to read a pool from.

    Attributes:
        told: by target.
        expected: replicas that should have told something.
        now: naive UTC.
        fresh_seconds: older points are not fresh.
    """

    told: Mapping[int, Told]
    expected: int
    now: datetime
    fresh_seconds: float

    def sound(self) -> list[Told]:
        """Those that can be believed and are fresh."""
        return [
            one
            for one in self.told.values()
            if not one.problem and one.age_seconds <= self.fresh_seconds
        ]


_Row = tuple[str, float | None, float, float | None, float | None, float | None, Any, Any]
"""signal, age, newest_age, value, moved_age, fell_age, change, seconds."""


def told_by_target(
    points: pl.DataFrame, fresh_seconds: float, scrape_seconds: float, window_seconds: float
) -> dict[int, Told]:
    """What each target told, with what is wrong with it.

    Args:
        points: as of `store.queries.control.newest`.
        fresh_seconds: older points are not fresh.
        scrape_seconds: how often it is scraped.
        window_seconds: over which changes were counted.
    """
    rows: dict[int, list[_Row]] = {}
    for number, *rest in points.iter_rows():
        rows.setdefault(number, []).append(tuple(rest))
    still = FROZEN_SCRAPES * scrape_seconds
    return {
        number: _told(mine, fresh_seconds, still, window_seconds) for number, mine in rows.items()
    }


def _told(rows: Sequence[_Row], fresh: float, still_seconds: float, window_seconds: float) -> Told:
    values: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for name, age, _, value, _, _, change, covered in rows:
        if age is None or value is None or not math.isfinite(value):
            continue
        if age > fresh and name not in _WORK:
            continue
        values[name] = value
        if change is not None and covered and math.isfinite(change):
            values[f"+{name}"] = change
            seconds[name] = covered
    age = min((row[1] for row in rows if row[1] is not None), default=math.inf)
    problem = (
        _ahead(rows) or _frozen(rows, values, age, still_seconds) or _fell(rows, window_seconds)
    )
    return Told(values, seconds, age, problem)


def _ahead(rows: Sequence[_Row]) -> str:
    """Points from the future."""
    newest = min(row[2] for row in rows)
    return f"its clock is {-newest:.0f} s ahead" if newest < -SKEW_SECONDS else ""


def _frozen(
    rows: Sequence[_Row], values: Mapping[str, float], age: float, still_seconds: float
) -> str:
    """Requests run, and for long nothing at all has moved."""
    if not values.get("requests_running"):
        return ""
    # The first point of a series counts as a move: nothing was known before it.
    moved = min((row[4] for row in rows if row[4] is not None), default=None)
    if moved is None or moved - age < still_seconds:
        return ""
    return f"it has shown the same numbers for {moved - age:.0f} s while requests run"


def _fell(rows: Sequence[_Row], window_seconds: float) -> str:
    """A counter fell: what was counted in the window before that is not known."""
    for name, age, _, _, _, fell, _, _ in rows:
        if name in _WORK and fell is not None and fell - (age or 0.0) < window_seconds:
            return "its counters began again from zero"
    return ""


def readings_of(
    reads: Reads, rows: Mapping[str, Any], window_seconds: float
) -> tuple[dict[str, Reading], list[str]]:
    """All readings of a pool, and what is not as it should be.

    Args:
        reads: what targets told.
        rows: as of `store.queries.control.requests`; {} where none could be asked for.
        window_seconds: of rates from rows.
    """
    notes = _notes(reads)
    made = {
        seen.REQUESTS_RUNNING: _summed(reads, "requests_running"),
        seen.REQUESTS_WAITING: _summed(reads, "requests_waiting"),
        seen.KV_CACHE_USAGE_RATIO: _mean(reads, "kv_cache_usage_ratio"),
        seen.OUTPUT_TOKENS_PER_SECOND: _rate(reads, "generation_tokens_total"),
        seen.INPUT_TOKENS_PER_SECOND: _rate(reads, "prompt_tokens_total"),
        seen.REFUSED_PER_SECOND: _rate(reads, "requests_refused_total"),
        seen.PREFIX_HIT_RATIO: _hits(reads),
        seen.REQUESTS_PER_SECOND: _arrivals(reads, rows, window_seconds),
    }
    made |= {
        name: one for name, one in _of_rows(rows, window_seconds).items() if _fills(made, name)
    }
    contradiction = _contradiction(made, reads, rows)
    if contradiction:
        notes.append(contradiction)
        for name in (seen.REQUESTS_PER_SECOND, seen.REQUESTS_RUNNING):
            one = made[name]
            made[name] = Reading(one.value, Grade.STALE, one.age_seconds, one.share)
    return made, notes


def _fills(made: Mapping[str, Reading], name: str) -> bool:
    return name not in made or made[name].value is None


def _notes(reads: Reads) -> list[str]:
    counted: dict[str, int] = {}
    for one in reads.told.values():
        if one.problem:
            counted[one.problem] = counted.get(one.problem, 0) + 1
    found = [f"of {count} replicas: {text}" for text, count in sorted(counted.items())[:5]]
    silent = reads.expected - len(reads.sound())
    if reads.expected and silent > 0:
        found.append(f"{silent} of {reads.expected} replicas told nothing that counts")
    return found


def graded(value: float | None, told: Sequence[Told], reads: Reads) -> Reading:
    """A value that so many targets told."""
    if value is None or not math.isfinite(value) or not told:
        newest = min((one.age_seconds for one in reads.told.values()), default=math.inf)
        age = newest if math.isfinite(newest) else None
        return Reading(None, Grade.MISSING, age, 0.0)
    share = min(len(told) / reads.expected, 1.0) if reads.expected else 1.0
    age = max(max(one.age_seconds for one in told), 0.0)
    return Reading(float(value), Grade.FRESH if share >= 1 else Grade.PARTIAL, age, share)


def _summed(reads: Reads, signal: str) -> Reading:
    told = [one for one in reads.sound() if signal in one.values]
    return graded(sum(one.values[signal] for one in told), told, reads)


def _mean(reads: Reads, signal: str) -> Reading:
    told = [one for one in reads.sound() if signal in one.values]
    total = sum(one.values[signal] for one in told)
    return graded(total / len(told) if told else None, told, reads)


def _rate(reads: Reads, signal: str) -> Reading:
    told = [one for one in reads.sound() if f"+{signal}" in one.values]
    return graded(_per_second(told, signal), told, reads)


def _per_second(told: Sequence[Told], signal: str) -> float:
    return sum(one.values[f"+{signal}"] / one.seconds[signal] for one in told)


def _hits(reads: Reads) -> Reading:
    hit, queried = "prefix_cache_hit_tokens_total", "prefix_cache_queried_tokens_total"
    told = [one for one in reads.sound() if f"+{hit}" in one.values and f"+{queried}" in one.values]
    asked = sum(one.values[f"+{queried}"] for one in told)
    found = sum(one.values[f"+{hit}"] for one in told)
    return graded(min(found / asked, 1.0) if asked > 0 else None, told, reads)


def _arrivals(reads: Reads, rows: Mapping[str, Any], window_seconds: float) -> Reading:
    """Requests that came: counted; else those that ended and those that more are inside.

    What engines count at an end, and rows of ended requests, lag behind what comes by as much as
    the number inside grows: arrivals = ends + growth of the running and the waiting.
    """
    came = _rate(reads, "requests_arrived_total")
    if came.value is not None:
        return came
    ended = [one for one in reads.sound() if "+requests_finished_total" in one.values]
    if ended:
        rate = _per_second(ended, "requests_finished_total") + _growth(ended)
        return graded(max(rate, 0.0), ended, reads)
    is_counted = any("requests_finished_total" in one.values for one in reads.sound())
    if is_counted or not rows.get("known"):
        # Of one point nothing is known to have grown; what rows tell of a pool's first seconds
        # would be less than what there is.
        return Reading.missing()
    sound = [one for one in reads.sound() if "requests_running" in one.values]
    rate = rows["ended"] / window_seconds + _growth(sound)
    if reads.expected and not sound:
        # Requests are told by others than the replicas: they count, but nobody vouches for them.
        return Reading(max(rate, 0.0), Grade.PARTIAL, _rows_age(rows, reads.now), 0.0)
    return graded(max(rate, 0.0), sound, reads) if sound else Reading(max(rate, 0.0))


def _rows_age(rows: Mapping[str, Any], now: datetime) -> float | None:
    newest = rows.get("newest_at")
    return None if newest is None else max((now - newest).total_seconds(), 0.0)


def _growth(told: Sequence[Told]) -> float:
    """Requests a second by which more are running and waiting."""
    total = 0.0
    for signal in ("requests_running", "requests_waiting"):
        total += sum(
            one.values[f"+{signal}"] / one.seconds[signal]
            for one in told
            if f"+{signal}" in one.values
        )
    return total


_ROWS: Mapping[str, Callable[[Mapping[str, Any], float], float | None]] = {
    seen.INPUT_TOKENS: lambda rows, _: rows["input_mean"],
    seen.OUTPUT_TOKENS: lambda rows, _: rows["output_mean"],
    seen.PREFIX_HIT_RATIO: lambda rows, _: rows["hit_ratio"],
    seen.INPUT_TOKENS_PER_SECOND: lambda rows, window: (rows["input_tokens"] or 0) / window,
    seen.OUTPUT_TOKENS_PER_SECOND: lambda rows, window: (rows["output_tokens"] or 0) / window,
    seen.REFUSED_PER_SECOND: lambda rows, window: rows["refused"] / window,
    seen.TTFT_P95_SECONDS: lambda rows, _: rows["ttft_p95"],
    seen.TPOT_P95_SECONDS: lambda rows, _: rows["tpot_p95"],
    seen.ATTAINMENT_RATIO: lambda rows, _: rows["attainment"],
}


def _of_rows(rows: Mapping[str, Any], window_seconds: float) -> dict[str, Reading]:
    if not rows.get("known"):
        return {}
    found = {}
    for name, of in _ROWS.items():
        value = of(rows, window_seconds)
        if value is not None and math.isfinite(value):
            found[name] = Reading(float(value))
    return found


def _contradiction(made: Mapping[str, Reading], reads: Reads, rows: Mapping[str, Any]) -> str:
    """Zero where others saw traffic is no zero."""
    running, rate = made[seen.REQUESTS_RUNNING], made[seen.REQUESTS_PER_SECOND]
    if running.value and rate.value == 0:
        return f"{running.value:g} requests run, but none came or ended lately"
    if running.value != 0 or (rate.value or 0) > 0:
        return ""
    if rows.get("ended") or rows.get("arrived"):
        return f"replicas tell of no traffic, but {rows['ended']} requests just ended"
    worked = _per_second(
        [one for one in reads.sound() if "+generation_tokens_total" in one.values],
        "generation_tokens_total",
    )
    return f"no request runs, but {worked:.0f} tokens/s were generated" if worked > 0 else ""
