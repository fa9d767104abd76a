"""The live controller on a real fleet of engines, beside what replay says of the same requests.

llama-servers on this host are one pool, in the mode active, with the policy that needs no tuning. A
slice of the packaged Azure conversation trace is sent to whatever the fleet publishes: thinned to
`--base` of its requests, and to `--burst` of them for four of twelve minutes, with ramps of one.
The store knows four hours of such traffic before, made from other parts of the trace. Every start
is made to take `--startup` seconds, as a large model's would.

    servescope calibrate live --store run.duckdb --out profile.json     # see calibration_live.py
    python benchmarks/live_controller.py --profile profile.json

Needs a quiet machine and about fifteen minutes. `--realtime` (as root) lets engines and load go
before everything else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import polars as pl
from calibration_live import SLOW

from controller.observation import Limits, Objective
from controller.policies.registry import make
from controller.profile import Profile
from controller.replay import ReplaySettings, replay
from controller.simulator.fleet import PoolPlan
from controller.simulator.workload import Workload
from controller.startup import StartupTimes
from servescope.importing import example_files
from servescope.live import obtain, tiny_model
from servescope.live.sending import Load, as_json
from servescope.load.clients import of_sizes
from servescope.load.planning import Planned
from servescope.load.records import Sent
from store.clock import WallClock

ROOT = Path(__file__).parents[1]
CYCLE_SECONDS, BURST_START, BURST_END, RAMP = 720.0, 240.0, 540.0, 60.0
CYCLES_BEFORE = 20
OBJECTIVE = Objective(2.0, 0.1, 0.99)
BIN_SECONDS = 15.0
CONFIG = """
[collector]
scrape_interval_seconds = 5.0

[controller]
ttft_seconds = 2.0
tpot_seconds = 0.1
attainment_ratio = 0.99
settle_seconds = 120

[[controller.pool]]
name = "chat"
match = {{ model = "tiny" }}
policy = "risk"
least = 1
most = {most}
down_cooldown_seconds = 30
profile = "{profile}"
startup = {startup}

[controller.pool.actuator]
kind = "local_fleet"
folder = "{folder}"
first_port = {port}
last_port = {last}
command = {command}
model = "tiny"
initial = 1
"""


def share_at(seconds: np.ndarray, base: float, burst: float) -> np.ndarray:
    """Of the trace's requests that are sent, by time in a cycle."""
    at = seconds % CYCLE_SECONDS
    up = np.clip((at - BURST_START) / RAMP, 0, 1)
    down = np.clip((BURST_END - at) / RAMP, 0, 1)
    return base + (burst - base) * np.minimum(up, down)


def cycle(number: int, options: argparse.Namespace) -> list[Planned]:
    """One cycle; number 0 is the one that is sent, the others are the past."""
    rows = pl.read_csv(example_files()[0])
    stamp = rows["TIMESTAMP"].str.slice(0, 26).str.to_datetime("%Y-%m-%d %H:%M:%S%.f")
    seconds = (stamp - stamp[0]).dt.total_microseconds().to_numpy() / 1e6
    random = np.random.default_rng(number)
    start = 600.0 + (number * 397.0) % 2000.0
    at = seconds - start
    kept = (at >= 0) & (at < CYCLE_SECONDS)
    kept &= random.random(len(at)) < share_at(at, options.base, options.burst)
    whole = rows.select(pl.col("ContextTokens", "GeneratedTokens") / options.shorter).to_numpy()
    made = np.clip(np.rint(whole[kept]), 1, 1600).astype(int).tolist()
    sizes = ((when, *size) for when, size in zip(at[kept].tolist(), made, strict=True))
    return of_sizes(sizes, "trace")


def past_rows(options: argparse.Namespace, now: datetime) -> list[dict[str, Any]]:
    """What came in the hours before, as rows; the cycle that is sent begins at `now`."""
    rows = []
    for number in range(1, CYCLES_BEFORE + 1):
        begin = now - timedelta(seconds=number * CYCLE_SECONDS)
        rows += [
            {
                "request_id": f"past-{number}-{place}",
                "arrived_at": (begin + timedelta(seconds=one.at_seconds)).isoformat(),
                "model": "tiny",
                "status": "ok",
                "input_tokens": one.input_tokens,
                "output_tokens": one.output_tokens,
            }
            for place, one in enumerate(cycle(number, options))
        ]
    return sorted(rows, key=lambda row: row["arrived_at"])


