"""What scraping a fleet costs: N targets, each a vLLM page of 540 samples under load.

Every target is an address of its own on a server of a child process, over real sockets; its
counters and histograms move from scrape to scrape. The whole loop is measured as it runs in the
server: HTTP, parsing, adapter, rows, durable commit. Then, in the same run, Prometheus scrapes the
same targets at the same interval. Processor time is counted after a first round of all targets, so
that neither side pays for meeting them.

    python benchmarks/live_scrape.py --targets 200 --interval 5 --seconds 30
    python benchmarks/live_scrape.py --prometheus /usr/bin/prometheus

Without --prometheus it is looked for on PATH and in $SERVESCOPE_PROMETHEUS; Debian's package need
not be installed: `apt-get download prometheus && dpkg-deb -x prometheus_*.deb .`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import vllm_page

from collector.scheduler import SchedulerCounts
from servescope.collecting import TargetCollecting
from servescope.config import load
from servescope.garbage import look_seldom, never_look_again
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

CORE_LIMIT = 0.25
PEER_LIMIT = 1.5
PAGES = 40


@dataclass
class Cost:
    """What one side needed."""

    name: str
    scrapes: int
    cpu_seconds: float
    wall_seconds: float

    def line(self) -> str:
        """For people."""
        return (
            f"{self.name:44} {self.scrapes:6} scrapes {self.cpu_seconds:7.2f} s CPU"
            f" {self.cpu_seconds / self.wall_seconds:7.1%} of a core"
            f" {self.cpu_seconds / self.scrapes * 1000:6.2f} ms a scrape"
        )


def serve(ready: Connection) -> None:
    """Answer /N/metrics with the next page of target N; connections are kept open."""
    kind = "text/plain; version=0.0.4; charset=utf-8"
    pages = [_answer(kind, body) for body in vllm_page.moving(PAGES)]
    version = _answer("application/json", b'{"version": "0.32.0"}')
    asked: dict[bytes, int] = {}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
                asked[path] = asked.get(path, -1) + 1
                page = pages[min(asked[path], PAGES - 1)]
                writer.write(page if path.endswith(b"/metrics") else version)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=1024)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def _answer(kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def scrape(port: int, targets: int, interval: float, seconds: float) -> Cost:
    """Scrape as the server does: trust and faults are looked at on the way to the store."""
    clock = WallClock()
    addresses = [f"http://127.0.0.1:{port}/{n}/metrics" for n in range(targets)]
    flags = {"server.targets": addresses, "collector.scrape_interval_seconds": interval}
    with (
        tempfile.TemporaryDirectory() as folder,
        Database.open(Path(folder, "bench.duckdb"), StoreSettings(), clock) as database,
    ):
        collecting = TargetCollecting(database, load(flags=flags, environment={}), clock)
        await collecting.start()
        # As in the server (`servescope.process`), which holds far more than this script.
        never_look_again()
        look_seldom()
        await clock.sleep(interval + 1)
        before = sum(collecting.counts().scrapes.values())
        cpu, start, loop = time.process_time(), time.perf_counter(), time.thread_time()
        await clock.sleep(seconds)
        cost = Cost(
            "servescope, DuckDB included",
            sum(collecting.counts().scrapes.values()) - before,
            time.process_time() - cpu,
            time.perf_counter() - start,
        )
        loop = time.thread_time() - loop
        await collecting.aclose()
        print(cost.line())
        print(f"  of it in the event loop {loop / cost.scrapes * 1000:.2f} ms a scrape")
        report(database, collecting.counts())
    return cost


def report(database: Database, counts: SchedulerCounts) -> None:
    done = counts.scrapes.get("ok", 0)
    reader = database.reader
    rows = reader.scalar("SELECT count(*) FROM sample")
    histograms = reader.scalar("SELECT count(*) FROM histogram_sample")
    p95 = reader.scalar("SELECT quantile_cont(duration_seconds, 0.95) FROM scrape")
    print(f"  {counts.scrapes}, skipped {counts.skipped}, dropped {counts.dropped},", end=" ")
    print(f"scrape p95 {p95 * 1000:.1f} ms")
    exposed = done * vllm_page.SAMPLES
    print(f"  {rows} samples and {histograms} histograms out of {exposed} exposed samples")


def prometheus(binary: str, port: int, targets: int, interval: float, seconds: float) -> Cost:
    """The same targets scraped by Prometheus; its own counters say how often it did."""
    with tempfile.TemporaryDirectory() as folder:
        listen = f"127.0.0.1:{port + 1 if port < 65_000 else port - 1}"
        jobs = [
            {
                "job_name": f"engine-{number}",
                "metrics_path": f"/{number}/metrics",
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
            for number in range(targets)
        ]
        every = {"scrape_interval": f"{interval:g}s", "scrape_timeout": f"{interval * 0.8:g}s"}
        config = Path(folder, "prometheus.yml")
        config.write_text(json.dumps({"global": every, "scrape_configs": jobs}), "utf-8")
        command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address={listen}", "--log.level=error"]
        with subprocess.Popen(command) as process:
            try:
                pause(interval + 3)
                before = _cpu_seconds(process.pid), time.perf_counter(), _scraped(listen)
                pause(seconds)
                after = _cpu_seconds(process.pid), time.perf_counter(), _scraped(listen)
            finally:
                process.terminate()
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    name = " ".join((version.stdout or version.stderr).split()[:3]).replace(", version", "")
    cpu, wall, samples = (late - early for late, early in zip(after, before, strict=True))
    return Cost(name, round(samples / vllm_page.SAMPLES), cpu, wall)


def pause(seconds: float) -> None:
    asyncio.run(WallClock().sleep(seconds))


def _cpu_seconds(pid: int) -> float:
    told = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _scraped(listen: str) -> float:
    """Samples that Prometheus has appended so far."""
    with urllib.request.urlopen(f"http://{listen}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    name = "prometheus_tsdb_head_samples_appended_total"
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--targets", type=int, default=200)
    options.add_argument("--interval", type=float, default=5.0)
    options.add_argument("--seconds", type=float, default=30.0)
    options.add_argument("--prometheus", default=os.environ.get("SERVESCOPE_PROMETHEUS"))
    told = options.parse_args()
    binary = told.prometheus or shutil.which("prometheus")
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    print(f"{told.targets} targets x {vllm_page.SAMPLES} samples every {told.interval:g} s")
    try:
        port = ours.recv()
        cost = asyncio.run(scrape(port, told.targets, told.interval, told.seconds))
        share = cost.cpu_seconds / cost.wall_seconds
        print(f"  {share:.1%} of a core, limit {CORE_LIMIT:.0%}")
        if binary:
            peer = prometheus(binary, port, told.targets, told.interval, told.seconds)
            print(peer.line())
            ratio = share / (peer.cpu_seconds / peer.wall_seconds)
            print(f"  {ratio:.2f} times the CPU of Prometheus, goal {PEER_LIMIT}")
        else:
            print("no prometheus found: give --prometheus")
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
