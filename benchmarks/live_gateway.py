"""The gateway before real engines under twice the load they can bear, and one engine killed.

Two llama-servers with a random model, `servescope up` with the gateway as its child, tenants with
keys. First it is measured what the engines can do together; then `servescope load` sends a trace
that asks for more: one tenant in waves of three times its share, one steady, one with few long
requests. All clients honour Retry-After. In the middle one engine is killed and started again.
What clients saw is then laid beside what the store has; exit status 1 says that a promise was
broken.

    python benchmarks/live_gateway.py --json result.json --screenshot fairness.png

Needs a llama-server (`make engine`), about four minutes, and two cores that are left alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import live_gateway_load as load
from live_gateway_checks import (
    Check,
    broken,
    by_tenant,
    client_rows,
    counted,
    fair,
    let_in,
    store_rows,
)
from live_gateway_client import check as openai_check
from live_gateway_fleet import TENANTS, Stage, running
from live_gateway_witness import Kill, kill

DRAWN = """() => document.querySelector('.ss-panel') && !document.querySelector('.ss-waiting')
  && [...document.querySelectorAll('.ss-graph')].every(graph => graph.querySelector('.main-svg'))"""
SETTLED_SECONDS = 5.0
"""Rows reach the store within two seconds; after so long without a new one all are there."""


def run(stage: Stage, options: argparse.Namespace) -> tuple[list[Check], dict[str, Any]]:
    """Measure, send, kill, and compare."""
    folder = options.folder
    capacity = asyncio.run(load.capacity(stage, options.measure))
    demand = load.write_trace(folder / "trace.csv", capacity, options.seconds)
    print(f"capacity {capacity:,.0f} tokens of service/s; the trace asks for {demand:.2f} of it"
          f" in {options.seconds:g} s; '{options.victim}' is killed after"
          f" {options.seconds * options.kill_at:g} s", flush=True)  # fmt: skip
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    sending = load.start(stage, folder / "trace.csv", folder / "run.parquet")
    try:
        happened = wait_and_kill(stage, sending, options)
        sending.wait(options.patience)
    finally:
        if sending.poll() is None:
            sending.kill()
            sending.wait()
    settle(stage)
    client, store = client_rows(folder / "run.parquet"), store_rows(stage)
    longest_prompt = int(client["input_tokens"].max() or 0)
    longest = longest_prompt + max(one.output_tokens for one in TENANTS)
    if options.screenshot:
        screenshot(stage, options.screenshot, since)
    checks = [
        *fair(stage, longest_prompt, longest, since),
        *let_in(client, happened),
        openai_check(stage),
        *broken(happened, client, store),
        counted(client, store, happened),
    ]
    figures = {
        "capacity_service_per_second": capacity, "demand_ratio": demand,
        "tenants": by_tenant(client, options.ttft),
        "load": load.summary(folder / "run.parquet"), "status": stage.status(),
        "kill": {"at": happened.at, "in_flight": happened.in_flight,
                 "away_seconds": happened.away_seconds},
    }  # fmt: skip
    return checks, figures


def wait_and_kill(
    stage: Stage, sending: subprocess.Popen[bytes], options: argparse.Namespace
) -> Kill:
    """Wait until requests flow, and for the moment."""
    before = stage.status()["counts"]["arrived"]
    while stage.status()["counts"]["arrived"] < before + 5 and sending.poll() is None:
        time.sleep(0.2)
    time.sleep(options.seconds * options.kill_at)
    if sending.poll() is not None:
        raise SystemExit(f"the load ended early: see {options.folder}/load.log")
    return asyncio.run(kill(stage, options.victim, options.witnesses))


def settle(stage: Stage) -> None:
    """Until no more rows come."""
    known, since = -1, time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        count = stage.sql("SELECT count(*) AS n FROM requests")["n"][0]
        if count != known:
            known, since = count, time.monotonic()
        time.sleep(0.5)


def screenshot(stage: Stage, file: Path, since: str) -> None:
    """The page Fairness, as a visitor sees it."""
    from playwright.sync_api import sync_playwright

    url = f"{stage.server.url}/ui/fairness?source=live&from={since}&to=now"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1200})
        page.goto(url)
        page.wait_for_function(DRAWN, timeout=60_000)
        page.screenshot(path=str(file), full_page=True)
        browser.close()


def show(checks: list[Check], figures: dict[str, Any]) -> None:
    """The table."""
    words = {True: "kept", False: "BROKEN", None: "not seen"}
    print()
    for one in checks:
        print(f"{one.name:26} {words[one.is_kept]:9} {one.text}")
    print(f"\n{'tenant':10}{'requests':>9}{'refusals':>9}{'failed':>7}{'attained':>9}"
          f"{'TTFT p50':>10}{'p99':>8}{'from first p50':>16}{'p99':>8}")  # fmt: skip
    for one in figures["tenants"]:
        times = [one[name] for name in ("ttft_p50", "ttft_p99", "from_first_p50", "from_first_p99")]
        shown = "".join(
            f"{value:{width}.1f}" for value, width in zip(times, (10, 8, 16, 8), strict=True)
        )
        print(f"{one['tenant']:10}{one['requests']:9}{one['refusals']:9}{one['failed']:7}"
              f"{100 * one['attainment']:8.1f}%{shown}")  # fmt: skip


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("live-gateway"))
    parser.add_argument("--seconds", type=float, default=150.0, help="of the trace")
    parser.add_argument("--measure", type=float, default=20.0, help="seconds of measuring capacity")
    parser.add_argument("--kill-at", type=float, default=0.15, help="share of the trace")
    parser.add_argument("--victim", choices=("one", "two"), default="one")
    parser.add_argument("--witnesses", type=int, default=6)
    parser.add_argument("--most-waiting", type=int, default=40, help="of a tenant, in the line")
    parser.add_argument("--ttft", type=float, default=10.0, help="objective, from the first asking")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds until all is over")
    parser.add_argument("--listen", type=int, default=8797)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--screenshot", type=Path)
    return parser.parse_args()


def main() -> None:
    """Run it in a new folder, tell, and say by the exit status whether all was kept."""
    options = arguments()
    options.folder.mkdir(parents=True)
    with running(options) as stage:
        checks, figures = run(stage, options)
    show(checks, figures)
    if options.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(),
                   "at": datetime.now(UTC).isoformat(), "command": sys.argv}  # fmt: skip
        told = {"checks": [vars(one) for one in checks], **figures, "run": machine}
        options.json.write_text(json.dumps(told, indent=1, default=str))
    if any(one.is_kept is False for one in checks):
        sys.exit(1)


if __name__ == "__main__":
    main()
