"""Kill -9 under write load, fifty times: no acknowledged row lost, none doubled.

`--through server` (the default) posts Parquet files to a real `servescope up` and kills it;
`--through writer` writes batches through the store's own writer in a child process that also
refreshes roll-ups, deletes old rows and checkpoints. After each kill the store is opened: every
acknowledged row must be there once, and a batch that was cut off must be there whole or not at all
(server); a resend of everything acknowledged must add nothing, and one of the rest exactly what is
missing (writer).

Limit: 0 lost, 0 doubled. Beside it stands what the promise costs: how long an answer took.

    python benchmarks/kill_nine.py [--rounds 50] [--seed 20260131] [--through server|writer]
"""

from __future__ import annotations

import argparse
import io
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
import polars as pl

from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

ROOT = Path(__file__).parents[1]
START = datetime(2026, 1, 1)  # noqa: DTZ001 - as the store keeps it
READY_SECONDS = 30.0


@dataclass
class Log:
    """What happened so far.

    Attributes:
        acknowledged: batches that were answered.
        sent: batches that were sent, answered or not.
        commit_seconds: how long each answer took.
    """

    acknowledged: list[int] = field(default_factory=list)
    sent: int = 0
    commit_seconds: list[float] = field(default_factory=list)


def batch(number: int) -> pl.DataFrame:
    """Batch `number`: the same rows whoever makes it."""
    size = random.Random(number).randint(1, 2000)
    return pl.DataFrame(
        {
            "request_id": [f"{number}-{i}" for i in range(size)],
            "arrived_at": [
                START + timedelta(seconds=number * 60, milliseconds=i) for i in range(size)
            ],
            "status": ["ok"] * size,
            "input_tokens": list(range(size)),
            "output_tokens": [7] * size,
        }
    )


def keyed(number: int) -> pl.DataFrame:
    """The batch as an upload brings it: our own Parquet columns, with keys."""
    frame = batch(number)
    return frame.select(
        pl.lit("kill-nine").alias("source"),
        "arrived_at",
        "status",
        "input_tokens",
        "output_tokens",
        (pl.lit(number, pl.UInt64) * 1_000_000 + pl.int_range(pl.len(), dtype=pl.UInt64)).alias(
            "request_key"
        ),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_round(path: Path, log: Log, seconds: float) -> None:
    """Start the server, post batches for `seconds`, kill it in the middle of one."""
    port = free_port()
    command = [sys.executable, "-m", "servescope", "up", "--store", str(path)]
    command += ["--listen", f"127.0.0.1:{port}"]
    with (
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        try:
            _wait_until_ready(client, server)
            killer = _kill_later(server.pid, seconds)
            while _post(client, log):
                pass
            killer.wait()
        finally:
            server.kill()


def _wait_until_ready(client: httpx2.Client, server: subprocess.Popen) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit(f"the server ended by itself ({server.returncode})")
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.05)
    raise SystemExit("the server did not get ready")


def _kill_later(pid: int, seconds: float) -> subprocess.Popen:
    """A process of its own, so that the kill comes whatever this one is waiting for."""
    return subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -9 {pid}"])


def _post(client: httpx2.Client, log: Log) -> bool:
    number, buffer = log.sent, io.BytesIO()
    keyed(number).write_parquet(buffer)
    log.sent += 1
    began = time.perf_counter()
    try:
        answer = client.post("/api/v1/imports", content=buffer.getvalue())
    except httpx2.HTTPError:
        return False
    if answer.status_code not in {200, 201}:
        raise SystemExit(f"the server answered {answer.status_code}: {answer.text[:300]}")
    log.commit_seconds.append(time.perf_counter() - began)
    log.acknowledged.append(number)
    return True


WRITER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
sys.path[:0] = [{here!r}, {root!r}]
from kill_nine import batch
from store.clock import WallClock
from store.database import Database
from store.retention import checkpoint, delete_old
from store.rollup import refresh_due
from store.settings import StoreSettings
settings = StoreSettings(sample_retention_days=1, request_retention_days=None)
database = Database.open(Path({path!r}), settings, WallClock())
number = {first}
while True:
    began = time.perf_counter()
    print("sent", number, flush=True)
    database.writer.append("request", batch(number)).result()
    print("done", number, time.perf_counter() - began, flush=True)
    number += 1
    now = datetime.now(UTC)
    if number % 5 == 0: refresh_due(database.writer, now)
    if number % 11 == 0: delete_old(database.writer, settings, now)
    if number % 13 == 0: checkpoint(database.writer)
"""


def writer_round(path: Path, log: Log, seconds: float) -> None:
    """The same against the writer alone."""
    code = WRITER.format(
        here=str(Path(__file__).parent), root=str(ROOT), path=str(path), first=log.sent
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        lines = [child.stdout.readline()]
        time.sleep(seconds)
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
    for words in (line.split() for line in lines):
        if words[0] == "sent":
            log.sent = int(words[1]) + 1
        else:
            log.acknowledged.append(int(words[1]))
            log.commit_seconds.append(float(words[2]))


def check_writer(path: Path, log: Log) -> tuple[int, int]:
    """Rows lost and rows doubled, found by sending everything again."""
    with Database.open(path, StoreSettings(), WallClock()) as database:
        append = database.writer.append
        lost = sum(append("request", batch(n)).result() for n in log.acknowledged)
        for number in range(log.sent):
            append("request", batch(number)).result()
        total = sum(batch(n).height for n in range(log.sent))
        return lost, int(database.reader.scalar("SELECT count(*) FROM request")) - total


def check_server(path: Path, log: Log) -> tuple[int, int]:
    """The same for uploads: every acknowledged key is there once."""
    with Database.open(path, StoreSettings(), WallClock()) as database:
        found = database.reader.frame(
            """SELECT request_key // 1000000 AS number, count(*) AS rows,
            count(DISTINCT request_key) AS keys FROM request GROUP BY 1"""
        )
    rows = dict(zip(found["number"], found["keys"], strict=True))
    lost = sum(batch(n).height - rows.get(n, 0) for n in log.acknowledged)
    # A batch that was not acknowledged is there as a whole or not at all.
    torn = sum(rows[n] != batch(int(n)).height for n in rows)
    return lost, int((found["rows"] - found["keys"]).sum()) + torn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20_260_131)
    parser.add_argument("--through", choices=("server", "writer"), default="server")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    play, check = {
        "server": (server_round, check_server), "writer": (writer_round, check_writer)
    }[given.through]  # fmt: skip
    log, bad = Log(), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.duckdb"
        for number in range(given.rounds):
            play(path, log, chance.uniform(0.1, 1.5))
            lost, doubled = check(path, log)
            bad += lost + doubled
            if lost or doubled or (number + 1) % 10 == 0:
                print(f"round {number + 1}: lost {lost}, doubled or torn {doubled}", flush=True)
    rows = sum(batch(n).height for n in log.acknowledged)
    times = sorted(log.commit_seconds)
    print(
        f"{given.through}: {given.rounds} kills, {len(log.acknowledged):,} batches ({rows:,} rows)"
        f" acknowledged, {log.sent - len(log.acknowledged)} batches cut off; lost or doubled: {bad}"
        f" (limit 0); commit p50 {times[len(times) // 2] * 1e3:.0f} ms,"
        f" p95 {times[int(len(times) * 0.95)] * 1e3:.0f} ms"
    )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
