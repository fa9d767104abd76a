"""A real card read by the agent, and the double held against it. Needs an NVIDIA driver.

Prints every signal of every card, how long a reading takes, and what this card does not tell. Then
checks: the contract of a source; ranges that hold for any card (memory parts add up, power below
twice its limit, counters do not fall); that the double answers the same calls with the same kinds
of values. With torch or nvidia-smi there is nothing to do: an idle card is enough.

    python benchmarks/nvml_live.py [--readings 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from collector.agent import nvml_cards
from collector.agent.fake_nvml import FakeCard, FakeNvml
from collector.agent.nvml_cards import CardReading, NvmlCards
from collector.agent.nvml_source import NvmlSource
from collector.checks import check_source
from store.clock import WallClock
from store.signals import SIGNALS


def read(cards: NvmlCards, times: int) -> tuple[list[tuple[CardReading, ...]], list[float]]:
    """Several readings and how long each took."""
    readings, seconds = [], []
    for _ in range(times):
        start = time.perf_counter()
        readings.append(cards.read())
        seconds.append(time.perf_counter() - start)
        time.sleep(0.2)
    return readings, seconds


def wrong(readings: list[tuple[CardReading, ...]]) -> list[str]:
    """What cannot be true of any card."""
    told = []
    for first, last in zip(readings[0], readings[-1], strict=True):
        values = {signal: value for (signal, reason), value in last.values.items() if not reason}
        if last.lost is not None:
            told.append(f"GPU {last.gpu} is lost: {last.lost}")
            continue
        parts = [values.get(f"gpu_memory_{part}_bytes") for part in ("used", "free", "reserved")]
        whole = values.get("gpu_memory_capacity_bytes")
        if None not in parts and whole and abs(sum(parts) - whole) > 0.01 * whole:
            told.append(f"GPU {last.gpu}: used, free and reserved memory do not add up to {whole}")
        power, limit = values.get("gpu_power_watts"), values.get("gpu_power_limit_watts")
        if power and limit and not 1 < power < 2 * limit:
            told.append(f"GPU {last.gpu}: {power} W with a limit of {limit} W")
        for key, value in last.values.items():
            signal = SIGNALS[key[0]]
            if not signal.accepts(value):
                told.append(f"GPU {last.gpu}: {key} = {value} is out of range")
            if signal.kind == "counter" and value < first.values.get(key, value):
                told.append(f"GPU {last.gpu}: counter {key} fell")
    return told


def unlike(real: CardReading, fake: CardReading) -> tuple[list[str], list[str]]:
    """Signals that only one of them tells."""
    ours, theirs = set(fake.values), set(real.values)
    return sorted(map(str, ours - theirs)), sorted(map(str, theirs - ours))


def document(readings: list[tuple[CardReading, ...]], seconds: list[float], version: Any) -> Any:
    """For a file."""
    return {
        "driver": version,
        "reading_seconds": {"p50": statistics.median(seconds), "max": max(seconds)},
        "cards": [
            {
                "gpu": card.gpu,
                "model": card.model,
                "values": {" ".join(filter(None, key)): v for key, v in card.values.items()},
                "processes": len(card.processes),
                "lost": card.lost,
            }
            for card in readings[-1]
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readings", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    nvml = nvml_cards.installed()
    if nvml is None:
        sys.exit("no NVIDIA driver library here (libnvidia-ml.so.1)")
    cards = NvmlCards(nvml)
    cards.open()
    version = cards.driver_version
    readings, seconds = read(cards, options.readings)
    for card in readings[-1]:
        print(f"GPU {card.gpu} {card.model} {card.uuid}, driver {version}")
        for (signal, reason), value in sorted(card.values.items()):
            print(f"  {signal:46} {reason:12} {value:>20,.6g} {SIGNALS[signal].unit}")
        for process in card.processes:
            print(f"  process {process.pid} {process.name} {process.memory_bytes / 1e9:.2f} GB")
    fake = NvmlCards(FakeNvml([FakeCard()]))
    fake.open()
    only_fake, only_real = unlike(readings[-1][0], fake.read()[0])
    print(f"only the double tells: {only_fake}")
    print(f"only this card tells:  {only_real}")
    print(f"XID since the start: {cards.xids()}")
    half = statistics.median(seconds)
    print(f"a reading of {len(readings[-1])} cards: p50 {half * 1e3:.1f} ms, max "
          f"{max(seconds) * 1e3:.1f} ms, {half / 5:.2%} of a core at one every 5 s")  # fmt: skip
    asyncio.run(check_source(NvmlSource(0, cards, "node", WallClock())))
    if options.json:
        text = json.dumps(document(readings, seconds, version), indent=1)
        options.json.write_text(text, "utf-8")
    bad = wrong(readings)
    print("\n".join(bad) or "everything is in its range, and the contract of a source is kept")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
