"""Contract checks for sources, discoveries and sinks; run them over your own.

Each raises AssertionError with one line about what the contract says and what happened instead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from collector.discovery.model import DiscoveredTarget, Discovery
from collector.model import HistogramSample, Sample, Scrape, Source
from collector.sink import Sink
from store.errors import CollectError
from store.signals import SIGNALS

_SLACK_SECONDS = 1.0


async def check_source(source: Source, timeout_seconds: float = 2.0) -> tuple[Scrape, Scrape]:
    """Scrape twice, close twice, and hold what comes against the contract of a source.

    Returns:
        Both scrapes, for checks of one's own.

    Raises:
        AssertionError: the source breaks its contract.
    """
    first = await source.scrape(timeout_seconds)
    second = await source.scrape(timeout_seconds)
    for scrape in (first, second):
        check_scrape(scrape)
        _require(scrape.target_id == source.target_id, "a scrape belongs to its target")
        limit = timeout_seconds + _SLACK_SECONDS
        _require(scrape.duration_seconds <= limit, "a scrape keeps its time limit")
    _require(first.at <= second.at, "time does not go back between scrapes")
    await source.aclose()
    await source.aclose()
    return first, second


def check_scrape(scrape: Scrape) -> None:
    """Hold one scrape against the contract.

    Raises:
        AssertionError: it breaks it.
    """
    _require(scrape.at.utcoffset() == timedelta(0), "at is aware, in UTC")
    _require(scrape.duration_seconds >= 0, "a duration is not negative")
    if scrape.outcome == "ok":
        _require(scrape.error is None, "a good scrape has no error")
    else:
        error = scrape.error or ""
        _require(bool(error) and "\n" not in error, "a failed scrape says why in one line")
        _require(not scrape.samples and not scrape.histograms, "a failed scrape brings no samples")
    for sample in scrape.samples:
        _check_sample(sample)
    for histogram in scrape.histograms:
        _check_histogram(histogram)
    told = [(row.signal, row.labels) for row in scrape.samples]
    told += [(row.signal, row.labels) for row in scrape.histograms]
    _require(len(told) == len(set(told)), "a scrape tells every series once")


async def check_sink(
    make: Callable[[], Sink], kept: Callable[[Sink], Awaitable[Sequence[tuple[int, datetime]]]]
) -> None:
    """Write, write again, close, and hold what was kept against the contract of a sink.

    Args:
        make: a fresh sink.
        kept: target and time of the scrapes that a sink keeps.

    Raises:
        AssertionError: the sink breaks its contract.
    """
    sink = make()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    good = Scrape(1, at, 0.1, "ok", samples=(Sample("requests_running", "{}", 1.0),))
    dead = Scrape(2, at, 0.1, "unreachable", "connection refused")
    await sink.write([])
    await sink.write([good, dead])
    await sink.write([good])
    told = [(target_id, moment.replace(tzinfo=None)) for target_id, moment in await kept(sink)]
    wanted = [(scrape.target_id, at.replace(tzinfo=None)) for scrape in (good, dead)]
    _require(sorted(told) == wanted, "every scrape is kept once, failed ones too")
    await sink.aclose()
    await sink.aclose()
    try:
        await sink.write([good])
    except CollectError:
        pass
    else:
        raise AssertionError("contract: a closed sink refuses")
    await make().aclose()


async def check_discovery(discovery: Discovery) -> tuple[DiscoveredTarget, ...]:
    """Ask twice, close twice, and hold what comes against the contract of a discovery.

    Returns:
        The second list, for checks of one's own.

    Raises:
        AssertionError: the discovery breaks its contract.
    """
    _require(discovery.refresh_seconds > 0, "a refresh takes some time")
    first, second = await discovery.targets(), await discovery.targets()
    for target in (*first, *second):
        _require(bool(target.address.strip()), "a target has an address")
        texts = (*target.labels, *target.labels.values())
        _require(all(isinstance(text, str) for text in texts), "labels are texts")
    problem = discovery.problem or "fine"
    _require("\n" not in problem, "a problem is told in one line")
    _require(set(map(_place, first)) == set(map(_place, second)), "a list is whole each time")
    await discovery.aclose()
    await discovery.aclose()
    return second


def _place(target: DiscoveredTarget) -> tuple[str, tuple[tuple[str, str], ...]]:
    return target.address, tuple(sorted(target.labels.items()))


def _check_sample(sample: Sample) -> None:
    _require(sample.signal in SIGNALS, f"{sample.signal} is in the catalogue")
    known = SIGNALS[sample.signal]
    _require(known.kind != "histogram", f"{sample.signal} is a histogram, not a value")
    _require(known.accepts(sample.value), f"{sample.signal} is in its range")
    _check_labels(sample.signal, sample.labels)


def _check_histogram(told: HistogramSample) -> None:
    known = SIGNALS.get(told.signal)
    _require(known is not None and known.kind == "histogram", f"{told.signal} is a histogram")
    _check_labels(told.signal, told.labels)
    same = len(told.edges) == len(told.cumulative_counts)
    _require(same, f"{told.signal}: one count for every edge")
    _require(all(map(math.isfinite, told.edges)), f"{told.signal}: edges are finite")
    ascending = all(low < high for low, high in zip(told.edges, told.edges[1:], strict=False))
    _require(ascending, f"{told.signal}: edges ascend")
    counts = (told.observation_count, *told.cumulative_counts)
    _require(
        all(math.isfinite(count) and count >= 0 for count in counts),
        f"{told.signal}: counts are numbers of things",
    )


def _check_labels(signal: str, labels: str) -> None:
    told = json.loads(labels)
    allowed = {"model", *SIGNALS[signal].labels}
    _require(set(told) <= allowed, f"{signal}: labels are among {sorted(allowed)}")
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"))
    _require(labels == canonical, f"{signal}: labels are canonical JSON")


def _require(true: bool, contract: str) -> None:
    if not true:
        raise AssertionError(f"contract: {contract}")
