"""Twelve faults of a real HTTP target, each with its grade and with words an operator can act on.

The target answers over a socket; time is virtual, so that minutes pass in no time.
"""

import json
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from collector.http_source import HttpCollector
from collector.sink import StoreSink
from collector.trust.grades import CLOCK, WHOLE_TARGET
from collector.trust.seeds import seeds_of
from collector.trust.sink import GradingSink
from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.services import Services
from dashboard.url_state import parse
from servescope.config import load
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store import targets
from store.clock import VirtualClock
from store.database import Database
from store.queries import trust

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERY_SECONDS = 5
KV, RUNNING, QUEUE = "kv_cache_usage_ratio", "requests_running", "queue_seconds"
DECODE = "decode_since_scrape_tokens_per_second"


class Vllm:
    """A vLLM with two data-parallel ranks under load; each fault is a switch."""

    def __init__(self):
        self.tick = 0
        self.fault = None
        self.began = self.worked = 0

    def step(self, fault):
        if fault != self.fault:
            self.began = self.tick
        self.tick += 1
        self.fault = fault
        self.worked += fault != "nan_idle"

    def page(self):
        ranks = "0" if self.fault == "missing_rank" else "01"
        lines = [line for rank in ranks for line in self.rank(f'engine="{rank}",model_name="m"')]
        start = 1_770_000_000.25 + (900 if self.fault == "restart" else 0)
        lines += [
            f"process_start_time_seconds {start}",
            f"process_cpu_seconds_total {self.tick * 2.5}",
        ]
        return "\n".join(lines) + "\n"

    def rank(self, said):
        idle, frozen = self.fault == "nan_idle", self.fault == "freeze"
        seen = self.began if frozen else self.worked
        work = self.worked - self.began if self.fault == "restart" else self.worked
        running = 0 if idle else 3 + seen % 4
        kv = "NaN" if idle else 0.2 + seen % 7 / 100
        name = "num_requests_running" if self.fault != "renamed" else "num_running_reqs"
        total = -1e9 if self.fault == "negative_sum" else 0.0
        queue = "vllm:request_queue_time_seconds"
        return [
            f"vllm:{name}{{{said}}} {running}",
            f"vllm:num_requests_waiting{{{said}}} {0 if idle else seen % 2}",
            f"vllm:kv_cache_usage_perc{{{said}}} {kv}",
            f"vllm:generation_tokens_total{{{said}}} {1000.0 * work}",
            f"vllm:prompt_tokens_total{{{said}}} {3000.0 * work}",
            f'vllm:request_success_total{{{said},finished_reason="stop"}} {7.0 * work}',
            *(
                f'{queue}_bucket{{{said},le="{edge}"}} {7.0 * work}'
                for edge in ("0.3", "0.5", "+Inf")
            ),
            f"{queue}_count{{{said}}} {7.0 * work}",
            f"{queue}_sum{{{said}}} {0.01 * work + total}",
        ]


class Llama(Vllm):
    """A llama-server; its mean since the last scrape starts again with every reading."""

    def page(self):
        tokens, seconds = 400 * self.tick, 4.0 * self.tick
        mean = 75.5 if self.fault == "second_scraper" else 100
        return (
            f"llamacpp:requests_processing {self.tick % 3}\nllamacpp:requests_deferred 0\n"
            f"llamacpp:tokens_predicted_total {tokens}\n"
            f"llamacpp:tokens_predicted_seconds_total {seconds}\n"
            f"llamacpp:predicted_tokens_seconds {mean}\nllamacpp:n_decode_total {self.tick * 50}\n"
        )


class Door(BaseHTTPRequestHandler):
    """How the target answers, the broken ways too."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        engine = self.server.engine
        self.close_connection = True
        if engine.fault == "silence":
            return
        if self.path != "/metrics":
            self.answer("404 Not Found", b"")
        elif engine.fault == "html_502":
            self.answer("502 Bad Gateway", b"<html><h1>502 Bad Gateway</h1></html>", "text/html")
        elif engine.fault == "truncated":
            self.answer("200 OK", engine.page().encode(), extra_bytes=500)
        elif engine.fault == "million_series":
            self.many()
        else:
            self.answer("200 OK", engine.page().encode())

    def answer(self, status, body, kind="text/plain", extra_bytes=0):
        off = 3600 if self.server.engine.fault == "clock_off" else 0
        date = format_datetime(self.server.clock.now() + timedelta(seconds=off), usegmt=True)
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nDate: {date}\r\nConnection: close\r\n"
            f"Content-Length: {len(body) + extra_bytes}\r\n\r\n"
        )
        self.wfile.write(head.encode() + body)

    def many(self):
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
        rows = (f'vllm:request_success_total{{user="{n}"}} 1\n' for n in range(1_000_000))
        try:
            self.wfile.write(head.encode())
            for _ in range(100):
                self.wfile.write("".join(next(rows) for _ in range(10_000)).encode())
        except OSError:
            pass  # whoever has seen enough hangs up

    def log_message(self, *_):
        pass


class Watch:
    """A server's scraping, grading, pages and API, with the time in hand."""

    def __init__(self, database, config, clock, url):
        self.database, self.clock = database, clock
        self.runtime = Runtime(config, database, clock, SloBook(None, clock))
        self.http = HttpCollector(clock, config.collector)
        self.target_id = targets.register(database.writer, url, clock.now()).result()
        self.source = self.http.source(self.target_id, url)
        self.sink = self.new_sink()

    def new_sink(self):
        reader, writer = self.database.reader, self.database.writer
        return GradingSink(
            StoreSink(writer),
            writer,
            lambda: seeds_of(trust.current(reader, self.clock.now()).to_dicts()),
        )

    async def see(self, engine, fault, scrapes):
        for _ in range(scrapes):
            self.clock.advance(EVERY_SECONDS)
            engine.step(fault)
            await self.sink.write([await self.source.scrape(4.0)])

    def grades(self):
        rows = trust.current(self.database.reader, self.clock.now()).to_dicts()
        return {row["signal"]: SimpleNamespace(**row) for row in rows}

    def admin_text(self):
        """All words of the Admin page as the server would send them."""
        services = Services(
            view=lambda name, params, **options: self.runtime.view(name, params, options),
            catalog=self.runtime.catalog,
            now=self.clock.now,
            data_age=self.runtime.data_age,
            label_values=self.runtime.label_values,
            version="test",
        )
        scene = scene_of(services, parse("/ui/admin", "", "/ui/"), "/ui/")
        parts = [
            answer(panel, scene, services, None, beat=False)[0]
            for panel in page_of(scene.address).panels
        ]
        return json.dumps(parts, default=lambda part: part.to_plotly_json(), ensure_ascii=False)


