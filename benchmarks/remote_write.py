"""Prometheus remote-write 1.0 into the real server: samples a second, answered when durable.

Pages of many vLLM engines with 540 samples each, moving as under load, cut as a Prometheus cuts
them: its shards take series by their hash, each sends requests of 2,000 samples and waits for the
answer. So every page arrives in pieces. All bodies are made before the clock starts. A first round
introduces the series; both sides get it before the clock starts too. At the end the rows in the
store are counted.

The same bodies go to Debian's Prometheus in the same run (`--web.enable-remote-write-receiver`),
found by --prometheus, $SERVESCOPE_PROMETHEUS or on PATH; it need not be installed:
`apt-get download prometheus && dpkg-deb -x prometheus_*.deb .`

Goal, on two cores with the senders on them: 500,000 samples/s.

    python benchmarks/remote_write.py [--instances 200] [--rounds 20] [--shards 4]
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import cramjam
import orjson
import vllm_page

from collector.drops import Drops
from collector.exposition import parse
from collector.remote_write import labels as wire
from collector.remote_write.decode import V1
from collector.remote_write.door import Door
from collector.remote_write.pages import SETTLE_SECONDS

ROOT = Path(__file__).parents[1]
GOAL = 500_000
INTERVAL_MS = 15_000
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
READY_SECONDS = 60.0


@dataclass
class Told:
    """What one side did."""

    samples: int
    seconds: float
    cores: float
    waits: list[float]
    body_bytes: int

    def line(self, name: str) -> str:
        """For people."""
        waits = sorted(self.waits)
        return (
            f"  {name:22s} {self.samples / self.seconds:10,.0f} samples/s"
            f"  {self.cores:.2f} cores, {self.cores * self.seconds / self.samples * 1e6:.2f} us CPU"
            f" a sample; answer p50 {waits[len(waits) // 2] * 1000:.0f} ms,"
            f" p95 {waits[int(len(waits) * 0.95)] * 1000:.0f} ms"
        )


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(key: bytes, value: float, at_ms: int) -> bytes:
    """One series with one sample, as Go writes it: a value of 0 is left out."""
    sample = (b"\x09" + struct.pack("<d", value) if value else b"") + b"\x10" + varint(at_ms)
    message = key + b"\x12" + varint(len(sample)) + sample
    return b"\x0a" + varint(len(message)) + message


def series(options: argparse.Namespace, shard: int) -> list[tuple[bytes, int]]:
    """Label bytes and place on the page of every series that this shard sends."""
    names = list(parse(vllm_page.page()).values)
    found = []
    for instance in range(options.instances):
        for place, one in enumerate(names):
            told = {**dict(one.labels), "__name__": one.name, "job": "vllm"}
            told["instance"] = f"gpu-{instance}.cluster.local:8000"
            key = wire.encoded(sorted(told.items()))
            if zlib.crc32(key) % options.shards == shard:
                found.append((key, place))
    return found


def sender(pipe: Connection, options: argparse.Namespace, shard: int, start_ms: int) -> None:
    """Makes its requests, then sends the rounds it is told to, to the ports it is told."""
    mine = series(options, shard)
    rounds = []
    for step, page in enumerate(vllm_page.moving(options.rounds + 1)):
        values = list(parse(page).values.values())
        at_ms = start_ms + step * INTERVAL_MS
        fields = [field(key, values[place], at_ms) for key, place in mine]
        cuts = range(0, len(fields), options.batch)
        raw = [b"".join(fields[cut : cut + options.batch]) for cut in cuts]
        rounds.append([bytes(cramjam.snappy.compress_raw(body)) for body in raw])
    pipe.send((len(mine), sum(len(body) for bodies in rounds for body in bodies)))
    while (told := pipe.recv()) is not None:
        port, first, last = told
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        waits = []
        for body in (body for bodies in rounds[first:last] for body in bodies):
            began = time.perf_counter()
            connection.request("POST", "/api/v1/write", body, HEADERS)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 204:
                sys.exit(f"answered {answer.status}: {text!r}")
            waits.append(time.perf_counter() - began)
        pipe.send(waits)


def measure(pipes: list[Connection], port: int, pid: int, samples: int, size: int) -> Told:
    """Send everything but the first round."""
    busy, began = cpu_seconds(pid), time.perf_counter()
    for pipe in pipes:
        pipe.send((port, 1, None))
    waits = [wait for pipe in pipes for wait in pipe.recv()]
    seconds = time.perf_counter() - began
    return Told(samples, seconds, (cpu_seconds(pid) - busy) / seconds, waits, size)


def introduce(pipes: list[Connection], port: int, wait_seconds: float) -> None:
    for pipe in pipes:
        pipe.send((port, 0, 1))
    for pipe in pipes:
        pipe.recv()
    time.sleep(wait_seconds)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def ready(process: subprocess.Popen, port: int, path: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("the server did not start")


def ours(folder: Path) -> tuple[subprocess.Popen, int]:
    port = free_port()
    command = [sys.executable, "-m", "servescope", "up", "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [*command, "--store", str(folder / "store.duckdb")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder)},
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    ready(process, port, "/api/v1/health")
    return process, port


def theirs(binary: str, folder: Path) -> tuple[subprocess.Popen, int]:
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text("{}", "utf-8")
    process = subprocess.Popen(
        [
            *(binary, f"--config.file={config}", f"--storage.tsdb.path={folder}/data"),
            *(f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"),
            "--log.level=error",
        ]
    )
    ready(process, port, "/-/ready")
    return process, port


def count(port: int, table: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = orjson.dumps({"sql": f"SELECT count(*) AS n FROM {table}"})
    connection.request("POST", "/api/v1/sql", body, {"Content-Type": "application/json"})
    return int(orjson.loads(connection.getresponse().read())["rows"][0]["n"])


def read_share(options: argparse.Namespace) -> float:
    """Which share of the samples an adapter reads."""
    told = series(argparse.Namespace(instances=1, shards=1), 0)
    door = Door(Drops())
    body = b"".join(field(key, 1.0, 1_800_000_000_000) for key, _ in told)
    door.take(body, V1, 1_800_000_000_000, 0.0)
    return sum(len(target.kept) for target in door.table.targets) / len(told)


def check(port: int, options: argparse.Namespace) -> None:
    """Every page must be there, once, with all its values."""
    pages = options.instances * (options.rounds + 1)
    found = {name: count(port, name) for name in ("sample", "histogram_sample", "scrape")}
    print("  rows in the store: " + ", ".join(f"{n:,} {name}" for name, n in found.items()))
    if found["scrape"] != pages or any(n % pages for n in found.values()):
        sys.exit(f"rows are missing or doubled: {pages:,} pages were sent")


def run_ours(pipes: list[Connection], samples: int, size: int, options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process, port = ours(Path(folder))
        try:
            introduce(pipes, port, SETTLE_SECONDS + 3)
            result = measure(pipes, port, process.pid, samples, size)
            print(f"{result.line('servescope, durable')}   goal {GOAL:,}", flush=True)
            time.sleep(3)
            check(port, options)
        finally:
            process.terminate()
            process.wait(30)


def run_theirs(pipes: list[Connection], samples: int, size: int, binary: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process, port = theirs(binary, Path(folder))
        try:
            introduce(pipes, port, 3)
            peer = measure(pipes, port, process.pid, samples, size)
            version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout
            print(peer.line(" ".join(version.split()[:3]).replace(", version", "")))
        finally:
            process.terminate()
            process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--batch", type=int, default=2000)
    parser.add_argument("--prometheus", default=os.environ.get("SERVESCOPE_PROMETHEUS"))
    options = parser.parse_args()
    binary = options.prometheus or shutil.which("prometheus")
    start_ms = int(time.time() * 1000) - (options.rounds + 1) * INTERVAL_MS
    pipes = []
    for shard in range(options.shards):
        mine, other = multiprocessing.Pipe()
        arguments = (other, options, shard, start_ms)
        multiprocessing.Process(target=sender, args=arguments, daemon=True).start()
        pipes.append(mine)
    told = [pipe.recv() for pipe in pipes]
    samples = sum(n for n, _ in told) * options.rounds
    size = sum(n for _, n in told)
    print(
        f"  {options.instances} engines x {vllm_page.SAMPLES} samples, {options.rounds} rounds by"
        f" {options.shards} shards in requests of {options.batch:,};"
        f" {read_share(options):.0%} of the samples are read by an adapter"
    )
    run_ours(pipes, samples, size, options)
    if binary:
        run_theirs(pipes, samples, size, binary)
    else:
        print("  no prometheus found: give --prometheus")


if __name__ == "__main__":
    main()
