"""Batches and heartbeats of agents: checked, turned into rows, kept."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from collector.agent.wire import Batch, decode
from collector.drops import Drops
from collector.model import Scrape
from collector.sink import frames
from collector.starts.faults import fault_frame
from store.agents import AgentBatch
from store.errors import InputError
from store.signals import SIGNALS
from store.told import whole

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MOST_TARGETS = 10_000
_DOOR = "agent"
_OWN_SCHEMES = ("host://", "gpu://", "agent://")
_UNKNOWN = "signals that this server does not know: the agent is newer"
_OUT_OF_RANGE = "values outside the range of their signal"


def check_name(name: str) -> str:
    """A name that an agent may have.

    Raises:
        InputError: it cannot be one.
    """
    if NAME.fullmatch(name) is None:
        raise InputError(
            f"'{name[:100]}' cannot name an agent",
            hint="letters, digits, dots, hyphens and underscores; set agent.name",
        )
    return name


def target_url(agent: str, url: str) -> str:
    """How a target of an agent is registered: two nodes' localhost stay apart."""
    return url if url.startswith(_OWN_SCHEMES) else f"agent://{agent}/{url}"


@dataclass(frozen=True, slots=True)
class Received:
    """Batches of one request.

    Attributes:
        batches: what the store keeps of each.
        frames: table -> rows of all of them; `target_id` is the number of the target.
        scrapes: the same as scrapes, numbered alike.
    """

    batches: Sequence[AgentBatch]
    frames: Mapping[str, pl.DataFrame]
    scrapes: Sequence[Scrape]


def read_batches(agent: str, batch_ids: str, body: bytes, drops: Drops) -> Received:
    """The rows in the unpacked body of a request.

    Args:
        agent: the sender.
        batch_ids: the sender's own, one a line of the body, with commas between them.
        body: a batch a line.
        drops: counts values that cannot be kept.

    Raises:
        InputError: it is not that; sending it again will not help.
    """
    ids, lines = batch_ids.split(","), body.splitlines()
    if not all(map(BATCH_ID.fullmatch, ids)):
        raise InputError("a batch needs an id", hint="send it in the header Servescope-Batch")
    if len(ids) != len(lines) or len(set(ids)) != len(ids):
        raise InputError(f"{len(ids)} ids for {len(lines)} batches", hint="one each, all different")
    told: list[Scrape] = []
    batches = []
    first = 0
    for batch_id, line in zip(ids, lines, strict=True):
        batch = decode(line)
        _check_labels(batch.scrapes)
        kept = [
            replace(scrape, target_id=scrape.target_id + first)
            for scrape in _known_only(batch.scrapes, drops)
        ]
        batches.append(_part(agent, batch_id, batch, kept, first))
        told += kept
        first += len(batch.urls)
        if first > MOST_TARGETS:
            raise InputError(f"more than {MOST_TARGETS} targets in one request")
    return Received(batches, frames(told), told)


def _part(
    agent: str, batch_id: str, batch: Batch, scrapes: Sequence[Scrape], first: int
) -> AgentBatch:
    """What the store keeps of one batch; its targets are numbered from `first`."""
    targets = {first + place: target_url(agent, url) for place, url in enumerate(batch.urls)}
    facts = {
        scrape.target_id: (scrape.facts.engine, scrape.facts.engine_version, scrape.facts.model)
        for scrape in scrapes
        if scrape.facts is not None
    }
    lost = [
        (at, (f"{drop.door}:{agent}", drop.reason, drop.count, drop.example))
        for at, drop in batch.drops
        if drop.count > 0
    ]
    rows = sum(1 + len(s.samples) + len(s.histograms) for s in scrapes) + len(batch.faults)
    return AgentBatch(batch_id, targets, facts, fault_frame(batch.faults), lost, rows)


def _check_labels(scrapes: Iterable[Scrape]) -> None:
    """Labels that are no JSON object would fail in the store, and again at every attempt."""
    told: set[str] = set()
    for scrape in scrapes:
        told.update(sample.labels for sample in scrape.samples)
        told.update(histogram.labels for histogram in scrape.histograms)
    for labels in told:
        try:
            sound = isinstance(json.loads(labels), dict)
        except (ValueError, RecursionError):
            sound = False
        if not sound:
            raise InputError(f"labels that are no JSON object: {labels[:100]}")


def _known_only(scrapes: Iterable[Scrape], drops: Drops) -> tuple[Scrape, ...]:
    """The scrapes without values that the catalogue has no place for."""
    lost: Counter[str] = Counter()
    example: dict[str, str] = {}

    def keeps(signal: str, *, histogram: bool, value: float | None = None) -> bool:
        known = SIGNALS.get(signal)
        if known is None or (known.kind == "histogram") != histogram:
            reason = _UNKNOWN
        elif value is not None and not known.accepts(value):
            reason = _OUT_OF_RANGE
        else:
            return True
        lost[reason] += 1
        example.setdefault(reason, signal)
        return False

    kept = tuple(
        replace(
            scrape,
            samples=tuple(
                s for s in scrape.samples if keeps(s.signal, histogram=False, value=s.value)
            ),
            histograms=tuple(h for h in scrape.histograms if keeps(h.signal, histogram=True)),
        )
        for scrape in scrapes
    )
    for reason, count in lost.items():
        drops.add(_DOOR, reason, count, example[reason])
    return kept


def heartbeat_row(name: str, told: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The row of table `agent` for a heartbeat.

    Raises:
        InputError: something is missing or is not what it should be.
    """
    try:
        spool, clock = told["spool"], told["clock"]
        return {
            "name": name,
            "identity": str(told["identity"])[:100],
            "node": str(told["node"])[:200],
            "version": str(told["version"])[:100],
            "last_seen_at": now,
            "started_at": datetime.fromtimestamp(float(told["started_at"]), UTC),
            "heartbeat_seconds": float(told["heartbeat_seconds"]),
            "clock_offset_seconds": _number(clock["offset_seconds"]),
            "clock_error_seconds": _number(clock["error_seconds"]),
            "waiting_batches": whole(spool["records"]),
            "waiting_rows": whole(spool["rows"]),
            "spool_bytes": whole(spool["bytes"]),
            "waiting_since": _moment(spool["oldest_at"]),
            "dropped_rows": whole(told["dropped_rows"]),
            "details": json.dumps(told["details"]),
        }
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        raise InputError(f"the heartbeat is damaged ({type(error).__name__}: {error})") from error


def _number(told: Any) -> float | None:
    return None if told is None else float(told)


def _moment(told: Any) -> datetime | None:
    return None if told is None else datetime.fromtimestamp(float(told), UTC)
