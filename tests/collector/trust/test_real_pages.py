"""Pages of real engines and exporters give no false alarm."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector.detect import engines_of
from collector.engines.reader import PageReader
from collector.exposition import SeriesCache, parse
from collector.model import PageNotes, Scrape
from collector.trust.grader import TargetGrader
from store.signals import SIGNALS

PAGES = sorted((Path(__file__).parents[2] / "data" / "pages").glob("*.txt"))
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_that_goes_on_is_well(path):
    """Counters count on, gauges stay: for a minute nothing but fresh, NaN of an idle one aside."""
    page = parse(path.read_bytes(), SeriesCache())
    reading = PageReader(*engines_of(page)).read(page)
    notes = PageNotes(reading.refused, reading.parts, reading.unknown_families)
    grader, rows = TargetGrader(1), []
    for number in range(12):
        samples = tuple(
            replace(told, value=told.value + number)
            if SIGNALS[told.signal].kind == "counter"
            else told
            for told in reading.samples
            if "since_scrape" not in told.signal  # they would have to follow the counters
        )
        at = BEGIN + timedelta(seconds=5 * number)
        rows += grader.grade(
            Scrape(1, at, 0.1, "ok", samples=samples, histograms=reading.histograms, notes=notes)
        )
    said = {(row.signal, row.verdict.grade): row.verdict.evidence for row in rows}
    trouble = {key: text for key, text in said.items() if key[1] not in ("fresh", "idle")}
    assert trouble == {}
