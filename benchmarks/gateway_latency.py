"""What the gateway adds to a streamed answer, beside a direct connection and two other proxies.

    python benchmarks/gateway_latency.py [--litellm VENV] [--router VENV] [--rate 200]

The engine is a double (`gateway_engine.py`: raw sockets, made-up words). Each proxy is pinned to
one core, engine and client share the other. Requests are sent in open loop, at the same rate to
each in turn, several times over, so that what disturbs the machine disturbs all alike. Then, in
closed loop, as many requests as each can take. CPU time is that of the proxy's process, by /proc.
LiteLLM's proxy and sglang-router are installed by you, each into an environment of its own, with
`pip install 'litellm[proxy]'` and `pip install sglang-router`; without them a line says so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
STREAMED = {"model": "double", "stream": True,
            "messages": [{"role": "user", "content": "hello " * 100}]}  # fmt: skip
WHOLE = {key: value for key, value in STREAMED.items() if key != "stream"}
GOALS = (0.001, 0.005)


@dataclass
class Way:
    """One way to the engine."""

    name: str
    port: int
    process: subprocess.Popen[bytes] | None = None
    first: list[float] = field(default_factory=list)
    failed: int = 0
    cpu_seconds: float = 0.0
    requests: int = 0
    most: list[tuple[float, float]] = field(default_factory=list)

    def cpu(self) -> float:
        """Seconds of its process and its children."""
        return 0.0 if self.process is None else sum(map(cpu_of, family(self.process.pid)))


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += family(int(child))
    return found


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def request(told: object) -> bytes:
    body = json.dumps(told).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    key = "authorization: Bearer sk-none\r\n"
    return f"{head}{key}content-length: {len(body)}\r\n\r\n".encode() + body


class Client(asyncio.Protocol):
    """One connection: when the first event came, and when the answer was whole."""

    def __init__(self) -> None:
        self.first = 0.0
        self.ended: asyncio.Future[bool] | None = None
        self.tail = b""
        self.whole_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, data: bytes) -> asyncio.Future[bool]:
        self.first, self.tail, self.whole_bytes = 0.0, b"", 0
        self.ended = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self.ended

    def data_received(self, data: bytes) -> None:
        seen = self.tail + data
        if not self.first and (b"data:" in seen or b'"choices"' in seen):
            self.first = time.perf_counter()
        if not self.whole_bytes and b"content-length: " in seen.lower():
            head, _, body = seen.partition(b"\r\n\r\n")
            at = head.lower().find(b"content-length: ")
            if at >= 0:
                self.whole_bytes = int(head[at + 16 :].split(b"\r\n")[0])
                seen = body
        is_over = len(seen) >= self.whole_bytes if self.whole_bytes else seen.endswith(b"0\r\n\r\n")
        self.tail = seen if self.whole_bytes else seen[-64:]
        if is_over:
            self.finish(is_good=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self.finish(is_good=False)

    def finish(self, *, is_good: bool) -> None:
        if self.ended is not None and not self.ended.done():
            self.ended.set_result(is_good)


async def connected(port: int) -> Client:
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    return client


async def open_loop(way: Way, rate: float, seconds: float) -> None:
    """Requests at a rate, each from its intended time."""
    pool: list[Client] = []
    data, begun = request(STREAMED), time.perf_counter() + 0.05
    before = way.cpu()

    async def one(at: float) -> None:
        client = pool.pop() if pool else await connected(way.port)
        if await asyncio.wait_for(client.ask(data), 30) and client.first:
            way.first.append(client.first - at)
            pool.append(client)
        else:
            way.failed += 1

    tasks = []
    for number in range(int(rate * seconds)):
        at = begun + number / rate
        if (wait := at - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(at)))
    await asyncio.gather(*tasks)
    way.cpu_seconds += way.cpu() - before
    way.requests += len(tasks)
    for client in pool:
        client.transport.close()


async def closed_loop(way: Way, clients: int, seconds: float) -> None:
    """As many whole answers as it can: (requests, CPU seconds) of each second."""
    data, count, until = request(WHOLE), 0, time.perf_counter() + seconds
    before, begun = way.cpu(), time.perf_counter()

    async def one() -> None:
        nonlocal count
        client = await connected(way.port)
        while time.perf_counter() < until:
            if await asyncio.wait_for(client.ask(data), 30):
                count += 1
            else:
                client = await connected(way.port)
        client.transport.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    way.most.append((count / (time.perf_counter() - begun), way.cpu() - before))


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def started(command: list[str], core: int, log: Path) -> subprocess.Popen[bytes]:
    """A process on one core."""
    cores = sorted(os.sched_getaffinity(0))
    pin = {cores[core % len(cores)]}
    with log.open("wb") as out:
        return subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": str(HERE.parent)},
            preexec_fn=lambda: os.sched_setaffinity(0, pin), start_new_session=True,
        )  # fmt: skip


async def answers(port: int, seconds: float) -> bool:
    """Whether a whole answer comes, within a time."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        try:
            client = await connected(port)
            if await asyncio.wait_for(client.ask(request(WHOLE)), 10) and client.first:
                return True
        except (OSError, TimeoutError):
            pass
        await asyncio.sleep(0.5)
    return False