class Server:
    """`servescope up`, ended with the block."""

    def __init__(self, options: argparse.Namespace, *arguments: str) -> None:
        self.url = f"http://127.0.0.1:{options.listen}"
        store = ["--store", str(options.folder / "live.duckdb")]
        listen = ["--listen", f"127.0.0.1:{options.listen}"]
        self._command = [sys.executable, "-m", "servescope", "up", *store, *listen, *arguments]
        self._log = options.folder / "server.log"

    def __enter__(self) -> Server:
        told = {"PYTHONPATH": str(ROOT), "SERVESCOPE_SERVER__LOG_LEVEL": "warning"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env={**os.environ, **told}, stdout=log, stderr=log
            )
        until = time.monotonic() + 120
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if httpx2.get(f"{self.url}/readyz", trust_env=False).status_code == 200:
                    return self
            except httpx2.HTTPError:
                time.sleep(0.2)
        raise SystemExit(f"the server did not get ready: see {self._log}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def post(self, path: str, body: Any) -> Any:
        """A POST that must succeed."""
        answer = httpx2.post(f"{self.url}/api/v1/{path}", json=body, timeout=60, trust_env=False)
        if answer.status_code >= 300:
            raise SystemExit(f"{path}: {answer.status_code} {answer.text}")
        return answer.json()

    def get(self, path: str) -> Any:
        """A GET that must succeed."""
        answer = httpx2.get(f"{self.url}/api/v1/{path}", timeout=60, trust_env=False)
        answer.raise_for_status()
        return answer.json()


def command(options: argparse.Namespace) -> list[str]:
    """How a replica is started: it waits as long as a large model loads, then serves."""
    binary = obtain.find()
    if binary is None:
        raise SystemExit("no llama-server: `make engine` builds one")
    model = tiny_model.write(obtain.cache_folder() / "model" / "servescope-slow.gguf", SLOW)
    first = ["chrt", "-f", "10"] if options.realtime else []
    engine = [
        *first, str(binary), "-m", str(model), "--alias", "tiny", "--host", "{host}", "--port",
        "{port}", "-c", str(2048 * options.slots), "-np", str(options.slots), "-t", "1",
        "--threads-http", "4", "--metrics", "--no-webui", "--slots",
    ]  # fmt: skip
    return ["sh", "-c", f"sleep {options.startup:g}; exec {' '.join(engine)}"]


async def sent(options: argparse.Namespace, server: Server, plan: list[Planned]) -> list[Sent]:
    """Send the plan to what the fleet publishes; rows go to the server meanwhile."""
    file, ended, waiting = options.folder / "fleet" / "endpoints.json", [], []

    def urls() -> list[str]:
        told = json.loads(file.read_text("utf-8"))["pools"].get("chat", [])
        return [f"http://{one['address']}" for one in told]

    def keep(one: Sent) -> None:
        ended.append(one)
        waiting.append(as_json(load.row(one)))

    load = Load(urls, WallClock(), keep, "slice")
    work = asyncio.create_task(load.trace(plan))
    async with httpx2.AsyncClient(base_url=server.url, timeout=30.0, trust_env=False) as client:
        while not work.done() or waiting:
            rows, waiting[:] = waiting[:], []
            if rows:
                answer = await client.post("/api/v1/requests", json=rows)
                answer.raise_for_status()
            await asyncio.sleep(2.0)
    await work
    return ended


def attained(ended: list[Sent]) -> float:
    """Share of the requests that met the objective."""
    good = [
        one.status == "ok"
        and one.ttft_seconds is not None
        and one.ttft_seconds <= OBJECTIVE.ttft_seconds
        and (one.tpot_seconds is None or one.tpot_seconds <= OBJECTIVE.tpot_seconds)
        for one in ended
    ]
    return sum(good) / len(good)


def predicted(options: argparse.Namespace, plan: list[Planned]) -> list[tuple[float, float]]:
    """(attainment, replica-hours) of the same requests in replay, by seed."""
    profile = replace(Profile.load(options.profile), sequences=options.slots)
    work = Workload.of(
        [one.at_seconds for one in plan],
        [one.input_tokens for one in plan],
        [one.output_tokens for one in plan],
    )
    moments = np.concatenate(
        [
            [
                one.at_seconds + (CYCLES_BEFORE - number) * CYCLE_SECONDS
                for one in cycle(number, options)
            ]
            for number in range(1, CYCLES_BEFORE + 1)
        ]
    )
    bins = int(CYCLES_BEFORE * CYCLE_SECONDS / BIN_SECONDS)
    rates = np.bincount((moments // BIN_SECONDS).astype(int), minlength=bins) / BIN_SECONDS
    startup = StartupTimes.about(options.startup + 2.0, 0.05)
    plans = [PoolPlan("chat", profile, options.most, startup)]
    settings = ReplaySettings(OBJECTIVE, {"chat": Limits(1, options.most)}, {"chat": 1})
    alone = replay(make("static", replicas=1), work, plans, settings)
    print(f"replay, one replica alone: attainment {alone.attainment_ratio:.4f}")
    found = []
    for seed in range(5):
        outcome = replay(make("risk"), work, plans, settings, seed, history={"chat": tuple(rates)})
        found.append((outcome.attainment_ratio, outcome.gpu_hours))
    return found


def main() -> None:
    """Prepare, send, tell."""
    options = arguments()
    (options.folder / "fleet").mkdir(parents=True, exist_ok=True)
    plan = cycle(0, options)
    told = predicted(options, plan)
    shares = [share for share, _ in told]
    middle, hours = statistics.median(shares), statistics.median(spent for _, spent in told)
    span = f"{min(shares):.4f} to {max(shares):.4f}"
    print(f"replay: attainment {middle:.4f} ({span}), {hours:.3f} replica-hours", flush=True)
    if options.replay_only:
        return
    config = options.folder / "servescope.toml"
    config.write_text(
        CONFIG.format(
            most=options.most, profile=options.profile.resolve(), startup=options.startup + 2.0,
            folder=options.folder / "fleet", port=options.port, last=options.port + 15,
            command=json.dumps(command(options)),
        )
    )  # fmt: skip
    begin = datetime.now(UTC) + timedelta(seconds=options.startup + 60)
    with Server(options) as server:
        rows = past_rows(options, begin)
        for start in range(0, len(rows), 2000):
            server.post("requests", rows[start : start + 2000])
    print(f"{len(rows)} rows of the hours before", flush=True)
    arguments_ = [
        "--config",
        str(config),
        "--discover",
        f"file:{options.folder}/fleet/targets.json",
    ]
    with ExitStack() as stack:
        # Called last: the server must be gone before its engines are ended.
        stack.callback(ended_fleet, options)
        server = stack.enter_context(Server(options, *arguments_))
        server.post(
            "controller/mode",
            {"mode": "active", "pools": ["chat"], "override": "chat", "comment": "demonstration"},
        )
        time.sleep(max((begin - datetime.now(UTC)).total_seconds(), 0))
        if options.realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
        ended = asyncio.run(sent(options, server, plan))
        share = attained(ended)
        off = f"replay was off by {100 * (middle - share):+.1f} points"
        print(f"live: attainment {share:.4f} of {len(ended)} requests; {off}", flush=True)
        time.sleep(options.after)
        (options.folder / "decisions.json").write_text(
            json.dumps(server.get("controller/decisions?limit=500"), indent=1)
        )
        print(f"first request at {begin.isoformat()}; decisions in {options.folder}/decisions.json")


def ended_fleet(options: argparse.Namespace) -> None:
    """End the engines, when the server is gone."""
    subprocess.run(
        [sys.executable, "-m", "controller.actuators.local", str(options.folder / "fleet")],
        check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("live-controller"))
    parser.add_argument("--base", type=float, default=0.1)
    parser.add_argument("--burst", type=float, default=0.5)
    parser.add_argument("--shorter", type=float, default=6.0)
    parser.add_argument("--startup", type=float, default=30.0)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--most", type=int, default=2)
    parser.add_argument("--listen", type=int, default=8799)
    parser.add_argument("--port", type=int, default=8820)
    parser.add_argument("--after", type=float, default=150.0, help="seconds to watch afterwards")
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--replay-only", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
