"""Whether the Latency page says of a real engine under load what its clients measured.

An engine is put under open-loop load; the client keeps TTFT, TPOT and E2E of every request, counted
from the intended send. Two servers of servescope look at it:

    buckets   scrapes the engine and nothing else: quantiles are intervals
    rows      is handed the client's rows, as a gateway would: quantiles to 2.2 % (a log bin)

Each line says whether the client's quantile lies in the interval of the page. An engine counts from
the arrival in its own front end; connecting and the way there and back are the client's alone. How
long that is, is measured meanwhile by answers that cost the engine nothing (`/health`), and a
quantile that is inside only without its median is marked so.

    python benchmarks/latency_truth.py --url http://127.0.0.1:8101 [--seconds 60] [--rate 2]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from servescope.live.sending import Load, as_json
from servescope.load.clients import Client
from servescope.load.records import Sent
from store.clock import WallClock

ROOT = Path(__file__).parents[1]
QUANTILES = {"p50": 0.5, "p95": 0.95}
QUANTITIES = ("ttft", "tpot", "e2e")
# A row is read at the middle of its log bin.
LOG_BIN_RATIO = 0.023


def serve(folder: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    """A server of ours; gives the process and its address once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "servescope", "up", "--store", str(folder / "store.duckdb")]
    command += ["--listen", f"127.0.0.1:{port}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SERVESCOPE_SERVER__LOG_LEVEL": "error"}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx2.get(f"{url}/readyz").status_code == 200:
                return server, url
        except httpx2.HTTPError:
            time.sleep(0.1)
    server.kill()
    raise SystemExit("the server did not get ready")


def under_load(
    url: str, seconds: float, rate: float
) -> tuple[list[Sent], list[dict[str, Any]], float]:
    """Every request as its client saw it, as rows, and the median time of an empty answer."""
    sent: list[Sent] = []
    took: list[float] = []
    clients = (Client("chat", rate * 0.7, 30, 40), Client("agent", rate * 0.3, 120, 20))

    async def ways() -> None:
        limits = httpx2.Limits(max_keepalive_connections=0)
        async with httpx2.AsyncClient(base_url=url, limits=limits, timeout=30) as asker:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                start = time.perf_counter()
                await asker.get("/health")
                took.append(time.perf_counter() - start)
                await asyncio.sleep(0.2)

    async def both() -> None:
        await asyncio.gather(load.clients(seconds, clients), ways())

    load = Load([url], WallClock(), sent.append, "truth")
    asyncio.run(both())
    return sent, [as_json(load.row(one)) for one in sent], statistics.median(took)


def hand_over(url: str, rows: list[dict[str, Any]]) -> None:
    answer = httpx2.post(f"{url}/api/v1/requests", json=rows, timeout=60)
    answer.raise_for_status()


def page(url: str) -> dict[str, Any]:
    """The measures of the Latency page over the last quarter of an hour."""
    asked = {"source": "live", "from": "now-15m"}
    answer = httpx2.get(f"{url}/api/v1/views/latency", params=asked, timeout=60)
    return answer.json()["measures"]


def truth(sent: list[Sent], quantity: str, q: float) -> float:
    """The client's quantile, read as the page reads it: the value at rank ceil(q n)."""
    values = sorted(
        value for one in sent if (value := getattr(one, f"{quantity}_seconds")) is not None
    )
    return values[max(0, -int(-q * len(values) // 1) - 1)]


def compare(name: str, sent: list[Sent], measures: dict[str, Any], way: float) -> bool:
    good = True
    for quantity in QUANTITIES:
        for label, q in QUANTILES.items():
            told = measures.get(f"{quantity}_{label}_seconds")
            ends = [told[end] for end in ("low", "high", "value")] if told else []
            if not any(end is not None for end in ends):
                why = told["why"] if told else "the page has no such number"
                print(f"{name:8} {quantity:5} {label}  not told: {why}")
                continue
            seen = truth(sent, quantity, q)
            slack, (low, high, value) = 0.0, ends
            if value is not None:
                slack, low, high = LOG_BIN_RATIO * seen, value, value
            low, high = low or 0.0, high or float("inf")
            inside = low - slack <= seen <= high + slack
            # Only what was in time for the engine may be late for the client.
            by_way = value is None and quantity != "tpot" and low <= seen - way <= high
            good &= inside or by_way
            word = "inside" if inside else "inside without the way" if by_way else "OUTSIDE"
            print(
                f"{name:8} {quantity:5} {label}  client {seen * 1e3:8.1f} ms   page"
                f" {low * 1e3:8.1f} to {high * 1e3:8.1f} ms   {word}"
            )
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="of an engine that serves the model `tiny`")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=2.0, help="requests a second")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        scraping, first = serve(Path(one), "--target", given.url)
        storing, second = serve(Path(two))
        try:
            time.sleep(12)  # two scrapes before the load: what it adds is then known whole
            sent, rows, way = under_load(given.url, given.seconds, given.rate)
            time.sleep(12)
            hand_over(second, rows)
            time.sleep(6)
            print(f"# {len(sent)} requests, {sum(one.status == 'ok' for one in sent)} ok;"
                  f" an empty answer took {way * 1e3:.1f} ms meanwhile")  # fmt: skip
            good = compare("buckets", sent, page(first), way)
            good &= compare("rows", sent, page(second), way)
        finally:
            for server in (scraping, storing):
                server.terminate()
                server.wait(30)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
