"""What a node agent costs: 10 targets every 5 s, beside `prometheus --enable-feature=agent`.

Each target is a moving vLLM page of 540 samples on a server of a child process; what is sent is
taken by another child that answers at once and counts bytes. Measured over the same wall time,
after a first round: resident memory and processor time of the whole process, bytes on the wire.
The agent runs as a user starts it: `servescope agent`, host readings included, its spool on disk, a
heartbeat. nvidia-ml-py is imported as well (`--no-nvml` leaves it out), because a node with GPUs
has to have room for it. The agent sends what its adapter makes of a page, Prometheus every line.

Limits: 60 MB resident, 2 % of a core.

    python benchmarks/agent.py [--targets 10] [--interval 5] [--seconds 60] [--prometheus PATH]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import vllm_page
from live_scrape import serve

ROOT = Path(__file__).parents[1]
MEMORY_LIMIT_BYTES = 60e6
CORE_LIMIT = 0.02


@dataclass
class Cost:
    """What one side needed.

    Attributes:
        name: which.
        memory_bytes: resident at the end.
        cpu_ratio: of one core.
        sent_bytes: bodies sent.
        samples: samples on the pages meanwhile.
    """

    name: str
    memory_bytes: float
    cpu_ratio: float
    sent_bytes: float
    samples: float

    def line(self) -> str:
        """For people."""
        each = self.sent_bytes / self.samples
        return (
            f"{self.name:34} {self.memory_bytes / 1e6:6.1f} MB {self.cpu_ratio:7.2%} of a core"
            f" {each:6.2f} bytes sent for each exposed sample"
        )


_TAKEN = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{"batches": 1}'
)


def take(ready: Connection) -> None:
    """Answer every POST as a servescope server; tell the bytes so far when asked."""
    taken = [0, 0]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                if b"/heartbeat" in head.split(b"\r\n")[0]:
                    taken[1] += len(body)
                else:
                    taken[0] += len(body)
                writer.write(_TAKEN)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        loop = asyncio.get_running_loop()
        loop.add_reader(ready.fileno(), lambda: ready.send((ready.recv(), *taken)))
        await server.serve_forever()

    asyncio.run(run())


def memory_bytes(pid: int) -> float:
    """Resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def cpu_seconds(pid: int) -> float:
    """Processor time so far."""
    told = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, command: list[str], sink: Connection, told: argparse.Namespace,
            environment: dict[str, str]) -> Cost:  # fmt: skip
    """Run `command` through a warm-up and the measured time."""
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        time.sleep(2 * told.interval + 2)
        sink.send("bytes")
        _, before, _ = sink.recv()
        cpu, start = cpu_seconds(process.pid), time.perf_counter()
        time.sleep(told.seconds)
        cpu, wall = cpu_seconds(process.pid) - cpu, time.perf_counter() - start
        memory = memory_bytes(process.pid)
        sink.send("bytes")
        _, after, _ = sink.recv()
    finally:
        process.terminate()
        process.wait()
    samples = wall / told.interval * told.targets * vllm_page.SAMPLES
    return Cost(name, memory, cpu / wall, after - before, samples)


def agent(port: int, sink_port: int, sink: Connection, told: argparse.Namespace) -> Cost:
    """`servescope agent`."""
    with tempfile.TemporaryDirectory() as folder:
        targets = [f"http://127.0.0.1:{port}/{n}/metrics" for n in range(told.targets)]
        config = Path(folder, "agent.toml")
        config.write_text(
            f'[agent]\nserver = "http://127.0.0.1:{sink_port}"\nname = "bench"\n'
            f"targets = {json.dumps(targets)}\nspool_folder = {json.dumps(folder + '/spool')}\n"
            f"[collector]\nscrape_interval_seconds = {told.interval}\n"
            f"scrape_timeout_seconds = {told.interval * 0.8}\n",
            "utf-8",
        )
        code = "" if told.no_nvml else "import pynvml; "
        code += "from servescope.cli.main import main; main()"
        # As installed: modules are compiled beforehand, not at every start.
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": folder + "/c"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-c", code, "agent", "--config", str(config)]
        once = [sys.executable, "-c", code, "agent", "--once", "--print"]
        subprocess.run(once, env=environment, stdout=subprocess.DEVNULL, check=True)
        return measure("servescope agent", command, sink, told, environment)


def prometheus(binary: str, port: int, sink_port: int, sink: Connection,
               told: argparse.Namespace) -> Cost:  # fmt: skip
    """Prometheus in agent mode, with remote-write to the same sink."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "prometheus.yml")
        jobs = [
            {
                "job_name": f"engine-{number}",
                "metrics_path": f"/{number}/metrics",
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
            for number in range(told.targets)
        ]
        every = {
            "scrape_interval": f"{told.interval:g}s",
            "scrape_timeout": f"{told.interval * 0.8:g}s",
        }
        write = [{"url": f"http://127.0.0.1:{sink_port}/api/v1/write"}]
        text = json.dumps({"global": every, "scrape_configs": jobs, "remote_write": write})
        config.write_text(text, "utf-8")
        command = [
            *(binary, "--enable-feature=agent", f"--config.file={config}", "--log.level=error"),
            *(f"--storage.agent.path={folder}/data", f"--web.listen-address=127.0.0.1:{port - 1}"),
        ]
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
        release = (version.stdout or version.stderr).split()[2]
        name = f"prometheus {release} agent mode"
        return measure(name, command, sink, told, dict(os.environ))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", type=int, default=10)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--no-nvml", action="store_true")
    parser.add_argument("--prometheus", default=os.environ.get("SERVESCOPE_PROMETHEUS"))
    told = parser.parse_args()
    pages, page_end = multiprocessing.Pipe()
    sink, sink_end = multiprocessing.Pipe()
    children = [
        multiprocessing.Process(target=serve, args=(page_end,), daemon=True),
        multiprocessing.Process(target=take, args=(sink_end,), daemon=True),
    ]
    for child in children:
        child.start()
    port, sink_port = pages.recv(), sink.recv()
    print(f"{told.targets} targets of {vllm_page.SAMPLES} samples every {told.interval:g} s")
    cost = agent(port, sink_port, sink, told)
    print(cost.line(), flush=True)
    binary = told.prometheus or shutil.which("prometheus")
    if binary is None:
        print("no prometheus found: give --prometheus")
    else:
        print(prometheus(binary, port, sink_port, sink, told).line())
    for child in children:
        child.terminate()
    good = cost.memory_bytes <= MEMORY_LIMIT_BYTES and cost.cpu_ratio <= CORE_LIMIT
    print(f"limits: {MEMORY_LIMIT_BYTES / 1e6:.0f} MB, {CORE_LIMIT:.0%} of a core:", end=" ")
    print("kept" if good else "BROKEN")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
