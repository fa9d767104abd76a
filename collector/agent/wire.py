"""What an agent sends: a batch of scrapes as gzipped JSON, version 1; and raw OTLP bodies.

Several batches in one request are several lines, each packed by itself.
A batch names each series once and refers to it by number; the numbers of one target's scrapes are
mostly the same, so they too are written once (`shapes`). Times are microseconds since 1970 UTC.
Everything that a scrape knows goes over, so that the server can grade and store it as its own.

    {"version": 1, "targets": [url], "values": [[signal, labels]],
     "histograms": [[signal, labels, [edge]]], "shapes": [[number]],
     "scrapes": [[target, at, seconds, outcome, error, body_bytes, sample_count, bad_lines,
                  unknown_families, facts, notes, shape, [value], shape,
                  [[count, sum, [cumulative]]]]],
     "faults": [[node, gpu, started_at, ended_at, kind, details]],
     "drops": [[at, door, reason, count, example]]}
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

import orjson

from collector.drops import Drop
from collector.model import (
    HistogramSample,
    Outcome,
    PageNotes,
    Refused,
    Sample,
    Scrape,
    TargetFacts,
)
from store.errors import InputError
from store.told import MOST_INT32, whole

VERSION = 1
BATCH_TYPE = f"application/vnd.servescope.batch+json;version={VERSION}"
BATCH = 1
OTLP = 2
BATCH_HEADER = "Servescope-Batch"
SENT_HEADER = "Servescope-Sent-At"
# Which process sends, and for how many seconds it has run: two under one name can be told apart.
AGENT_HEADER = "Servescope-Agent"
# On every answer that a servescope server gives for itself: a proxy on the way has no such line.
SERVER_HEADER = "Servescope-Server"
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 5


@dataclass(frozen=True, slots=True)
class GpuFault:
    """Something that went wrong on a card.

    Args:
        node: host name.
        gpu: the card's number on its node.
        started_at: when it was noticed, aware UTC.
        ended_at: when it was over; None for something without duration, such as an XID.
        kind: `xid`, `ecc`, `throttle`, `lost`.
        details: one line for people.
    """

    node: str
    gpu: str
    started_at: datetime
    ended_at: datetime | None
    kind: str
    details: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes into the store in one transaction.

    Args:
        urls: addresses of the targets; `target_id` of a scrape is its place in here.
        scrapes: scrapes of these targets.
        faults: faults noticed.
        drops: what was lost on the way, with the moment it is counted at.
    """

    urls: tuple[str, ...]
    scrapes: tuple[Scrape, ...]
    faults: tuple[GpuFault, ...] = ()
    drops: tuple[tuple[datetime, Drop], ...] = ()

    @property
    def rows(self) -> int:
        """Rows of the store that it holds."""
        told = sum(1 + len(s.samples) + len(s.histograms) for s in self.scrapes)
        return told + len(self.faults)


def encode(batch: Batch) -> bytes:
    """The bytes of a batch; the same batch gives the same bytes."""
    values, histograms, shapes = _Numbers(), _Numbers(), _Numbers()
    scrapes = [_scrape_row(scrape, values, histograms, shapes) for scrape in batch.scrapes]
    document = {
        "version": VERSION,
        "targets": batch.urls,
        "values": values.told,
        "histograms": histograms.told,
        "shapes": shapes.told,
        "scrapes": scrapes,
        "faults": [_fault_row(fault) for fault in batch.faults],
        "drops": [[_micro(at), d.door, d.reason, d.count, d.example] for at, d in batch.drops],
    }
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    body = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    return packer.compress(body) + packer.flush()


def decode(document: bytes) -> Batch:
    """The batch in the unpacked bytes of `encode`.

    Raises:
        InputError: it is not one, or of a version that this program does not know.
    """
    try:
        told = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise InputError(f"the batch is not JSON: {error}") from error
    version = told.get("version") if isinstance(told, dict) else None
    if version != VERSION:
        raise InputError(
            f"a batch of version {version!r}, this server reads version {VERSION}",
            hint="update the older of the two",
        )
    try:
        return _batch(told)
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(
            f"the batch is damaged ({type(error).__name__}: {error})"[:300],
            hint="is it what `servescope agent` sends?",
        ) from error


class _Numbers:
    """Gives each different thing a number, in order of appearance."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self._number: dict[Any, int] = {}

    def of(self, key: Any, shown: Any) -> int:
        number = self._number.setdefault(key, len(self.told))
        if number == len(self.told):
            self.told.append(shown)
        return number


def _scrape_row(
    scrape: Scrape, values: _Numbers, histograms: _Numbers, shapes: _Numbers
) -> list[Any]:
    v_shape = tuple(values.of((s.signal, s.labels), (s.signal, s.labels)) for s in scrape.samples)
    h_shape = tuple(
        histograms.of((h.signal, h.labels, h.edges), (h.signal, h.labels, h.edges))
        for h in scrape.histograms
    )
    facts = scrape.facts
    return [
        scrape.target_id,
        _micro(scrape.at),
        scrape.duration_seconds,
        scrape.outcome,
        scrape.error,
        scrape.body_bytes,
        scrape.sample_count,
        scrape.bad_line_count,
        scrape.unknown_family_count,
        facts and (facts.engine, facts.engine_version, facts.model),
        _notes_row(scrape.notes),
        shapes.of(v_shape, v_shape),
        [_short(s.value) for s in scrape.samples],
        shapes.of(h_shape, h_shape),
        [
            (
                _short(h.observation_count),
                h.observation_sum,
                [_short(c) for c in h.cumulative_counts],
            )
            for h in scrape.histograms
        ],
    ]


def _short(value: float) -> float | int:
    """A whole number without `.0`: two characters less, a third of most pages."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _notes_row(notes: PageNotes | None) -> list[Any] | None:
    if notes is None:
        return None
    # NaN is no JSON: it goes as null.
    refused = [(r.signal, r.labels, None if r.value != r.value else r.value) for r in notes.refused]
    parts = dict(notes.parts)
    return [refused, parts, notes.unknown_families, notes.clock_offset_seconds]


