"""Twenty viewers at a refresh of five seconds, through the real server, while rows arrive.

Each viewer posts the dashboard's own callbacks for the panels of the fleet page or of the list of
SLOs, as a browser does: opened once, then refreshed by the pulse with what it remembers. Another
client uploads 200 rows a second, and one asks `/api/v1/health` ten times a second.

Beside it the same with nothing shared (`naive`): no time to live, and each viewer's range differs
by a microsecond, so that no answer serves two.

Limits to reach, p95: 500 ms (24 h), 1.2 s (30 d), health 20 ms.

    python benchmarks/viewers.py --cache DIR [--rows 10000000] [--seconds 40] [--viewers 20]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import big_store
import dash_panels
import httpx2
import page_callback
import polars as pl

ROOT = Path(__file__).parents[1]
REFRESH_SECONDS = 5.0
READY_SECONDS = 60.0
PAGES = (("/ui/", ("fleet-main", "fleet-models", "fleet-rest")), ("/ui/slo", ("slo-list",)))
CALLBACK = "/ui/_dash-update-component"
LIMITS_SECONDS = {"24 h": 0.5, "30 d": 1.2}
HEALTH_LIMIT_SECONDS = 0.020
# The rows that arrive; one upload a second, as a collector's batches come.
ROWS_PER_UPLOAD = 200
_HEALTH = """
import time, httpx2
client = httpx2.Client(base_url="{url}", timeout=60)
client.get("/api/v1/health")
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    began = time.perf_counter()
    client.get("/api/v1/health").raise_for_status()
    print(time.perf_counter() - began)
    time.sleep(0.1)
"""


class Load:
    """One run: who asks what, and how long each answer took."""

    def __init__(self, client: httpx2.AsyncClient, seconds: float) -> None:
        self._client = client
        self._until = seconds
        self.views: list[float] = []
        self.health: list[float] = []
        self.uploads: list[float] = []
        self.failures: list[str] = []
        self._output = ""

    async def run(self, viewers: int, span: timedelta, *, naive: bool) -> None:
        """All clients together until the time is over."""
        await self._client.post("/api/v1/imports", content=_upload(-1))
        known = (await self._client.get("/ui/_dash-dependencies")).json()
        self._output = dash_panels.panel_output(known)
        self._until += time.monotonic()
        tasks = [self._viewer(n, viewers, span, naive=naive) for n in range(viewers)]
        await asyncio.gather(self._health(), self._uploads(), *tasks)

    async def _viewer(self, number: int, viewers: int, span: timedelta, *, naive: bool) -> None:
        end = big_store.END + timedelta(minutes=30)
        start = end - span + timedelta(microseconds=number if naive else 0)
        search = "?" + urlencode(
            {"source": "live", "from": start.isoformat(), "to": end.isoformat()}
        )
        path, spots = PAGES[number % len(PAGES)]
        await asyncio.sleep(REFRESH_SECONDS * number / viewers)
        await asyncio.gather(*(self._panel(spot, path, search) for spot in spots))

    async def _panel(self, spot: str, path: str, search: str) -> None:
        """One panel of a tab that stays open."""
        shown, pulse = None, None
        while time.monotonic() < self._until:
            began = time.perf_counter()
            asked = dash_panels.callback(self._output, spot, path, search, shown, pulse)
            answer = await self._ask(self.views, "POST", CALLBACK, json=asked)
            if answer is not None and answer.status_code == 200:
                shown = _remembered(answer.json(), shown)
            pulse = 1 if pulse is None else pulse + 1
            rest = REFRESH_SECONDS - (time.perf_counter() - began)
            await asyncio.sleep(max(0.0, rest))

    async def _health(self) -> None:
        # A process of its own: what the viewers' answers cost this one must not count.
        code = _HEALTH.format(url=self._client.base_url, seconds=self._until - time.monotonic())
        asker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await asker.communicate()
        self.health = [float(word) for word in told.split()]

    async def _uploads(self) -> None:
        sent = 0
        while time.monotonic() < self._until:
            began = time.perf_counter()
            body = await asyncio.to_thread(_upload, sent)
            await self._ask(self.uploads, "POST", "/api/v1/imports", content=body)
            sent += 1
            await asyncio.sleep(max(0.0, 1.0 - (time.perf_counter() - began)))

    async def _ask(
        self, into: list[float], method: str, path: str, **options: object
    ) -> httpx2.Response | None:
        began = time.perf_counter()
        try:
            answer = await self._client.request(method, path, **options)
        except httpx2.HTTPError as error:
            self.failures.append(f"{path}: {error!r}")
            return None
        into.append(time.perf_counter() - began)
        if answer.status_code >= 300 or '"Retry"' in answer.text:
            self.failures.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        return answer


def _remembered(answer: dict[str, Any], before: Any) -> Any:
    """What the panel remembers after an answer; as before when nothing had changed."""
    parts = [part for name, part in answer.get("response", {}).items() if "panel-shown" in name]
    return parts[0].get("data", before) if parts else before


def _upload(number: int) -> bytes:
    at = big_store.END.replace(tzinfo=None) + timedelta(seconds=number)
    rows = range(ROWS_PER_UPLOAD)
    frame = pl.DataFrame(
        {
            "source": ["live"] * len(rows),
            "arrived_at": [at + timedelta(milliseconds=5 * row) for row in rows],
            "status": ["ok"] * len(rows),
            "model": ["chat-70b"] * len(rows),
            "input_tokens": [1000] * len(rows),
            "output_tokens": [200] * len(rows),
            "ttft_seconds": [0.3] * len(rows),
            "tpot_seconds": [0.03] * len(rows),
            "request_key": [time.time_ns() + row for row in rows],
        },
        schema_overrides={"request_key": pl.UInt64},
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def serve(store: Path, folder: Path, ttl_seconds: float) -> tuple[subprocess.Popen, str]:
    """Start the real server on this store; gives the process and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    slo_file = folder / "slo.toml"
    slo_file.write_text(page_callback.SLOS)
    environment: Mapping[str, str] = os.environ | {
        "SERVESCOPE_SERVER__VIEW_TTL_SECONDS": str(ttl_seconds),
        "SERVESCOPE_SERVER__SLO_FILE": str(slo_file),
        "SERVESCOPE_SERVER__LOG_LEVEL": "error",
    }
    command = [sys.executable, "-m", "servescope", "up", "--store", str(store)]
    command += ["--listen", f"127.0.0.1:{port}"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet)
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx2.get(f"{url}/readyz").status_code == 200:
                return server, url
        except httpx2.HTTPError:
            time.sleep(0.1)
    server.kill()
    raise SystemExit("the server did not get ready")


