"""The server away, the agent killed -9 twice meanwhile: no row lost, none doubled.

Real processes: an engine's page that counts its readers, `servescope agent` with its spool and its
OTLP door, `servescope up`. The server is killed, the agent is killed twice at moments drawn from
the seed, the server comes back, the spool runs empty, the agent is stopped by SIGTERM. Then the
store is opened and held against three independent lists:

* every scrape that lay in the spool when the agent was killed or stopped,
* every page that the engine gave out whole, but for the few under way at a kill,
* every OTLP span that the agent's door has answered with 200.

Limit: 0 lost, 0 twice. `--away 600` is the promise of ten minutes; the default is shorter and runs
several rounds.

    python benchmarks/agent_faults.py [--rounds 5] [--away 12] [--seed 20260131]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2

from collector.agent.framing import Frame, read_frame
from collector.agent.segment import SUFFIX, Segment
from collector.agent.wire import BATCH, decode
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

ROOT = Path(__file__).parents[1]
INTERVAL_SECONDS = 0.25
KILLS = 2
READY_SECONDS = 60.0


@dataclass
class Outcome:
    """What one round found.

    Attributes:
        spooled: scrapes seen in the spool, by address and microsecond.
        pages: pages that the engine gave out.
        spans: spans that the door took.
        lost_scrapes: spooled, not in the store.
        lost_pages: given out, not in the store.
        lost_spans: taken, not in the store.
        twice: rows that are there more than once.
        batches: batches that the store knows.
        dropped: rows that the agent says it dropped.
        drained_seconds: until the spool was empty again, once the server was back.
    """

    spooled: int = 0
    pages: int = 0
    spans: int = 0
    lost_scrapes: int = 0
    lost_pages: int = 0
    lost_spans: int = 0
    twice: int = 0
    batches: int = 0
    dropped: int = 0
    drained_seconds: float = 0.0
    why: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled or dropped."""
        # A kill may cut off the page under way; nothing else is excused.
        return not (self.lost_scrapes or self.lost_spans or self.twice or self.dropped) and (
            self.lost_pages <= 2 * KILLS
        )


