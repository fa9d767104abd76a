"""Idle and frozen: whether a target works, and whether its gauges and counters agree on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from collector.trust.grades import Verdict, seconds_text
from collector.trust.memory import Course
from collector.trust.step import WORK, Step
from store.signals import SIGNALS

# What a scheduler sets at each step of the engine.
SCHEDULER = (
    *("requests_running", "requests_waiting", "requests_waiting_by_reason"),
    *("kv_cache_usage_ratio", "kv_cache_used_tokens"),
)
_KV = ("kv_cache_usage_ratio", "kv_cache_used_tokens")
# What moves at every step, not only when a request finishes.
_STEPWISE = frozenset({"engine_steps_total", "itl_seconds", "step_tokens"})
_CPU = ("process_cpu_seconds_total", "{}")
_CPU_TICKS = 3.0
# A full cache stands still although all is well.
_NEARLY_FULL = 0.98
# Engines that count at the end of a request only may be silent for the length of one.
_ONLY_AT_END = 7.0

_HANG = (
    "Send one request: if it is answered and the numbers move, they were left over from cancelled"
    " requests; if not, the engine hangs and needs a restart."
)
_GAUGES = "Do not scale or route by these gauges; the counters of this target stay good."
_COUNTERS = "Do not compute rates from this target; see whether something caches its page."
_CACHE = "Find what answers in its place (proxy, exporter with a cache) and scrape past it."


def idle(now: Step) -> Verdict | None:
    """Zero demand, with the evidence that the target answers; None when it works or cannot tell."""
    since = now.memory.idle_since
    if since is None or now.worked or not _tells_of_work(now) or waiting_or_running(now) > 0:
        return None
    quiet = (now.scrape.at - since).total_seconds()
    if quiet < now.settings.idle_after_seconds:
        return None
    return Verdict(
        "idle",
        f"It answers, nothing runs or waits, and no counter has moved for {seconds_text(quiet)}:"
        " demand is zero.",
    )


def page_frozen(now: Step) -> Verdict | None:
    """A page that somebody keeps: nothing on it moves, not even the CPU time of its process.

    Every answer costs some CPU, but a small exporter needs many of them for the clock to tick.
    """
    course = now.memory.courses.get(_CPU)
    value = now.values.get(_CPU)
    if course is None or value != course.value:
        return None
    stood_seconds = (now.scrape.at - course.changed_at).total_seconds()
    if stood_seconds < now.settings.frozen_after_seconds * _CPU_TICKS or now.worked:
        return None
    if not all(_long(other, now) for other in now.memory.courses.values()):
        return None
    stood = seconds_text(stood_seconds)
    return Verdict(
        "frozen",
        f"Even the CPU time of its process has stood at {value:g} s for {stood}, and every answer"
        " costs some: this is a kept copy of an old page.",
        _CACHE,
        "page",
    )


def frozen(now: Step) -> Iterator[tuple[str, Verdict]]:
    """Gauges that stand still while counters move, and counters while gauges move."""
    if now.worked is None or now.restarted:
        return
    courses = _scheduler_courses(now)
    if not courses:
        return
    still = all(now.values.get(key) == course.value for key, course in courses.items())
    if now.worked:
        if still and _gauges_should_move(now, courses):
            yield from _gauges_stand(now, courses)
    elif waiting_or_running(now) > 0:
        yield from _nothing_moves(now, courses, still)


def _gauges_stand(
    now: Step, courses: dict[tuple[str, str], Course]
) -> Iterator[tuple[str, Verdict]]:
    newest = max(course.changed_at for course in courses.values())
    stood = seconds_text((now.scrape.at - newest).total_seconds())
    for signal in sorted({key[0] for key in courses}):
        text = f"It has stood at {now.total(signal):g} for {stood} while counters moved each scrape"
        yield signal, Verdict("frozen", f"{text}.", _GAUGES, "gauges")


def _nothing_moves(
    now: Step, courses: dict[tuple[str, str], Course], still: bool
) -> Iterator[tuple[str, Verdict]]:
    since = now.memory.idle_since
    if since is None:
        return
    quiet = (now.scrape.at - since).total_seconds()
    stepwise = not _STEPWISE.isdisjoint(now.signals)
    if quiet < now.settings.frozen_after_seconds * (1.0 if stepwise else _ONLY_AT_END):
        return
    told = f"requests are shown (running and waiting: {waiting_or_running(now):g})"
    if still and all(_long(course, now) for course in courses.values()):
        text = f"{told}, but no token and no finished request was counted for {seconds_text(quiet)}"
        for signal in sorted({key[0] for key in courses}):
            total = now.total(signal)
            stands = f"It stands at {total:g}: {text}."
            yield signal, Verdict("frozen", stands, _HANG, "busy_without_work")
    elif not still:
        text = f"It has not moved for {seconds_text(quiet)} although {told} and gauges change."
        for signal in sorted(WORK & now.signals):
            yield signal, Verdict("frozen", text, _COUNTERS, "counters")


def _scheduler_courses(now: Step) -> dict[tuple[str, str], Course]:
    if not any(signal in now.totals for signal in SCHEDULER):
        return {}
    return {key: course for key, course in now.memory.courses.items() if key[0] in SCHEDULER}


def _gauges_should_move(now: Step, courses: dict[tuple[str, str], Course]) -> bool:
    """Tokens came in every scrape, so a KV cache in use cannot have kept its fill to a digit."""
    since: datetime | None = now.memory.busy_since
    if since is None or not all(_long(course, now) for course in courses.values()):
        return False
    if (now.scrape.at - since).total_seconds() < now.settings.frozen_after_seconds:
        return False
    fills = [(key[0], value) for key, value in now.values.items() if key[0] in _KV]
    return any(
        value > 0 and (SIGNALS[signal].high is None or value < _NEARLY_FULL)
        for signal, value in fills
    )


def _long(course: Course, now: Step) -> bool:
    stood = (now.scrape.at - course.changed_at).total_seconds()
    enough = now.settings
    return (
        stood >= enough.frozen_after_seconds and course.repeats + 1 >= enough.frozen_after_scrapes
    )


def gauges_moved(now: Step) -> bool:
    """Whether a gauge of the scheduler took another value since the last page."""
    return any(now.values.get(key) != told.value for key, told in _scheduler_courses(now).items())


def waiting_or_running(now: Step) -> float:
    """Requests that the gauges show, running and waiting."""
    return sum(now.total(signal) or 0.0 for signal in ("requests_running", "requests_waiting"))


def _tells_of_work(now: Step) -> bool:
    return "requests_running" in now.signals or not WORK.isdisjoint(now.signals)