def proxies(options: argparse.Namespace, engine: int, folder: Path) -> list[Way]:
    """Ours, and the peers that are there."""
    url = f"http://127.0.0.1:{engine}"
    made: list[Way] = []

    def add(name: str, command: Callable[[int], list[str]]) -> None:
        port = free_port()
        made.append(Way(name, port, started(command(port), 0, folder / f"{name}.log")))

    add("servescope gateway", lambda port: [
        sys.executable, "-m", "servescope", "gateway", "--upstream", url,
        "--listen", f"127.0.0.1:{port}"])  # fmt: skip
    if options.litellm is None:
        print("LiteLLM is not measured: give --litellm VENV with `pip install 'litellm[proxy]'`")
    else:
        config = folder / "litellm.yaml"
        params = {"model": "openai/double", "api_base": f"{url}/v1", "api_key": "sk-none"}
        told = {
            "model_list": [{"model_name": "double", "litellm_params": params}],
            "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
        }
        config.write_text(json.dumps(told))
        add("LiteLLM", lambda port: [
            str(options.litellm / "bin" / "litellm"), "--config", str(config),
            "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"])  # fmt: skip
    if options.router is None:
        print("sglang-router is not measured: give --router VENV with `pip install sglang-router`")
    else:
        add("sglang-router", lambda port: [
            str(options.router / "bin" / "python"), "-m", "sglang_router.launch_router",
            "--worker-urls", url, "--host", "127.0.0.1", "--port", str(port),
            "--policy", "round_robin", "--prometheus-port", str(free_port())])  # fmt: skip
    return made


def table(ways: list[Way], rate: float) -> None:
    direct = ways[0]
    print(f"\nFirst event at {rate:g} streamed requests/s, in ms; CPU is the proxy's per request")
    names = ("p50", "p99", "added p50", "added p99", "CPU ms", "failed", "RSS MB")
    print(" " * 20 + "".join(f"{name:>11}" for name in names))
    for way in ways:
        p50, p99 = quantile(way.first, 0.5), quantile(way.first, 0.99)
        added = (p50 - quantile(direct.first, 0.5), p99 - quantile(direct.first, 0.99))
        cpu = 1e3 * way.cpu_seconds / max(way.requests, 1)
        values = (1e3 * p50, 1e3 * p99, 1e3 * added[0], 1e3 * added[1], cpu)
        shown = "".join(f"{value:11.2f}" for value in values)
        print(f"{way.name:20}{shown}{way.failed:11}{rss(way):11.0f}")
    print("\nWhole answers in closed loop, on one core")
    for way in ways:
        rates = [rate for rate, _ in way.most]
        if rates:
            print(f"{way.name:20} {max(rates):8.0f} requests/s")
    ours = next(way for way in ways if way.name.startswith("servescope"))
    for way in ways:
        if way.name == "LiteLLM" and way.most:
            ratio = max(r for r, _ in ours.most) / max(r for r, _ in way.most)
            print(f"\n{ratio:.1f} times the throughput of LiteLLM (goal: 4)")
    added = [quantile(ours.first, q) - quantile(direct.first, q) for q in (0.5, 0.99)]
    verdicts = ["kept" if a <= goal else "missed" for a, goal in zip(added, GOALS, strict=True)]
    print(f"goal p50 <= 1 ms: {verdicts[0]}; p99 <= 5 ms: {verdicts[1]}")


def rss(way: Way) -> float:
    if way.process is None:
        return float("nan")
    total = 0
    for pid in family(way.process.pid):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                total += int(line.split()[1])
    return total / 1024


async def measure(options: argparse.Namespace, engine: int, ways: list[Way]) -> list[Way]:
    there = []
    for way in ways:
        if await answers(way.port, 120):
            there.append(way)
        else:
            print(f"{way.name} is not measured: it does not answer")
    ways = [Way("direct", engine), *there]
    for way in ways:
        await open_loop(way, options.rate / 4, 2)  # connections are open, code is loaded
        way.first, way.cpu_seconds, way.requests, way.failed = [], 0.0, 0, 0
    for _ in range(options.rounds):
        for way in ways:
            await open_loop(way, options.rate, options.seconds)
    for way in ways:
        await closed_loop(way, options.clients, options.seconds)
    return ways


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--litellm", type=Path)
    parser.add_argument("--router", type=Path)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--chunks", type=int, default=16)
    parser.add_argument("--gap", type=float, default=0.02)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("one core alone: proxy, engine and client disturb each other")
    engine_port = free_port()
    with tempfile.TemporaryDirectory(prefix="servescope-bench-") as temporary:
        folder = Path(temporary)
        engine = started(
            [sys.executable, str(HERE / "gateway_engine.py"), "--port", str(engine_port),
             "--chunks", str(options.chunks), "--gap", str(options.gap)],
            1, folder / "engine.log",
        )  # fmt: skip
        ways: list[Way] = []
        try:
            if not asyncio.run(answers(engine_port, 20)):
                sys.exit("the engine's double does not answer")
            ways = proxies(options, engine_port, folder)
            os.sched_setaffinity(0, {cores[1 % len(cores)]})
            measured = asyncio.run(measure(options, engine_port, ways))
            table(measured, options.rate)
        finally:
            for process in (engine, *(way.process for way in ways if way.process)):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


if __name__ == "__main__":
    main()