class Engine:
    """An engine's page whose counter is the number of its readings."""

    def __init__(self) -> None:
        self.given = 0
        engine = self

        class Page(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = b"{}"
                if self.path == "/metrics":
                    body = (
                        "# TYPE vllm:generation_tokens_total counter\n"
                        f'vllm:generation_tokens_total{{model_name="m"}} {engine.given + 1}\n'
                    ).encode()
                self.send_response(200)
                kind = (
                    "text/plain; version=0.0.4" if self.path == "/metrics" else "application/json"
                )
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                if self.path == "/metrics":
                    engine.given += 1

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Spans:
    """Exports five spans every half second to the agent's door; keeps the ids that it has taken."""

    def __init__(self, port: int) -> None:
        self.taken: set[str] = set()
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        first = 1
        with httpx2.Client(trust_env=False, timeout=5) as client:
            while not self._stop.wait(0.5):
                numbers = range(first, first + 5)
                first += 5
                try:
                    url = f"http://127.0.0.1:{self._port}/v1/traces"
                    answer = client.post(url, json=export(numbers))
                except httpx2.HTTPError:
                    continue
                if answer.status_code == 200:
                    self.taken |= {trace_id(number) for number in numbers}

    def close(self) -> None:
        """Stop sending."""
        self._stop.set()
        self._thread.join()


def trace_id(number: int) -> str:
    return f"{number:032x}"


def export(numbers: range) -> dict:
    """LLM requests as one export of spans, in OTLP's JSON."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "vllm"}}]}
    spans = [span(number) for number in numbers]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}


def span(number: int) -> dict:
    start = 1_770_000_000_000_000_000 + number * 1_000_000_000

    def whole(name: str, value: int) -> dict:
        return {"key": name, "value": {"intValue": str(value)}}

    return {
        "traceId": trace_id(number), "spanId": f"{number:016x}", "name": "llm_request", "kind": 2,
        "startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 500_000_000),
        "attributes": [
            whole("gen_ai.usage.prompt_tokens", 100 + number),
            whole("gen_ai.usage.completion_tokens", 10),
            {"key": "gen_ai.latency.e2e", "value": {"doubleValue": 0.5}},
            {"key": "gen_ai.request.id", "value": {"stringValue": trace_id(number)}},
        ],
    }  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Stage:
    """The processes of one round."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server_port, self.door_port = free_port(), free_port()
        self.store, self.spool = folder / "store.duckdb", folder / "spool"
        self.engine = Engine()
        self.spooled: set[tuple[str, int]] = set()
        self.server: subprocess.Popen | None = None
        self.agent: subprocess.Popen | None = None
        self.ready_at = 0.0
        (folder / "agent.toml").write_text(
            f'[agent]\nserver = "http://127.0.0.1:{self.server_port}"\nname = "n1"\n'
            f'targets = ["{self.engine.url}"]\nspool_folder = "{self.spool}"\n'
            f'otlp_listen = "127.0.0.1:{self.door_port}"\ngpu = false\nbatch_seconds = 0.0\n'
            "retry_max_seconds = 1.0\nheartbeat_seconds = 1.0\n"
            f"[collector]\nscrape_interval_seconds = {INTERVAL_SECONDS}\n"
            "scrape_timeout_seconds = 2.0\n"
        )

    def start_server(self) -> None:
        """Start it and wait until it is ready."""
        listen = f"127.0.0.1:{self.server_port}"
        self.server = self._start("up", "--store", str(self.store), "--listen", listen)
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            try:
                if httpx2.get(f"http://{listen}/readyz", trust_env=False).status_code == 200:
                    self.ready_at = time.monotonic()
                    return
            except httpx2.HTTPError:
                time.sleep(0.1)
        raise SystemExit("the server did not start; see " + str(self.folder / "log"))

    def start_agent(self) -> None:
        """Start it; it needs nobody to be ready."""
        self.agent = self._start("agent", "--config", str(self.folder / "agent.toml"))

    def _start(self, *words: str) -> subprocess.Popen:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "servescope", *words],
                stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(self.folder)},
            )  # fmt: skip

    def kill_agent(self) -> None:
        """Kill it and note what it left."""
        self.agent.send_signal(signal.SIGKILL)
        self.agent.wait()
        self.note_spool()

    def kill_server(self) -> None:
        """Kill it."""
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()

    def note_spool(self) -> None:
        """What a dead agent has left; read with the framing alone, not with the spool's cursor."""
        for path in self.spool.glob(f"*{SUFFIX}"):
            segment, _ = Segment.load(path)
            if segment is None:
                continue
            with path.open("rb") as file:
                offset = segment.read_offset
                while isinstance(frame := read_frame(file, offset), Frame):
                    offset = frame.end
                    if frame.kind == BATCH and frame.payload is not None:
                        batch = decode(gzip.decompress(frame.payload))
                        self.spooled |= {
                            (batch.urls[s.target_id], round(s.at.timestamp() * 1e6))
                            for s in batch.scrapes
                        }

    def waiting(self) -> int | None:
        """Batches in the agent's spool as this server was told; None while it was not."""
        answer = httpx2.get(f"http://127.0.0.1:{self.server_port}/api/v1/agents", trust_env=False)
        rows = answer.json()["rows"]
        # The store remembers what the agent told before the server was killed.
        if not rows or rows[0]["last_seen_seconds"] > time.monotonic() - self.ready_at:
            return None
        return rows[0]["waiting_batches"]

    def close(self) -> None:
        """End what still runs."""
        for process in (self.agent, self.server):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        self.engine.close()


