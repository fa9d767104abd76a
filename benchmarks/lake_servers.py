"""What 1, 2 and 4 server processes take in and answer on a lake, beside one on a file.

    python -m benchmarks.lake_servers --lake postgresql://me@db/servescope --data /shared/lake

Each process appends batches of samples and of requests through its writer for a while, and asks a
page's query each second; some batches are sent to two processes. At the end every acknowledged row
is counted: none may be missing, none twice. Each run makes a lake of its own (`?schema=…`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

START = datetime(2026, 1, 1)  # noqa: DTZ001 - the store keeps naive UTC
SERIES = 2000
REQUESTS = 500
WAITING = 4  # batches of each kind under way
PAGE = """SELECT l.tenant, count(*) AS n, avg(r.ttft_seconds) AS ttft FROM request AS r
JOIN request_labels AS l USING (labels_id) WHERE r.arrived_at >= $since GROUP BY ALL"""


def samples(server: int, number: int) -> pl.DataFrame:
    """One scrape of 2,000 series."""
    return pl.select(
        pl.lit(server, pl.Int32).alias("target_id"),
        ("g" + pl.int_range(SERIES).cast(pl.String)).alias("signal"),
        pl.lit("gauge").alias("kind"),
        pl.lit("1").alias("unit"),
        pl.lit("{}").alias("labels"),
        pl.lit(START + timedelta(seconds=5 * number)).alias("sampled_at"),
        (pl.int_range(SERIES) * 1.0).alias("value"),
    )


def requests(server: int, number: int) -> pl.DataFrame:
    """500 finished requests; each third batch is the same for every server."""
    sender = -1 if number % 3 == 0 else server
    at = START + timedelta(seconds=number)
    return pl.select(
        (f"{sender}-{number}-" + pl.int_range(REQUESTS).cast(pl.String)).alias("request_id"),
        (pl.lit(at) + pl.duration(microseconds=pl.int_range(REQUESTS))).alias("arrived_at"),
        pl.lit("ok").alias("status"),
        ("t" + (pl.int_range(REQUESTS) % 7).cast(pl.String)).alias("tenant"),
        pl.lit("m").alias("model"),
        pl.lit(0.5).alias("ttft_seconds"),
    )


def serve(place: Path, settings: StoreSettings, server: int, seconds: float) -> dict[str, Any]:
    """Append and ask for so long; what was acknowledged, and how long it took."""
    asked: list[float] = []
    waited: list[float] = []
    numbers = 0
    with Database.open(place / f"{server}.duckdb", settings, WallClock()) as database:
        began, busy = time.monotonic(), time.process_time()
        next_page = began
        while time.monotonic() < began + seconds:
            sent = time.monotonic()
            batches = []
            for _ in range(WAITING):
                batches.append(database.writer.append("sample", samples(server, numbers)))
                batches.append(database.writer.append("request", requests(server, numbers)))
                numbers += 1
            for batch in batches:
                batch.result()
            waited.append(time.monotonic() - sent)
            if time.monotonic() >= next_page:
                next_page += 1.0
                at = time.monotonic()
                database.reader.frame(PAGE, since=START)
                asked.append(time.monotonic() - at)
        return {
            "server": server,
            "batches": numbers,
            "seconds": time.monotonic() - began,
            "processor_seconds": time.process_time() - busy,
            "commit_ms": [round(1000 * t) for t in sorted(waited)],
            "page_ms": [round(1000 * t) for t in sorted(asked)],
        }


def expected(done: list[dict[str, Any]]) -> tuple[int, int]:
    """Samples and requests that must be there: what several servers sent counts once."""
    shared = max(-(-run["batches"] // 3) for run in done)
    own = sum(run["batches"] - -(-run["batches"] // 3) for run in done)
    return SERIES * sum(run["batches"] for run in done), REQUESTS * (shared + own)


def run(count: int, lake: str, data: str, seconds: float) -> None:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        mine = f"{lake}?schema=bench_{uuid.uuid4().hex[:8]}" if lake else ""
        settings = StoreSettings(lake=mine, lake_data=f"{data}/{count}-{uuid.uuid4().hex[:8]}")
        if lake:
            Database.open(None, settings, WallClock()).close()
        command = [sys.executable, "-m", "benchmarks.lake_servers", "--seconds", str(seconds)]
        command += ["--lake", mine, "--data", settings.lake_data, "--place", folder, "--server"]
        servers = [
            subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE)
            for number in range(count)
        ]
        done = [json.loads(server.communicate()[0]) for server in servers]
        with Database.open(place / "0.duckdb", settings, WallClock()) as database:
            there = tuple(
                database.reader.scalar(f"SELECT count(*) FROM {table}")
                for table in ("sample", "request")
            )
            twice = database.reader.scalar(
                "SELECT count(*) - count(DISTINCT (arrived_at, request_key)) FROM request"
            )
    if there != expected(done) or twice:
        raise SystemExit(f"lost or doubled: {there} there, {expected(done)} expected")
    sent = sum(run["batches"] for run in done) * (SERIES + REQUESTS)
    rate = sum(run["batches"] / run["seconds"] for run in done) * (SERIES + REQUESTS)
    busy = sum(run["processor_seconds"] for run in done)
    commits = sorted(value for run in done for value in run["commit_ms"])
    pages = sorted(value for run in done for value in run["page_ms"])
    print(
        f"{'lake' if lake else 'file'} {count} servers: {rate:,.0f} rows/s,"
        f" {1e6 * busy / sent:.1f} us of processor a row, acknowledged p50"
        f" {commits[len(commits) // 2]} ms max {commits[-1]} ms,"
        f" page least {pages[0]} ms p50 {pages[len(pages) // 2]} ms;"
        f" all {sent:,} rows accounted for"
    )


def main() -> None:
    """Run all, or be one of the servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", default="")
    parser.add_argument("--data", default="")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--counts", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--place", type=Path)
    parser.add_argument("--server", type=int)
    asked = parser.parse_args()
    if asked.server is not None:
        settings = StoreSettings(lake=asked.lake, lake_data=asked.data)
        print(json.dumps(serve(asked.place, settings, asked.server, asked.seconds)))
        return
    run(1, "", "", asked.seconds)
    for count in asked.counts:
        run(count, asked.lake, asked.data, asked.seconds)


if __name__ == "__main__":
    main()
