"""The log of a starting engine -> observations of its phases."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo

from collector.starts.log_patterns import FORMATS, LogFormat, LogStep
from collector.starts.observation import StartObservation
from store.errors import InputError

MOST_LINES = 200_000
"""Later lines are not looked at: a start is told within the first few hundred."""
_DAY = timedelta(days=1)


def recognise(lines: Iterable[str]) -> LogFormat | None:
    """The format whose stamps and steps occur in the lines; None when none does."""
    held = list(lines)
    for log_format in FORMATS.values():
        stamped = any(log_format.stamp.search(line) for line in held)
        if stamped and any(step.pattern.search(line) for line in held for step in log_format.steps):
            return log_format
    return None


def read_log(
    lines: Iterable[str],
    instance: str,
    now: datetime,
    *,
    began_at: datetime | None = None,
    zone: tzinfo = UTC,
    engine: str = "",
    model: str | None = None,
    node: str | None = None,
) -> list[StartObservation]:
    """Read the first start out of a log.

    Reading ends at the line that says ready or failed. A line without a stamp happened at the last
    one that had a stamp.

    Args:
        lines: the log, oldest first.
        instance: whose log it is.
        now: aware; tells the year, which vLLM does not print.
        began_at: aware; when the process began. Logs that count from there need it; others then
            know what came before their first line.
        zone: of the host, for logs that print local time.
        engine: a key of `FORMATS`; recognised from the lines when empty.
        model: what it serves.
        node: where it runs.

    Raises:
        InputError: the log is of no known engine, or its clock needs `began_at`.
    """
    held = [line for _, line in zip(range(MOST_LINES), lines, strict=False)]
    log_format = FORMATS.get(engine) if engine else recognise(held)
    if log_format is None:
        raise InputError(
            f"this is no log of {engine or 'an engine that is known'}",
            hint=f"there are: {', '.join(FORMATS)}",
        )
    if log_format.clock == "since_start" and began_at is None:
        raise InputError(
            f"a log of {log_format.engine} counts from the start of its process",
            hint="say when that was",
        )
    reading = _Reading(log_format, instance, model, node)
    at = began_at
    if at is not None:
        reading.begin(log_format.first, at)
    for line in held:
        stamp = log_format.stamp.search(line)
        if stamp is not None:
            at = _time(stamp, log_format, now, began_at, zone)
            reading.begin_once(at)
        if at is not None and reading.take(line, at):
            break
    return reading.found


class _Reading:
    """One log being read: the phase that goes on, and what was found so far."""

    def __init__(
        self, log_format: LogFormat, instance: str, model: str | None, node: str | None
    ) -> None:
        self.found: list[StartObservation] = []
        self._format = log_format
        self._who = (instance, model, node)
        self._phase = self._words = ""
        self._since: datetime | None = None

    def begin_once(self, at: datetime) -> None:
        """The first stamped line: what goes on then."""
        if self._since is None:
            self.begin(self._format.first, at)

    def begin(self, phase: str, at: datetime, words: str = "before the first step") -> None:
        """Another phase begins; the one before it ends."""
        self._end(at)
        self._phase, self._since, self._words = phase, at, words

    def take(self, line: str, at: datetime) -> bool:
        """Read one line; True when the start is over."""
        step = self._step(line)
        if step is None:
            return False
        match = step.pattern.search(line)
        if step.took and match is not None:
            seconds = timedelta(seconds=float(match["seconds"]))
            self._add(step.took, at - seconds, at, match[0])
        if step.begins and match is not None:
            self.begin(step.begins, at, f"after {match[0]!r}")
        if step.mark:
            self._end(at)
            self._add(step.mark, at, at, line.strip()[-60:])
        return bool(step.mark)

    def _step(self, line: str) -> LogStep | None:
        return next((step for step in self._format.steps if step.pattern.search(line)), None)

    def _end(self, at: datetime) -> None:
        if self._since is not None and at > self._since:
            self._add(self._phase, self._since, at, self._words)
        self._since = at

    def _add(self, phase: str, start: datetime, end: datetime, words: str) -> None:
        instance, model, node = self._who
        evidence = f"log of {self._format.engine}: {words}"
        self.found.append(
            StartObservation(instance, phase, start, end, evidence, model=model, node=node)
        )


def _time(
    stamp: re.Match[str],
    log_format: LogFormat,
    now: datetime,
    began_at: datetime | None,
    zone: tzinfo,
) -> datetime:
    parts = {name: int(text) for name, text in stamp.groupdict().items()}
    if log_format.clock == "since_start" and began_at is not None:
        return began_at + timedelta(
            minutes=parts["minute"],
            seconds=parts["second"],
            milliseconds=parts["milli"],
            microseconds=parts["micro"],
        )
    local = now.astimezone(zone)
    for year in (local.year, local.year - 1):
        try:
            at = datetime(year, **parts, tzinfo=zone)
        except ValueError:  # 29 February of another year, or no date at all
            continue
        if at <= local + _DAY:
            return at.astimezone(UTC)
    return now.astimezone(UTC)