def _fault_row(fault: GpuFault) -> list[Any]:
    ended = fault.ended_at and _micro(fault.ended_at)
    return [fault.node, fault.gpu, _micro(fault.started_at), ended, fault.kind, fault.details]


def _batch(told: Mapping[str, Any]) -> Batch:
    urls = tuple(_text(url) for url in told["targets"])
    values = [(_text(signal), _text(labels)) for signal, labels in told["values"]]
    histograms = [
        (_text(signal), _text(labels), tuple(map(float, edges)))
        for signal, labels, edges in told["histograms"]
    ]
    shapes = [tuple(shape) for shape in told["shapes"]]
    scrapes = tuple(_scrape(row, values, histograms, shapes) for row in told["scrapes"])
    for scrape in scrapes:
        if not 0 <= scrape.target_id < len(urls):
            raise IndexError("a scrape of no target")
    faults = tuple(_fault(*row) for row in told["faults"])
    drops = tuple(
        (_time(at), Drop(_text(door), _text(reason), whole(count), _text(example)))
        for at, door, reason, count, example in told["drops"]
    )
    return Batch(urls, scrapes, faults, drops)


def _scrape(
    row: Sequence[Any],
    values: Sequence[tuple[str, str]],
    histograms: Sequence[tuple[str, str, tuple[float, ...]]],
    shapes: Sequence[tuple[int, ...]],
) -> Scrape:
    head, (facts, notes, v_shape, v_told, h_shape, h_told) = row[:9], row[9:]
    samples = tuple(
        Sample(values[number][0], values[number][1], float(value))
        for number, value in zip(shapes[v_shape], v_told, strict=True)
    )
    told = tuple(
        _histogram(histograms[number], *parts)
        for number, parts in zip(shapes[h_shape], h_told, strict=True)
    )
    target, at, seconds, outcome, error, *rest = head
    body, *counts = rest
    good, bad, unknown = (None if count is None else whole(count, MOST_INT32) for count in counts)
    return Scrape(
        int(target),
        _time(at),
        float(seconds),
        _outcome(outcome),
        None if error is None else _text(error),
        None if body is None else whole(body),
        good,
        bad,
        unknown,
        samples=samples,
        histograms=told,
        facts=None if facts is None else TargetFacts(*map(_text_or_none, facts)),
        notes=None if notes is None else _notes(*notes),
    )


def _histogram(
    series: tuple[str, str, tuple[float, ...]], count: Any, total: Any, cumulative: Any
) -> HistogramSample:
    signal, labels, edges = series
    counts = tuple(map(float, cumulative))
    if len(counts) != len(edges):
        raise ValueError("a histogram whose edges and counts differ in number")
    observed = None if total is None else float(total)
    return HistogramSample(signal, labels, float(count), observed, edges, counts)


def _notes(refused: Any, parts: Any, unknown: Any, offset: Any) -> PageNotes:
    told = tuple(
        Refused(_text(signal), _text(labels), float("nan") if value is None else float(value))
        for signal, labels, value in refused
    )
    counted = {_text(name): int(count) for name, count in parts.items()}
    seconds = None if offset is None else float(offset)
    return PageNotes(told, counted, tuple(map(_text, unknown)), seconds)


def _fault(node: Any, gpu: Any, started: Any, ended: Any, kind: Any, details: Any) -> GpuFault:
    until = None if ended is None else _time(ended)
    began = _time(started)
    return GpuFault(_text(node), _text(gpu), began, until, _text(kind), _text(details))


def _outcome(told: Any) -> Any:
    if told not in _OUTCOMES:
        raise ValueError(f"an outcome {told!r}"[:80])
    return told


_OUTCOMES = frozenset(get_args(Outcome))


def _text_or_none(told: Any) -> str | None:
    return None if told is None else _text(told)


def _text(told: Any) -> str:
    if not isinstance(told, str):
        raise TypeError("a text is missing")
    return told


def _micro(at: datetime) -> int:
    whole = int(at.replace(microsecond=0).timestamp())
    return whole * 1_000_000 + at.microsecond


def _time(micro: Any) -> datetime:
    whole, rest = divmod(int(micro), 1_000_000)
    return datetime.fromtimestamp(whole, UTC).replace(microsecond=rest)
