"""A live engine behind an HTTP metrics page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from collector.detect import (
    base_url,
    engines_of,
    learn,
    model_in_url,
    model_of,
    normalise_url,
    unsupported,
)
from collector.drops import Drops
from collector.engines.adapter import Engine
from collector.engines.reader import PageReader
from collector.exposition import Layout, Page, PageMemory, SeriesCache, parse
from collector.exposition_names import escaping_of
from collector.http_access import OPEN, Access
from collector.http_fetch import METRICS_ACCEPT, Answer, Failure, Fetcher
from collector.model import PageNotes, Sample, Scrape, TargetFacts
from collector.settings import ScrapeSettings
from store.clock import Clock

_METRIC_KINDS = ("application/openmetrics-text", "application/octet-stream")
_FACT_TRIES = 3
_MOST_NAMED = 8
_FACT_SECONDS = 1.0
_DOOR = "scrape"
_MOST_FACT_BYTES = 1_000_000


class HttpCollector:
    """What all HTTP sources of a process share: connections, and series understood before."""

    def __init__(
        self,
        clock: Clock,
        settings: ScrapeSettings | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        drops: Drops | None = None,
    ) -> None:
        self.clock = clock
        self.drops = drops
        self.settings = settings or ScrapeSettings()
        self.fetcher = Fetcher(headers)
        self._caches: dict[str, SeriesCache] = {}
        self._readers: dict[tuple[str, ...], PageReader] = {}

    def source(self, target_id: int, url: str, access: Access = OPEN) -> HttpSource:
        """A source for the page at `url`.

        Args:
            target_id: which target the scrapes belong to.
            url: as people type it.
            access: certificates and secrets that the target asks for.

        Raises:
            CollectError: `url` is no address of a page.
        """
        return HttpSource(target_id, normalise_url(url), self, access)

    def reader(self, *engines: Engine) -> PageReader:
        """The reader of an engine's pages, or of pages that several share."""
        names = tuple(engine.name for engine in engines)
        if names not in self._readers:
            self._readers[names] = PageReader(
                *engines, most_remembered=self.settings.most_page_samples
            )
        return self._readers[names]

    def cache(self, content_type: str) -> SeriesCache:
        """What was understood of pages whose names are escaped in the same way."""
        escaping = escaping_of(content_type)
        if escaping not in self._caches:
            # What is remembered follows what a page may hold: an agent has little room for both.
            self._caches[escaping] = SeriesCache(self.settings.most_page_samples, escaping)
        return self._caches[escaping]

    async def aclose(self) -> None:
        """Close the connections; safe twice and without a scrape."""
        await self.fetcher.aclose()


