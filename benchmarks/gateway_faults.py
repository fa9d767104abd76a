"""What bad clients and bad engines cost others: the victims' times alone, and beside each fault.

    python benchmarks/gateway_faults.py [--seconds 4] [--rounds 3] [--only many-values]

The gateway has one core, the victims' client and the engine's double share the other with the
attackers, who go behind them (nice 19). Alone and beside follow each other in every round, so that
what disturbs the machine disturbs both. The victims are ten streamed requests a second, each timed
from when it was due to its first event and to its end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from gateway_attackers import CLIENT_FAULTS, ENGINE_FAULTS
from gateway_latency import (
    HERE,
    STREAMED,
    answers,
    connected,
    free_port,
    quantile,
    request,
    started,
)
from gateway_streams import end

GOAL_RATIO = 1.5
VICTIM = request({**STREAMED, "user": "victim"})


@dataclass
class Seen:
    """What the victims got."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    failed: int = 0


async def victims(port: int, rate: float, seconds: float, seen: Seen) -> None:
    """Requests in open loop, each on a connection that was open before."""
    count = int(rate * seconds)
    clients = [await connected(port) for _ in range(min(count, 64))]
    begun = time.perf_counter() + 0.05

    async def one(number: int) -> None:
        at, client = begun + number / rate, clients[number % len(clients)]
        await asyncio.sleep(max(at - time.perf_counter(), 0))
        try:
            is_good = await asyncio.wait_for(client.ask(VICTIM), 20)
        except TimeoutError:
            is_good = False
        if is_good and client.first:
            seen.first.append(client.first - at)
            seen.whole.append(time.perf_counter() - at)
        else:
            seen.failed += 1

    await asyncio.gather(*(one(number) for number in range(count)))
    for client in clients:
        client.transport.close()


async def beside(
    fault: str, ports: dict[str, int], options: argparse.Namespace
) -> tuple[Seen, Seen]:
    """(alone, beside), all rounds together."""
    alone, harmed = Seen(), Seen()
    for _ in range(options.rounds):
        await victims(ports["gateway"], options.rate, options.seconds, alone)
        attackers = await asyncio.create_subprocess_exec(
            *["nice", "-n", "19", sys.executable, str(HERE / "gateway_attackers.py"), fault,
             "--port", str(ports["gateway"]), "--listen", str(ports["bad"]),
             "--seconds", str(options.seconds + 4)],
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )  # fmt: skip
        try:
            await asyncio.sleep(2.5)
            await victims(ports["gateway"], options.rate, options.seconds, harmed)
        finally:
            attackers.kill()
            await attackers.wait()
        await asyncio.sleep(1.0)
    return alone, harmed


def told(fault: str, alone: Seen, harmed: Seen) -> dict[str, object]:
    row: dict[str, object] = {"fault": fault, "failed": alone.failed + harmed.failed}
    for name in ("first", "whole"):
        for share in (0.5, 0.99):
            pair = [quantile(getattr(one, name), share) for one in (alone, harmed)]
            row[f"{name}_p{round(100 * share)}_ms"] = [1e3 * value for value in pair]
            row[f"{name}_p{round(100 * share)}_ratio"] = pair[1] / pair[0]
    times = "".join(
        f"{row[key][0]:8.1f}{row[key][1]:8.1f}"  # type: ignore[index]
        for key in ("first_p50_ms", "first_p99_ms", "whole_p50_ms", "whole_p99_ms")
    )
    ratio = float(str(row["whole_p99_ratio"]))
    print(
        f"{fault:18}{times}{row['first_p99_ratio']:8.2f}{ratio:8.2f}{row['failed']:7}", flush=True
    )
    return row


async def measure(options: argparse.Namespace, ports: dict[str, int]) -> list[dict[str, object]]:
    if not (await answers(ports["engine"], 20) and await answers(ports["gateway"], 60)):
        sys.exit("the gateway does not answer")
    await victims(ports["gateway"], options.rate, 2, Seen())
    names = ("first p50", "first p99", "end p50", "end p99")
    print(f"{'ms: alone, beside':18}" + "".join(f"{name:>16}" for name in names)
          + f"{'p99':>8}{'p99':>8}{'failed':>7}")  # fmt: skip
    faults = options.only or [*CLIENT_FAULTS, *ENGINE_FAULTS]
    return [told(fault, *await beside(fault, ports, options)) for fault in faults]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=25.0)
    parser.add_argument("--seats", type=int, default=32)
    parser.add_argument("--only", action="append", choices=[*CLIENT_FAULTS, *ENGINE_FAULTS])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    ports = {name: free_port() for name in ("engine", "gateway", "bad")}
    with tempfile.TemporaryDirectory(prefix="servescope-bench-") as temporary:
        folder, running = Path(temporary), []
        try:
            running.append(started(
                [sys.executable, str(HERE / "gateway_engine.py"), "--port", str(ports["engine"]),
                 "--chunks", "16", "--gap", "0.02", "--slots", str(options.seats)],
                1, folder / "engine.log"))  # fmt: skip
            running.append(started(
                [sys.executable, "-m", "servescope", "gateway", "--listen",
                 f"127.0.0.1:{ports['gateway']}", "--upstream",
                 f"http://127.0.0.1:{ports['engine']}", "--upstream",
                 f"http://127.0.0.1:{ports['bad']}"],
                0, folder / "gateway.log"))  # fmt: skip
            os.sched_setaffinity(0, {cores[1 % len(cores)]})
            rows = asyncio.run(measure(options, ports))
        finally:
            for process in running:
                end(process)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    bad = [row["fault"] for row in rows
           if row["failed"] or float(str(row["whole_p99_ratio"])) > GOAL_RATIO]  # fmt: skip
    verdict = f"missed by {', '.join(map(str, bad))}" if bad else "kept"
    print(f"goal p99 ratio <= {GOAL_RATIO}, nobody fails: {verdict}")
    if bad:
        sys.exit(1)


if __name__ == "__main__":
    main()