def p95(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.95)] if seconds else float("nan")


def p50(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2] if seconds else float("nan")


async def measure(url: str, given: argparse.Namespace, span: str, *, naive: bool) -> Load:
    limits = httpx2.Limits(max_connections=200)
    async with httpx2.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        load = Load(client, given.seconds)
        await load.run(given.viewers, page_callback.SPANS[span], naive=naive)
    return load


def report(name: str, span: str, load: Load, *, judged: bool) -> bool:
    view, health = p95(load.views), p95(load.health)
    good = not load.failures and view <= LIMITS_SECONDS[span] and health <= HEALTH_LIMIT_SECONDS
    verdict = ("ok" if good else "MISSED") if judged else ""
    print(
        f"{name:7} {span:5} views p50 {p50(load.views) * 1e3:6.0f} p95 {view * 1e3:6.0f} ms"
        f" (limit {LIMITS_SECONDS[span] * 1e3:.0f}, n {len(load.views)})  health p95"
        f" {health * 1e3:5.1f} ms (limit {HEALTH_LIMIT_SECONDS * 1e3:.0f})  upload p95"
        f" {p95(load.uploads) * 1e3:.0f} ms  failed {len(load.failures)}  {verdict}",
        flush=True,
    )
    for failure in load.failures[:3]:
        print(f"    {failure}")
    return good or not judged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the store")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--skip-naive", action="store_true")
    given = parser.parse_args()
    store = page_callback.prepare(given.cache, given.rows)
    good = True
    for name, ttl in (("shared", 5.0), ("naive", 0.0)):
        if name == "naive" and given.skip_naive:
            continue
        for span in LIMITS_SECONDS:
            with tempfile.TemporaryDirectory() as folder:
                server, url = serve(store, Path(folder), ttl)
                try:
                    load = asyncio.run(measure(url, given, span, naive=name == "naive"))
                finally:
                    server.terminate()
                    server.wait(60)
            good &= report(name, span, load, judged=name == "shared")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