class HttpSource:
    """One target. Knows its engine after the first page, and asks it for version and model."""

    def __init__(
        self, target_id: int, url: str, shared: HttpCollector, access: Access = OPEN
    ) -> None:
        self._target_id = target_id
        self._access = access
        self.url = url
        self._shared = shared
        self._memory = PageMemory()
        self._engines: tuple[Engine, ...] = ()
        self._engines_of: Layout | None = None
        self._engine: Engine | None = None
        self._facts = TargetFacts()
        self._tries_left = _FACT_TRIES

    @property
    def target_id(self) -> int:
        """Which target the scrapes belong to."""
        return self._target_id

    async def scrape(self, timeout_seconds: float) -> Scrape:
        """Ask once. Never raises for what the target does; answers within the time limit."""
        clock, settings = self._shared.clock, self._shared.settings
        at, start = clock.now(), clock.monotonic()
        got = await self._shared.fetcher.get(
            self.url,
            timeout_seconds=timeout_seconds,
            most_bytes=settings.most_body_bytes,
            accept=METRICS_ACCEPT,
            access=self._access,
        )
        seconds = clock.monotonic() - start
        if isinstance(got, Failure):
            scrape = Scrape(self._target_id, at, seconds, got.outcome, got.error)
        else:
            scrape = self._read(got, at, seconds)
        if scrape.outcome != "ok":
            # Whoever comes back may be another version, or another engine.
            self._tries_left = _FACT_TRIES
            return scrape
        return await self._with_facts(scrape, timeout_seconds - seconds)

    async def aclose(self) -> None:
        """Nothing of its own to close; the connections belong to the collector."""

    def _read(self, got: Answer, at: datetime, seconds: float) -> Scrape:
        open_metrics = got.content_type.startswith("application/openmetrics-text")
        page = parse(
            got.body,
            self._shared.cache(got.content_type),
            open_metrics=open_metrics,
            most_samples=self._shared.settings.most_page_samples,
            memory=self._memory,
        )
        scrape = Scrape(
            self._target_id,
            at,
            seconds,
            "ok",
            body_bytes=len(got.body),
            sample_count=page.sample_count,
            bad_line_count=page.bad_line_count,
        )
        failure = _not_a_page(got, page, open_metrics)
        self._count(page, failure)
        if failure is not None:
            return replace(scrape, outcome=failure.outcome, error=failure.error)
        return self._canonical(scrape, page, got)

    def _count(self, page: Page, failure: Failure | None) -> None:
        """What of the page is not taken, so that nothing goes unseen."""
        drops = self._shared.drops
        if drops is None or (failure is None and page.layout is not None):
            return  # a page with a layout has nothing to leave out
        if failure is not None:
            drops.add(_DOOR, f"a page that is refused: {failure.outcome}", 1, self.url)
            return
        if page.bad_line_count:
            first = page.bad_lines[0]
            example = f"{self.url} line {first.number}: {first.why}: {first.text}"
            drops.add(_DOOR, "a line that cannot be read", page.bad_line_count, example)
        drops.add(_DOOR, "a series told twice on a page", page.duplicate_count, self.url)

    def _canonical(self, scrape: Scrape, page: Page, got: Answer) -> Scrape:
        engines = self._engines_on(page)
        if not engines:
            return replace(scrape, outcome="unsupported", error=unsupported(page))
        if engines[0] is not self._engine:
            # The first page, or somebody else answers at this address now.
            self._engine, self._tries_left = engines[0], _FACT_TRIES
        reading = self._shared.reader(*engines).read(page)
        mark = _restart_mark(engines[0], got)
        return replace(
            scrape,
            bad_line_count=page.bad_line_count + reading.unusable_count,
            unknown_family_count=len(reading.unknown_families),
            samples=reading.samples if mark is None else (*reading.samples, mark),
            histograms=reading.histograms,
            notes=PageNotes(
                reading.refused,
                reading.parts,
                reading.unknown_families[:_MOST_NAMED],
                _clock_offset_seconds(got, scrape),
            ),
        )

    def _engines_on(self, page: Page) -> tuple[Engine, ...]:
        """Whose names stand on the page; asked again only when it is laid out differently."""
        if page.layout is None or page.layout is not self._engines_of:
            self._engines, self._engines_of = engines_of(page), page.layout
        return self._engines

    async def _with_facts(self, scrape: Scrape, left_seconds: float) -> Scrape:
        """Add what the target is, as long as something is unknown and there is time to ask."""
        if self._engine is None or self._tries_left == 0:
            return scrape
        limit = min(_FACT_SECONDS, left_seconds)
        if limit <= 0:
            return scrape
        self._tries_left -= 1
        known = TargetFacts(
            self._engine.name, None, model_of(scrape.samples) or model_in_url(self.url)
        )
        asked = self._asker(self._shared.clock.monotonic() + limit)
        facts = await learn(self._engine, known, asked)
        if facts.engine_version is not None and facts.model is not None:
            self._tries_left = 0
        if facts == self._facts:
            return scrape
        self._facts = facts
        return replace(scrape, facts=facts)

    def _asker(self, until: float) -> Any:
        base = base_url(self.url)

        async def get_json(path: str) -> Any:
            left_seconds = until - self._shared.clock.monotonic()
            if base is None or left_seconds <= 0:
                return None
            got = await self._shared.fetcher.get(
                base + path,
                timeout_seconds=left_seconds,
                most_bytes=_MOST_FACT_BYTES,
                accept="application/json",
                access=self._access,
            )
            try:
                return None if isinstance(got, Failure) else json.loads(got.body)
            except (ValueError, RecursionError):
                return None

        return get_json


def _not_a_page(got: Answer, page: Page, open_metrics: bool) -> Failure | None:
    kind = got.content_type.partition(";")[0].strip().lower()
    if kind == "text/html" or got.body.lstrip()[:1] == b"<":
        return Failure("not_metrics", "an HTML page instead of metrics, perhaps of a proxy")
    if kind == "application/json":
        return Failure("not_metrics", "JSON instead of metrics (trtllm-serve: /prometheus/metrics)")
    if kind == "application/vnd.google.protobuf":
        return Failure("not_metrics", "metrics as protobuf, although text was asked for")
    # Small exporters send no type, or one of the vague ones; what is on the page decides then.
    if kind and not kind.startswith("text/") and kind not in _METRIC_KINDS:
        return Failure("not_metrics", f"{kind[:60]} instead of metrics")
    if page.overfull:
        most = page.sample_count - 1
        why = f"more than {most} samples on one page; does a label hold ids or times?"
        return Failure("too_large", why)
    if open_metrics and not page.ended:
        return Failure("truncated", "the page ends without # EOF")
    if not page.values:
        return Failure("not_metrics", "no sample on the page")
    return None


def _clock_offset_seconds(got: Answer, scrape: Scrape) -> float | None:
    """The target's clock minus ours, by the whole seconds of its `Date`."""
    try:
        told = parsedate_to_datetime(got.headers["date"])
    except (KeyError, ValueError, TypeError):
        return None
    told = told if told.tzinfo is not None else told.replace(tzinfo=UTC)
    return (told - scrape.at).total_seconds() - scrape.duration_seconds


def _restart_mark(engine: Engine, got: Answer) -> Sample | None:
    told = got.headers.get(engine.restart_header.lower()) if engine.restart_header else None
    if told is None or not told.isdecimal() or len(told) > 18:
        return None
    return Sample("engine_start_mark", "{}", float(told))
