"""A recorded run of real engines: the packaged Azure trace sent to llama-servers, kept in a store.

Each engine has one thread, on a core of its own; they, the load and the server that collects share
the machine. What the engines say of themselves is scraped by `servescope up`, and each request is
handed to it as its client saw it, as a gateway would. Then:

    servescope calibrate live --store run.duckdb --out profile.json

    python benchmarks/calibration_live.py --store run.duckdb --minutes 10
    python benchmarks/calibration_live.py --store again.duckdb --minutes 10     # the same once more
    python benchmarks/calibration_live.py --compare run.duckdb again.duckdb     # the noise floor

Needs a quiet machine: what else runs on it is in the figures. `--realtime` (as root) lets engines
and load go before everything else; what else runs gets what they leave.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import polars as pl

from servescope.importing import example_files
from servescope.live import obtain, tiny_model
from servescope.live.engine import LlamaServer
from servescope.live.sending import LLAMA_FIELDS, Load, as_json
from servescope.load.clients import of_sizes
from servescope.load.planning import Planned
from servescope.load.records import Sent
from store.clock import WallClock

ROOT = Path(__file__).parents[1]
SLOW = tiny_model.Shape(layers=10, heads=12, kv_heads=4, feed_forward=2112, context_tokens=8192)
"""About 7 ms a token and 700 prompt tokens a second on one core."""
FLUSH_SECONDS = 2.0
QUANTILES = (0.5, 0.9, 0.99)


def slice_of_azure(options: argparse.Namespace) -> list[Planned]:
    """Arrivals and sizes of the conversation trace, both made smaller."""
    rows = pl.read_csv(example_files()[0])
    at = rows["TIMESTAMP"].str.slice(0, 26).str.to_datetime("%Y-%m-%d %H:%M:%S%.f")
    seconds = (at - at[0]).dt.total_microseconds().to_numpy() / 1e6
    start, end = options.start * 60, (options.start + options.minutes) * 60
    random = np.random.default_rng(options.seed)
    kept = (seconds >= start) & (seconds < end) & (random.random(len(seconds)) < options.share)
    sizes = rows.select(pl.col("ContextTokens", "GeneratedTokens") / options.shorter).to_numpy()[
        kept
    ]
    sizes = np.clip(np.rint(sizes), 1, 1600).astype(int).tolist()
    moments = (seconds[kept] - start).tolist()
    return of_sizes(((at, *size) for at, size in zip(moments, sizes, strict=True)), "trace")


def serve(store: Path, targets: list[str]) -> tuple[subprocess.Popen[bytes], str]:
    """A server of ours that scrapes the engines; gives it and its address once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "servescope", "up", "--store", str(store), "--listen", url]
    for target in targets:
        command += ["--target", target]
    told = {"PYTHONPATH": str(ROOT), "SERVESCOPE_SERVER__LOG_LEVEL": "error"}
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **told})
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx2.get(f"http://{url}/readyz", trust_env=False).status_code == 200:
                return server, f"http://{url}"
        except httpx2.HTTPError:
            time.sleep(0.2)
    server.kill()
    raise SystemExit("the server did not get ready")


async def send(urls: list[str], server: str, plan: list[Planned], fields: dict[str, Any]) -> int:
    """Send the plan; rows go to the server meanwhile. Gives how many were not answered well."""
    waiting: list[dict[str, Any]] = []
    failed = 0

    def keep(sent: Sent) -> None:
        nonlocal failed
        failed += sent.status != "ok"
        waiting.append(as_json(load.row(sent)))

    clock = WallClock()
    name = f"azure-{clock.now():%Y%m%dT%H%M%S}"
    load = Load(urls, clock, keep, name)
    work = asyncio.create_task(load.trace(plan, fields))
    async with httpx2.AsyncClient(base_url=server, timeout=30.0, trust_env=False) as client:
        while not work.done() or waiting:
            rows, waiting[:] = waiting[:], []
            if rows:
                answer = await client.post("/api/v1/requests", json=rows)
                answer.raise_for_status()
            await asyncio.sleep(FLUSH_SECONDS)
    await work
    return failed


