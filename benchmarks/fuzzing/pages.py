"""Metrics pages: ours beside Prometheus' own parser, and on to canonical rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_families,
)
from prometheus_client.parser import text_string_to_metric_families as plain_families

from collector.detect import engines_of
from collector.engines.reader import PageReader
from collector.exposition import Page, PageMemory, SeriesCache, parse
from collector.model import Scrape
from collector.sink import frames
from fuzzing.target import Take, Target, same

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_MOST_BYTES = 1 << 14
_PAGE = b"""# HELP vllm:num_requests_running now
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="m",engine="0"} 3
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{le="0.1",model_name="m"} 1
vllm:time_to_first_token_seconds_bucket{le="+Inf",model_name="m"} 2.0
vllm:time_to_first_token_seconds_sum{model_name="m"} 0.7
vllm:time_to_first_token_seconds_count{model_name="m"} 2
"""
_SEEDS = (
    b"\0" + _PAGE,
    b"\1" + _PAGE + b"# EOF\n",
    b'\0sglang:num_queue_reqs{model_name="a\\"b\\n"} 1e3 1769860800000\n',
    b'\0{"a.b", "c d"="e"} NaN\nllamacpp:requests_processing 0x1p3\n',
    b'\1# TYPE a counter\n# UNIT a seconds\na_total 1 # {trace_id="x"} 0.5\n# EOF',
    b"\2" + _PAGE.replace(b"\n", b"\r\n"),
)


def _seeds(folder: Path) -> Sequence[bytes]:
    del folder
    pages = sorted((Path(__file__).parents[2] / "tests" / "data" / "pages").glob("*.txt"))
    return (*_SEEDS, *(b"\0" + page.read_bytes()[:1_500] for page in pages[::3]))


def _made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending
    cache, memory = SeriesCache(most_texts=20_000), PageMemory()
    readers: dict[tuple[str, ...], PageReader] = {}

    def take(data: bytes) -> None:
        body, is_open = data[1:], bool(data[:1] != b"\0")
        page = parse(body, open_metrics=is_open)
        again = parse(body, cache, open_metrics=is_open, memory=memory)
        same("with and without a memory", _values(page), _values(again))
        same(
            "read twice",
            _values(page),
            _values(parse(body, cache, open_metrics=is_open, memory=memory)),
        )
        _beside_theirs(body, page, is_open)
        engines = engines_of(again)
        if engines:
            names = tuple(engine.name for engine in engines)
            reader = readers.setdefault(names, PageReader(*engines, most_remembered=20_000))
            reading = reader.read(again)
            frames(
                [Scrape(1, _AT, 0.1, "ok", samples=reading.samples, histograms=reading.histograms)]
            )

    return take


def _values(page: Page) -> dict[object, object]:
    told = {(one.name, one.labels): repr(value) for one, value in page.values.items()}
    return {**told, "bad": page.bad_line_count, "count": page.sample_count}


def _beside_theirs(body: bytes, page: Page, is_open: bool) -> None:
    """Every sample that theirs reads of a page without a bad line is one of ours.

    Theirs is more lenient where ours refuses a line, so only sound pages are held side by side; and
    it is quadratic on long pages.
    """
    if page.bad_line_count or len(body) > _MOST_BYTES or not body.isascii() or b"\r" in body:
        return
    try:
        families = list((open_families if is_open else plain_families)(body.decode("ascii")))
    except Exception:  # noqa: BLE001 - theirs may refuse what ours reads, in any way it likes
        return
    ours = {(one.name, one.labels): value for one, value in page.values.items()}
    for sample in (sample for family in families for sample in family.samples):
        if sample.timestamp is not None or is_open:
            continue
        labels = tuple(sorted(sample.labels.items()))
        told = ours.get((sample.name, labels))
        if told is None:  # theirs renames counters
            told = ours.get((sample.name.removesuffix("_total"), labels))
        if told is None or not (told == float(sample.value) or math.isnan(told)):
            same("a sample beside theirs", (sample.name, labels, told), sample.value)


EXPOSITION = Target(
    "exposition",
    "metrics pages, Prometheus text and OpenMetrics, to canonical rows",
    _seeds,
    _made,
    is_text=True,
    words=(
        b"# TYPE ",
        b"# UNIT ",
        b"# HELP ",
        b"# EOF\n",
        b"{",
        b"}",
        b'="',
        b'"',
        b",",
        b"\\n",
        b"+Inf",
        b"NaN",
        b"_bucket",
        b"_total",
        b" histogram",
        b"vllm:",
        b'le="',
        b"0x1p3",
        b"1_0",
    ),
)