@pytest.fixture
def door():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    with closing(server.socket):
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
async def watched(door, tmp_path):
    """A watched vLLM that has been well for a minute."""
    clock = VirtualClock(BEGIN)
    door.clock, door.engine = clock, Vllm()
    config = load(None, {}, {"XDG_CONFIG_HOME": str(tmp_path)})
    url = f"http://127.0.0.1:{door.server_address[1]}/metrics"
    with Database.open(None, config.store, clock) as database:
        watch = Watch(database, config, clock, url)
        yield SimpleNamespace(watch=watch, door=door)
        await watch.http.aclose()


FAULTS = [
    ("freeze", Vllm, 25, KV, "frozen", ("counters moved each scrape", "Do not scale or route")),
    ("html_502", Vllm, 1, WHOLE_TARGET, "silent", ("HTTP 502", "not zero", "proxy")),
    ("restart", Vllm, 1, WHOLE_TARGET, "reset", ("started again", "no rate across")),
    ("second_scraper", Llama, 3, DECODE, "two_scrapers", ("75.5", "one place only")),
    ("nan_idle", Vllm, 1, KV, "idle", ("NaN", "Demand is zero")),
    ("nan_idle", Vllm, 15, WHOLE_TARGET, "idle", ("nothing runs or waits", "demand is zero")),
    ("silence", Vllm, 1, WHOLE_TARGET, "silent", ("last page was 5 s before", "not zero")),
    ("clock_off", Vllm, 1, CLOCK, "impossible", ("1 h 0 min ahead of ours", "NTP")),
    ("negative_sum", Vllm, 1, QUEUE, "impossible", ("went down", "No restart")),
    ("missing_rank", Vllm, 1, RUNNING, "partial", ("1 of 2 series", "rank")),
    ("renamed", Vllm, 1, RUNNING, "absent", ("num_running_reqs", "renamed")),
    ("million_series", Vllm, 1, WHOLE_TARGET, "stale", ("larger than what is taken", "label")),
    ("truncated", Vllm, 1, WHOLE_TARGET, "partial", ("broke off", "cuts the connection")),
]


@pytest.mark.parametrize(("fault", "engine", "scrapes", "signal", "grade", "words"), FAULTS)
async def test_a_fault_has_its_grade_and_its_words(
    watched, fault, engine, scrapes, signal, grade, words
):
    """Well, then the fault, then well again: the grade comes with its words, and goes."""
    watch, told = watched.watch, engine()
    watched.door.engine = told
    await watch.see(told, None, 12)
    assert {row.grade for row in watch.grades().values()} == {"fresh"}
    await watch.see(told, fault, scrapes)
    found = watch.grades()[signal]
    assert found.grade == grade
    text = watch.admin_text()
    assert found.evidence in text
    for word in words:
        assert word in f"{found.evidence} {found.advice}"
        assert word in text
    await watch.see(told, None, 20)
    assert watch.grades()[signal].grade == "fresh"


async def test_a_missing_rank_is_no_reset_of_anything(watched):
    """Sums fall because a rank is gone; labelled counters, too, are partial and not reset."""
    watch, told = watched.watch, watched.door.engine
    await watch.see(told, None, 12)
    await watch.see(told, "missing_rank", 3)
    grades = {name: row.grade for name, row in watch.grades().items()}
    assert set(grades.values()) <= {"fresh", "partial"}
    assert grades["requests_finished_total"] == "partial"


@pytest.mark.parametrize("fault", ["freeze", "missing_rank", "renamed", "silence", "nan_idle"])
async def test_a_restart_of_the_server_in_the_middle_of_a_fault_writes_nothing(watched, fault):
    """What held before holds after, and no row says otherwise."""
    watch, told = watched.watch, watched.door.engine
    await watch.see(told, None, 12)
    await watch.see(told, fault, 25)
    before = watch.grades()
    watch.sink = watch.new_sink()
    await watch.see(told, fault, 30)
    after = watch.grades()
    assert {name: row.since for name, row in after.items()} == {
        name: row.since for name, row in before.items()
    }


async def test_the_api_says_what_the_page_says(watched):
    """One view behind both: /api/v1/trust carries the same sentence."""
    watch, told = watched.watch, watched.door.engine
    await watch.see(told, None, 12)
    await watch.see(told, "silence", 2)
    with TestClient(create_app(watch.runtime), base_url="http://127.0.0.1") as client:
        found = client.get("/api/v1/trust").json()
    (target,) = found["frames"]["targets"]["rows"]
    assert (target["grade"], target["usable_signals"]) == ("silent", 0)
    assert found["sentences"][0] in watch.admin_text()
    assert "not zero" in found["sentences"][0]