def started(options: argparse.Namespace, stack: ExitStack) -> list[str]:
    """llama-servers, each on a core of its own; gives where they answer."""
    binary = obtain.find()
    if binary is None:
        raise SystemExit("no llama-server: `make engine` builds one")
    model = tiny_model.write(obtain.cache_folder() / "model" / "servescope-slow.gguf", SLOW)
    cores = sorted(os.sched_getaffinity(0))
    urls = []
    for number in range(options.replicas):
        before = ["taskset", "-c", str(cores[number % len(cores)])]
        if options.realtime:
            before += ["chrt", "-f", "10"]
        engine = LlamaServer(
            binary, model, log=options.store.with_suffix(f".engine{number}.log"),
            slots=options.slots, context_tokens=2048 * options.slots, before=before,
            port=options.port + number,
        )  # fmt: skip
        urls.append(stack.enter_context(engine).url)
    return urls


def record(options: argparse.Namespace) -> None:
    """One run into a store."""
    plan = slice_of_azure(options)
    prompt = np.mean([one.input_tokens for one in plan])
    output = np.mean([one.output_tokens for one in plan])
    text = f"{len(plan)} requests in {options.minutes:g} minutes, on average {prompt:.0f} prompt"
    print(f"{text} and {output:.0f} output tokens", flush=True)
    with ExitStack() as stack:
        urls = options.url or started(options, stack)
        server, url = serve(options.store, urls)
        stack.callback(server.wait)
        stack.callback(server.terminate)
        if options.realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
        began = time.monotonic()
        fields = {} if options.url else dict(LLAMA_FIELDS)
        failed = asyncio.run(send(urls, url, plan, fields))
        print(f"sent in {time.monotonic() - began:.0f} s, {failed} failed", flush=True)


def rows_of(store: Path) -> pl.DataFrame:
    """The requests of a run, in the order in which they were sent."""
    from store.database import Database
    from store.settings import StoreSettings

    with Database.open(store, StoreSettings(), WallClock()) as database:
        return database.reader.frame(
            "SELECT arrived_at, status, input_tokens, output_tokens, ttft_seconds, tpot_seconds,"
            " e2e_seconds, instance FROM requests ORDER BY arrived_at"
        )


def compare(one: Path, other: Path) -> None:
    """How far two runs of one plan are from each other: what no simulator can be nearer than."""
    a, b = rows_of(one), rows_of(other)
    sizes = ("input_tokens", "output_tokens")
    if any(a[name].to_list() != b[name].to_list() for name in sizes):
        raise SystemExit("these are not two runs of one plan")
    half = a.height // 2
    for part, cut in (("whole", slice(None)), ("second half", slice(half, None))):
        for name in ("ttft_seconds", "tpot_seconds", "e2e_seconds"):
            x, y = a[name].to_numpy()[cut], b[name].to_numpy()[cut]
            known = np.isfinite(x) & np.isfinite(y) & (x > 0)
            miss = np.abs(y[known] - x[known]) / x[known]
            at = [np.quantile(y[known], q) / np.quantile(x[known], q) - 1 for q in QUANTILES]
            text = f"{part:12s} {name:13s} median {np.median(miss):6.1%}"
            text += f"  p99 {np.quantile(miss, 0.99):6.1%}  quantiles"
            text += f" p50 {at[0]:+.1%} p90 {at[1]:+.1%} p99 {at[2]:+.1%}  n {known.sum()}"
            print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("calibration.duckdb"))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--start", type=float, default=10.0, help="minute of the trace")
    parser.add_argument("--share", type=float, default=0.45, help="of its requests")
    parser.add_argument(
        "--shorter", type=float, default=6.0, help="prompts and outputs, by so much"
    )
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--url", action="append", help="an engine that runs already, such as vLLM")
    parser.add_argument("--slots", type=int, default=4, help="of an engine")
    parser.add_argument("--port", type=int, default=18451, help="of the first engine")
    parser.add_argument("--realtime", action="store_true", help="engines and load go first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compare", type=Path, nargs=2, metavar="STORE")
    options = parser.parse_args()
    if options.compare:
        compare(*options.compare)
    else:
        record(options)


if __name__ == "__main__":
    main()
