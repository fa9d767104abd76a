"""Faults of cards, noticed between two readings of the same card.

What drivers tell never goes back: an XID code stands for ever, counters only grow. So the first
reading of a card is where things stand and no fault; a fault is what changes after it. Clocks held
down and corrected memory errors are judged over five minutes: a moment of them is no fault. Work
for a card that has nothing to do (`idle`) is none either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from collector.agent.gpu_faults import XIDS
from collector.agent.wire import GpuFault
from collector.model import Sample, Scrape

if TYPE_CHECKING:
    import polars as pl

_MOST_REMEMBERED = 100_000
# A share says nothing about a longer time in which nobody looked.
_LONGEST_GAP_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """When what counts as a fault.

    Args:
        window_seconds: over how long throttling and corrected errors are judged.
        throttled_ratio: share of that time with clocks held down by one cause.
    """

    window_seconds: float = 300.0
    throttled_ratio: float = 0.1


Seeds = Mapping[tuple[int, str, str], tuple[datetime, float]]
"""(target, signal, labels) -> when it was read last, and the value."""


@dataclass(slots=True)
class _Track:
    """What is known of one series.

    Args:
        at: time of the last reading.
        value: the last reading.
        since: begin of the window.
        gathered: what came together since then: seconds held down, or errors.
    """

    at: datetime
    value: float
    since: datetime
    gathered: float = 0.0


@dataclass(frozen=True, slots=True)
class _Finding:
    kind: str
    text: str
    started_at: datetime
    ended_at: datetime | None = None


class FaultWatch:
    """Looks at one reading after the other.

    Args:
        seeds: the last readings of an earlier process, so that nothing between is missed.
        settings: when what counts.
    """

    def __init__(self, seeds: Seeds | None = None, settings: FaultSettings | None = None) -> None:
        self._settings = settings or FaultSettings()
        self._tracks = {
            key: _Track(at, value, since=at) for key, (at, value) in (seeds or {}).items()
        }

    def look(self, scrape: Scrape) -> list[GpuFault]:
        """Faults between the reading before and this one; the same reading again shows none."""
        found: list[tuple[Sample, _Finding]] = []
        for sample in scrape.samples:
            judge = _JUDGES.get(sample.signal)
            if judge is not None:
                finding = self._judge(judge, scrape, sample)
                if finding is not None:
                    found.append((sample, finding))
        return _together(scrape.target_id, found)

    def _judge(self, judge: _Judge, scrape: Scrape, sample: Sample) -> _Finding | None:
        if len(self._tracks) > _MOST_REMEMBERED:
            self._tracks.clear()
        key = (scrape.target_id, sample.signal, sample.labels)
        track = self._tracks.get(key)
        if track is None:
            self._tracks[key] = _Track(scrape.at, sample.value, since=scrape.at)
            return None
        if scrape.at <= track.at:
            return None
        finding = judge(track, sample, scrape.at, self._settings)
        track.at, track.value = scrape.at, sample.value
        return finding


_Judge = Callable[[_Track, Sample, datetime, FaultSettings], _Finding | None]


def _increase(track: _Track, now: float) -> float:
    """Growth of a counter; one that fell started afresh, at 0."""
    return now - track.value if now >= track.value else now


def _label(sample: Sample, name: str) -> str:
    return str(json.loads(sample.labels).get(name, ""))


def _xid(code: float | str) -> str:
    text = f"{code:g}" if isinstance(code, float) else code
    known = XIDS.get(int(text)) if text.isdecimal() and len(text) < 6 else None
    meaning = known or "see NVIDIA's list of XID errors"
    return f"XID {text}: {meaning}"


def _new_code(track: _Track, now: Sample, at: datetime, _: FaultSettings) -> _Finding | None:
    changed = now.value not in (0, track.value)
    return _Finding("xid", _xid(now.value), at) if changed else None


def _more_events(track: _Track, now: Sample, at: datetime, _: FaultSettings) -> _Finding | None:
    """A window's count by code: it falls when events leave the window, that is no news."""
    return _Finding("xid", _xid(_label(now, "xid")), at) if now.value > track.value else None


def _counted_events(track: _Track, now: Sample, at: datetime, _: FaultSettings) -> _Finding | None:
    return _Finding("xid", _xid(_label(now, "xid")), at) if _increase(track, now.value) else None


def _grown(kind: str, words: str) -> _Judge:
    """A counter of which every single one is a fault."""

    def judge(track: _Track, now: Sample, at: datetime, _: FaultSettings) -> _Finding | None:
        count = _increase(track, now.value)
        return _Finding(kind, f"{count:g} {words}", at) if count else None

    return judge


def _switched(kind: str, bad: float, words: str) -> _Judge:
    """A flag that has come to its bad value."""

    def judge(track: _Track, now: Sample, at: datetime, _: FaultSettings) -> _Finding | None:
        came = now.value == bad != track.value
        return _Finding(kind, words, at) if came else None

    return judge


