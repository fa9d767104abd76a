"""Pages of an engine whose every latency is known, from text to view: the bounds hold the truth."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from analysis.fleet import fleet
from analysis.slo import check
from analysis.slo_model import Slo
from collector.engines.reader import PageReader
from collector.engines.registry import ENGINES
from collector.exposition import parse
from collector.model import Scrape
from collector.sink import StoreSink
from store.clock import VirtualClock
from store.database import Database
from store.queries.scope import Scope
from store.settings import StoreSettings
from store.targets import describe, register

NOW = datetime(2026, 3, 1, 12, 3, 27, tzinfo=UTC)
EDGES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0)
OTHER_EDGES = (0.1, 0.3, 0.5, 1.0, 3.0)
EVERY_SECONDS, SCRAPES = 10, 540


class Simulated:
    """A vLLM that counts what it is given, and forgets it when it restarts."""

    def __init__(self, model="m", edges=EDGES):
        self.model = model
        self.restart(edges)

    def restart(self, edges):
        self.edges = edges
        self.ttft = np.empty(0)
        self.finished = {"stop": 0, "error": 0}

    def serve(self, ttft, failed):
        self.ttft = np.concatenate([self.ttft, ttft])
        self.finished["stop"] += ttft.size
        self.finished["error"] += failed

    def page(self):
        name = "vllm:time_to_first_token_seconds"
        said = f'engine="0",model_name="{self.model}"'
        lines = [f"# TYPE {name} histogram"]
        for edge in (*self.edges, math.inf):
            told = "+Inf" if edge == math.inf else edge
            below = int((self.ttft <= edge).sum())
            lines.append(f'{name}_bucket{{{said},le="{told}"}} {below}.0')
        lines += [f"{name}_count{{{said}}} {self.ttft.size}.0"]
        lines += [f"{name}_sum{{{said}}} {float(self.ttft.sum())!r}"]
        lines += ["# TYPE vllm:request_success_total counter"]
        for reason, count in self.finished.items():
            lines.append(
                f'vllm:request_success_total{{{said},finished_reason="{reason}"}} {count}.0'
            )
        lines += ["# TYPE vllm:num_requests_running gauge"]
        lines += [f"vllm:num_requests_running{{{said}}} 2.0"]
        return "\n".join(lines) + "\n"


def ago(number):
    """Seconds before NOW of a scrape; the last one is a second old."""
    return 1 + EVERY_SECONDS * (SCRAPES - 1 - number)


async def scrape_all(database, random, restarts):
    """90 minutes of scrapes; gives (scrape number, latencies, failed) of what was served."""
    number = register(database.writer, "http://gpu-1:8000/metrics", NOW - timedelta(days=1))
    target_id = number.result()
    writer = database.writer
    describe(writer, target_id, engine="vllm", engine_version="0.32.0", model="m").result()
    engine, reader, sink = Simulated(), PageReader(ENGINES["vllm"]), StoreSink(writer)
    served, scrapes = [], []
    for place in range(SCRAPES):
        if place in restarts:
            engine.restart(restarts[place])
            reader = PageReader(ENGINES["vllm"])
        slow = 8.0 if ago(place) > 3600 else 1.0
        failed = int(random.random() < 0.1)
        ttft = random.lognormal(-1.2, 0.8, 3 - failed) * slow
        engine.serve(ttft, failed)
        served.append((place, ttft, failed))
        found = reader.read(parse(engine.page()))
        scrapes.append(
            Scrape(
                target_id,
                NOW - timedelta(seconds=ago(place)),
                0.01,
                "ok",
                samples=found.samples,
                histograms=found.histograms,
            )
        )
    await sink.write(scrapes)
    await sink.aclose()
    return served


@pytest.mark.parametrize("restarts", [{}, {300: EDGES}, {300: OTHER_EDGES, 400: EDGES}])
@pytest.mark.parametrize("minutes", [15, 60, 75])
async def test_bounds_hold_the_truth_and_nothing_before_the_range(restarts, minutes):
    """Counts are exact over restarts, p95 and attainment lie within their bounds.

    Latencies were eight times as long until an hour ago: a range that reaches back before its
    start would show it.
    """
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as database:
        served = await scrape_all(database, np.random.default_rng(7), restarts)
        scope = Scope((1,), NOW - timedelta(minutes=minutes), NOW)
        slo = Slo("s", "ttft", 0.5, minutes * 60.0, ttft_seconds=0.6)
        up = Slo("u", "availability", 0.5, minutes * 60.0)
        view = fleet(database.reader, scope, slos=[slo, up])
        bounded, counted = check(database.reader, [slo, up], scope)
    inside = [item for item in served if ago(item[0]) <= minutes * 60]
    ttft = np.concatenate([item[1] for item in inside])
    failed = sum(item[2] for item in inside)
    p95 = np.sort(ttft)[math.ceil(0.95 * ttft.size) - 1]
    measure = view.measures["ttft_p95_seconds"]
    assert measure.n == ttft.size
    assert (measure.low or 0.0) < p95 <= (measure.high or math.inf)
    rate = view.measures["requests_per_second"]
    assert rate.n == ttft.size + failed
    assert rate.value == pytest.approx(rate.n / (EVERY_SECONDS * len(inside)))
    assert view.measures["error_ratio"].value == pytest.approx(failed / rate.n)
    lines = view.frames["sparklines"]["requests_per_second"].drop_nulls()
    # Three were served between any two scrapes: no bin at an edge of the range is a drop.
    assert lines.to_list() == pytest.approx([0.3] * len(lines))
    good = (ttft <= 0.6).sum() / ttft.size
    assert bounded.attainment_low <= good <= bounded.attainment_high
    assert bounded.tally.attempted == ttft.size
    assert counted.attainment_ratio == pytest.approx(ttft.size / rate.n)


async def test_two_models_of_one_engine_add_up():
    """An instance that serves two models runs the requests of both."""
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as database:
        target = register(database.writer, "http://gpu-1:8000/metrics", NOW - timedelta(days=1))
        target_id = target.result()
        describe(database.writer, target_id, engine="vllm", model="a").result()
        text = "# TYPE vllm:num_requests_running gauge\n" + "".join(
            f'vllm:num_requests_running{{engine="0",model_name="{model}"}} {running}\n'
            for model, running in (("a", 3.0), ("b", 4.0))
        )
        sink = StoreSink(database.writer)
        found = PageReader(ENGINES["vllm"]).read(parse(text))
        at = NOW - timedelta(seconds=1)
        await sink.write([Scrape(target_id, at, 0.01, "ok", samples=found.samples)])
        await sink.aclose()
        scope = Scope((1,), NOW - timedelta(minutes=15), NOW)
        view = fleet(database.reader, scope, slos=[])
    assert view.measures["requests_running"].value == 7.0
