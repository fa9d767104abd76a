"""How fast pages are read, beside prometheus_client's parsers on the same pages in the same run.

Cold: every series is read from scratch. Warm: the next page of a target, whose numbers have moved,
with its series seen before; by line (laid out differently each time) and by layout (as nearly every
page is). Adapter: canonical samples out of a warm page. Best of several rounds.

    python benchmarks/exposition_speed.py
    python benchmarks/exposition_speed.py page.txt other_page.txt.gz
    SERVESCOPE_DATA=folder python benchmarks/exposition_speed.py    # also folder/expositions/*.txt*
"""

from __future__ import annotations

import gc
import gzip
import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import vllm_page
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as classic

from collector.detect import engines_of
from collector.engines.reader import PageReader
from collector.exposition import PageMemory, SeriesCache, parse

ROOT = Path(__file__).parents[1]
WARM_LIMIT_PER_SECOND = 1_000_000
COLD_LIMIT_PER_SECOND = 200_000
ROUNDS = 25
COLUMNS = ("page", "samples", "stock k/s", "cold k/s", "by line k/s", "warm k/s", "adapter us")


def pages() -> dict[str, list[bytes]]:
    """Name -> pages of one target, one after the other."""
    found = {f"vllm under load, {vllm_page.SAMPLES} samples": vllm_page.moving(10)}
    files = [Path(name) for name in sys.argv[1:]]
    if not files:
        files = sorted((ROOT / "tests" / "data" / "pages").glob("vllm*.txt"))
        data = os.environ.get("SERVESCOPE_DATA")
        files += sorted(Path(data, "expositions").glob("*.txt*")) if data else []
    for path in files:
        body = path.read_bytes()
        found[path.name[:40]] = [gzip.decompress(body) if path.suffix == ".gz" else body]
    return found


def best(work: Callable[[], object]) -> float:
    """Seconds of the quickest round."""
    quickest = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        quickest = min(quickest, time.perf_counter() - start)
    return quickest


def measure(name: str, bodies: list[bytes]) -> tuple[float, float]:
    """Print one row; gives the samples a second, cold and warm."""
    cache, memory = SeriesCache(), PageMemory()
    following = itertools.cycle(bodies)
    text = bodies[-1].decode()
    page = parse(bodies[-1], cache, memory=memory)
    engines = engines_of(page)
    reader = PageReader(*engines) if engines else None
    many = page.sample_count
    # What our caches hold must not slow down the stock parser's garbage collection.
    gc.collect()
    gc.freeze()
    is_open = text.rstrip().endswith("# EOF")
    stock = best(lambda: list((open_metrics if is_open else classic)(text)))
    cold = best(lambda: parse(bodies[-1], open_metrics=is_open))
    by_line = best(lambda: parse(next(following), cache, open_metrics=is_open))
    warm = best(lambda: parse(next(following), cache, memory=memory, open_metrics=is_open))
    adapter = f"{best(lambda: reader.read(page)) / many * 1e6:10.2f}" if reader else "         -"
    rates = " ".join(f"{many / seconds / 1000:11.0f}" for seconds in (stock, cold, by_line, warm))
    print(f"{name:40} {many:7} {rates} {adapter}")
    return many / cold, many / warm


def main() -> int:
    print("{:40} {:>7} {:>11} {:>11} {:>11} {:>11} {:>10}".format(*COLUMNS))
    rates = [measure(name, bodies) for name, bodies in pages().items()]
    cold, warm = rates[0]
    print(f"cold {cold:,.0f} samples/s, limit {COLD_LIMIT_PER_SECOND:,}")
    print(f"warm {warm:,.0f} samples/s, limit {WARM_LIMIT_PER_SECOND:,}")
    return 0 if cold >= COLD_LIMIT_PER_SECOND and warm >= WARM_LIMIT_PER_SECOND else 1


if __name__ == "__main__":
    sys.exit(main())