def play(folder: Path, seed: int, away_seconds: float) -> Outcome:
    """One round."""
    chance = random.Random(seed)
    stage = Stage(folder)
    spans = Spans(stage.door_port)
    try:
        stage.start_server()
        stage.start_agent()
        time.sleep(chance.uniform(2.0, 3.0))
        stage.kill_server()
        moments = sorted(chance.uniform(0.1, 0.9) for _ in range(KILLS))
        before = 0.0
        for moment in moments:
            time.sleep((moment - before) * away_seconds)
            before = moment
            stage.kill_agent()
            stage.start_agent()
        time.sleep((1 - before) * away_seconds)
        stage.start_server()
        time.sleep(chance.uniform(0.3, 1.0))
        # While it catches up the server goes once more: some answers are cut off behind a commit.
        stage.kill_server()
        stage.start_server()
        start = time.monotonic()
        until = start + max(READY_SECONDS, away_seconds)
        while stage.waiting() not in (0, 1, 2) and time.monotonic() < until:
            time.sleep(0.2)
        drained_seconds = time.monotonic() - start
        spans.close()
        stage.agent.terminate()
        code = stage.agent.wait(timeout=20)
        stage.note_spool()
        stage.server.terminate()
        stage.server.wait(timeout=30)
        found = judge(stage, spans.taken, code)
        found.drained_seconds = round(drained_seconds, 1)
        return found
    finally:
        spans.close()
        stage.close()


def judge(stage: Stage, taken: set[str], code: int) -> Outcome:
    found = Outcome(spooled=len(stage.spooled), pages=stage.engine.given, spans=len(taken))
    if code != 0:
        found.why.append(f"SIGTERM ended the agent with {code}")
        found.dropped += 1
    with Database.open(stage.store, StoreSettings(), WallClock()) as database:
        read = database.reader.frame
        scrapes = Counter(
            (url.removeprefix("agent://n1/"), round(at.timestamp() * 1e6))
            for url, at in read(
                "SELECT url, scraped_at FROM scrape JOIN target USING (target_id)"
            ).rows()
        )  # fmt: skip
        numbers = Counter(
            row[0]
            for row in read(
                """SELECT value FROM sample JOIN series USING (series_id)
                WHERE signal = 'generation_tokens_total'"""
            ).rows()
        )
        spans = Counter(
            str(row[0]).replace("-", "") for row in read("SELECT trace_id FROM request").rows()
        )
        found.batches = database.reader.scalar("SELECT count(*) FROM ingest_batch")
        told = database.reader.scalar("SELECT coalesce(sum(dropped_count), 0) FROM ingest_drop")
        found.dropped += int(told)
    offset = _utc_offset_microseconds()
    known = {(url, at + offset): count for (url, at), count in scrapes.items()}
    found.lost_scrapes = len(stage.spooled - set(known))
    found.lost_pages = len(set(range(1, stage.engine.given + 1)) - {int(n) for n in numbers})
    found.lost_spans = len(taken - set(spans))
    for counted in (scrapes, numbers, spans):
        found.twice += sum(count - 1 for count in counted.values())
    return found


def _utc_offset_microseconds() -> int:
    """The store's times are naive UTC, which `timestamp()` takes for local."""
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - as the store keeps it
    return round((naive.replace(tzinfo=UTC).timestamp() - naive.timestamp()) * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--away", type=float, default=12.0, help="seconds without a server")
    parser.add_argument("--seed", type=int, default=20260131)
    parser.add_argument("--keep", type=Path, help="leave store, spool and log here")
    options = parser.parse_args()
    bad = 0
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="servescope-agent-") as temporary:
            folder = options.keep / str(number) if options.keep else Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            found = play(folder, options.seed + number, options.away)
            bad += not found.good
            print(json.dumps({"round": number, **vars(found)}), flush=True)
    print(f"{options.rounds} rounds, server away {options.away:g} s, agent killed {KILLS} times in")
    print(f"each: {bad} rounds with a loss or a double (limit: 0)")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
