"""A weekly report over ten million requests: through the API of a real server, and from the file.

The store is `big_store`'s, squeezed into one calendar week. The report is made by
`servescope report run`, in a process of its own; beside it the bare views (`bare`): the same
questions asked of a fresh server one after the other, with nothing made of the answers. That is the
least any report of these numbers could take.

Limits to reach: 20 s of wall time and 1 GiB of memory of the process that makes it, HTML 2 MB.

    python benchmarks/weekly_report.py --cache DIR [--rows 10000000] [--form html,pdf]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import big_store
import httpx2

from servescope.cli.slo import packaged_file

ROOT = Path(__file__).parents[1]
END = datetime(2026, 11, 2, tzinfo=UTC)
WEEK = {"from": "2026-10-26T00:00:00Z", "to": "2026-11-02T00:00:00Z"}
PERIOD = "2026-W44"
READY_SECONDS = 180.0
LIMIT_SECONDS, LIMIT_BYTES, LIMIT_HTML_BYTES = 20.0, 1 << 30, 2_000_000
VIEWS: tuple[tuple[str, dict[str, str]], ...] = (
    ("fleet", {}),
    ("fleet_models", {}),
    ("workload_arrivals", {}),
    ("slo_list", {"over": "range"}),
    ("slo_list", {}),
    ("slo_detail", {"over": "range", "slo": "availability"}),
    ("latency", {"quantity": "ttft"}),
    ("latency_tail", {}),
    ("latency_stragglers", {}),
    ("fairness", {}),
    ("cold_starts", {}),
    ("degradation_now", {}),
    ("controller", {}),
    ("predictors_forecast", {}),
    ("workload_findings", {}),
)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--cache", type=Path, required=True)
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--form", default="html")
    arguments = asked.parse_args()
    store = built(arguments.cache, arguments.rows)
    print(f"# {arguments.rows:,} requests in a week; load {os.getloadavg()[0]:.1f} on 2 cores")
    with serving(store) as (url, pid):
        wall, cpu = bare(url, pid)
        print(f"bare     {wall:6.1f} s wall  {cpu:5.1f} s CPU of the server")
    with serving(store) as (url, pid):
        before, began = resident_bytes(pid), cpu_seconds(pid)
        report(store, arguments.form, "through the server")
        grown = (resident_bytes(pid) - before) / 2**20
        print(f"server   {cpu_seconds(pid) - began:6.1f} s CPU, grew by {grown:,.0f} MiB")
    report(store, arguments.form, "from the file")


def built(cache: Path, rows: int) -> Path:
    """The store; made by a process of its own, whose memory would be counted to its children."""
    with ProcessPoolExecutor(1) as beside:
        return beside.submit(big_store.build, cache, rows, 7, END).result()


def bare(url: str, pid: int) -> tuple[float, float]:
    began, spent = time.perf_counter(), cpu_seconds(pid)
    with httpx2.Client(base_url=url, timeout=120, trust_env=False) as client:
        for name, options in VIEWS:
            client.get(f"/api/v1/views/{name}", params={**WEEK, **options}).raise_for_status()
    return time.perf_counter() - began, cpu_seconds(pid) - spent


def report(store: Path, form: str, how: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "servescope", "report", "run", "weekly", "--period", PERIOD,
            "--store", str(store), "--format", form, "--out", folder, "--json",
        ]  # fmt: skip
        began = time.perf_counter()
        child = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment(),
        )  # fmt: skip
        said = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        assert status == 0, said
        files = json.loads(said)["data"]["files"]
        sizes = {Path(file["path"]).name: file["size_bytes"] for file in files}
    judge(how, wall, used, sizes)


def judge(how: str, wall: float, used: resource.struct_rusage, sizes: dict[str, int]) -> None:
    peak, cpu = used.ru_maxrss * 1024, used.ru_utime + used.ru_stime
    html = max((size for name, size in sizes.items() if name.endswith(".html")), default=0)
    kept = wall <= LIMIT_SECONDS and peak <= LIMIT_BYTES and html <= LIMIT_HTML_BYTES
    told = ", ".join(f"{name} {size / 1000:,.0f} kB" for name, size in sizes.items())
    print(
        f"report   {wall:6.1f} s wall  {cpu:5.1f} s CPU  {peak / 2**20:,.0f} MiB  {how}: {told}"
        f"  {'ok' if kept else 'LIMIT PASSED'}"
    )


@contextmanager
def serving(store: Path) -> Iterator[tuple[str, int]]:
    """A server on the store, until the end of the block."""
    told = store.with_name(f"{store.name}.server.json")
    command = [
        sys.executable, "-m", "servescope", "up", "--store", str(store), "--listen",
        "127.0.0.1:0", "--slo", str(packaged_file()),
    ]  # fmt: skip
    child = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield wait_for(told, child), child.pid
    finally:
        child.terminate()
        child.wait(timeout=30)


def wait_for(told: Path, child: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and child.poll() is None:
        try:
            about = json.loads(told.read_text("utf-8"))
            if about["pid"] == child.pid:
                httpx2.get(f"{about['url']}/api/v1/health", trust_env=False).raise_for_status()
                return str(about["url"])
        except (OSError, ValueError, KeyError, httpx2.HTTPError):
            pass
        time.sleep(0.1)
    raise SystemExit("the server did not start")


def environment() -> dict[str, str]:
    return {**os.environ, "SERVESCOPE_SERVER__SLO_FILE": str(packaged_file())}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


if __name__ == "__main__":
    main()