def _windowed(
    gathered: Callable[[_Track, Sample, datetime], float],
    judge_window: Callable[[Sample, float, float, FaultSettings], tuple[str, str] | None],
) -> _Judge:
    """Something that is added up over a window and judged at its end."""

    def judge(track: _Track, now: Sample, at: datetime, by: FaultSettings) -> _Finding | None:
        track.gathered += gathered(track, now, at)
        seconds = (at - track.since).total_seconds()
        if seconds < by.window_seconds:
            return None
        told = judge_window(now, track.gathered, seconds, by)
        began, track.since, track.gathered = track.since, at, 0.0
        return None if told is None else _Finding(*told, began, at)

    return judge


def _held_down(
    now: Sample, held_seconds: float, seconds: float, by: FaultSettings
) -> tuple[str, str] | None:
    reason = _label(now, "reason")
    share = min(1.0, held_seconds / seconds)
    if reason == "idle" or share < by.throttled_ratio:
        return None
    return "throttle", f"clocks held down by {reason or 'a limit'} for {share:.0%} of the time"


def _corrected(now: Sample, count: float, _: float, __: FaultSettings) -> tuple[str, str] | None:
    return ("ecc", f"{count:g} corrected memory errors") if count else None


def _growth(track: _Track, now: Sample, _: datetime) -> float:
    return _increase(track, now.value)


def _share_seconds(track: _Track, now: Sample, at: datetime) -> float:
    seconds = (at - track.at).total_seconds()
    return now.value * seconds if seconds <= _LONGEST_GAP_SECONDS else 0.0


_JUDGES: Mapping[str, _Judge] = {
    "gpu_xid_last_code": _new_code,
    "gpu_xid_recent_events": _more_events,
    "gpu_xid_events_total": _counted_events,
    "gpu_ecc_uncorrected_total": _grown("ecc", "memory errors that were not corrected"),
    "gpu_ecc_corrected_total": _windowed(_growth, _corrected),
    "gpu_remapped_rows_corrected_total": _grown("remap", "memory rows replaced, errors corrected"),
    "gpu_remapped_rows_uncorrected_total": _grown("remap", "memory rows replaced, errors not"),
    "gpu_row_remap_failed_ratio": _switched("remap", 1.0, "a bad memory row was not replaced"),
    "gpu_retired_pages_total": _grown("retired", "memory pages taken out of use"),
    "gpu_link_errors_total": _grown("link", "errors on the links between cards"),
    "gpu_healthy_ratio": _switched("unhealthy", 0.0, "the exporter calls the card unhealthy"),
    "gpu_throttled_seconds_total": _windowed(_growth, _held_down),
    "gpu_throttled_ratio": _windowed(_share_seconds, _held_down),
}
WATCHED_SIGNALS = tuple(_JUDGES)


def _together(target_id: int, found: Iterable[tuple[Sample, _Finding]]) -> list[GpuFault]:
    """One fault for each card, kind and time: several signals may tell of the same one."""
    faults: dict[tuple[str, str, str, datetime, datetime | None], list[str]] = {}
    for sample, finding in found:
        node, gpu = _card(sample.labels, target_id)
        key = (node, gpu, finding.kind, finding.started_at, finding.ended_at)
        texts = faults.setdefault(key, [])
        if finding.text not in texts:
            texts.append(finding.text)
    return [
        GpuFault(node, gpu, started_at, ended_at, kind, "; ".join(texts))
        for (node, gpu, kind, started_at, ended_at), texts in faults.items()
    ]


def _card(labels: str, target_id: int) -> tuple[str, str]:
    """Node and card; a slice of a card is `0/3`."""
    told = json.loads(labels)
    gpu = str(told.get("gpu") or told.get("gpu_uuid") or "")
    if told.get("gpu_instance", "0") != "0":  # 0 is the whole card, or its first part
        gpu = f"{gpu}/{told['gpu_instance']}"
    return str(told.get("node") or f"target {target_id}"), gpu


def fault_frame(faults: Sequence[GpuFault]) -> pl.DataFrame:
    """The rows of `gpu_fault`."""
    import polars as pl

    rows = [
        (
            *(fault.node, fault.gpu, fault.started_at.replace(tzinfo=None)),
            fault.ended_at.replace(tzinfo=None) if fault.ended_at else None,
            *(fault.kind, json.dumps({"text": fault.details})),
        )
        for fault in faults
    ]
    time, text = pl.Datetime("us"), pl.String()
    schema: dict[str, pl.DataType] = {
        **dict.fromkeys(("node", "gpu"), text),
        **dict.fromkeys(("started_at", "ended_at"), time),
        **dict.fromkeys(("kind", "details"), text),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
