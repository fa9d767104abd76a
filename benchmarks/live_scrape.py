"""What scraping a fleet costs: N targets with the page of a real vLLM, into a store on disk.

The pages come from one child process over loopback, every target at an address of its own. The
whole loop is measured as it runs in the server: HTTP, parsing, adapter, rows, durable commit.
Beside it, in the same run, the CPU time that prometheus_client alone needs to parse the pages.

    python benchmarks/live_scrape.py --targets 200 --interval 5 --seconds 30
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from collector.http_source import HttpCollector
from collector.scheduler import Scheduler
from collector.settings import ScrapeSettings
from collector.sink import StoreSink
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings
from store.targets import register

PAGE = Path(__file__).parents[1] / "tests" / "data" / "pages" / "vllm_0.32.0.txt"


def serve(ready: Connection) -> None:
    """Answer every GET with the page, connections kept open."""
    body = PAGE.read_bytes()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = head.encode() + body

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=1024)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def scrape(port: int, targets: int, settings: ScrapeSettings, seconds: float) -> None:
    clock = WallClock()
    with (
        tempfile.TemporaryDirectory() as folder,
        Database.open(Path(folder, "bench.duckdb"), StoreSettings(), clock) as database,
    ):
        writer = database.writer
        http = HttpCollector(clock, settings)
        addresses = [f"http://127.0.0.1:{port}/{n}/metrics" for n in range(targets)]
        ids = [register(writer, url, clock.now()).result() for url in addresses]
        sources = [http.source(*pair) for pair in zip(ids, addresses, strict=True)]
        cpu, start = time.process_time(), time.perf_counter()
        async with Scheduler(sources, StoreSink(writer), clock, settings) as scheduler:
            await clock.sleep(seconds)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - start
        await http.aclose()
        report(database, scheduler, targets, cpu, wall)


def report(database: Database, scheduler: Scheduler, targets: int, cpu: float, wall: float) -> None:
    counts = scheduler.counts()
    done = sum(counts.scrapes.values())
    rows = database.reader.scalar("SELECT count(*) FROM sample")
    buckets = database.reader.scalar("SELECT count(*) FROM histogram_sample")
    p95 = database.reader.scalar("SELECT quantile_cont(duration_seconds, 0.95) FROM scrape")
    stored = database.reader.scalar("SELECT count(*) FROM scrape")
    text = PAGE.read_text("utf-8")
    peer = time.process_time()
    for _ in range(20):
        list(text_string_to_metric_families(text))
    peer = (time.process_time() - peer) / 20
    print(f"targets {targets}, {done} scrapes in {wall:.1f} s: {counts.scrapes}")
    print(f"stored {stored} scrapes, {rows} samples, {buckets} histograms")
    print(f"skipped {counts.skipped}, dropped {counts.dropped}, scrape p95 {p95 * 1000:.1f} ms")
    print(
        f"CPU, everything with DuckDB: {cpu / done * 1000:.2f} ms a scrape, {cpu / wall:.2f} cores"
    )
    print(f"CPU, prometheus_client parsing alone: {peer * 1000:.2f} ms a scrape")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--targets", type=int, default=200)
    options.add_argument("--interval", type=float, default=5.0)
    options.add_argument("--seconds", type=float, default=30.0)
    told = options.parse_args()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    settings = ScrapeSettings(scrape_interval_seconds=told.interval)
    try:
        asyncio.run(scrape(ours.recv(), told.targets, settings, told.seconds))
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
