"""How fast metrics pages are read, beside prometheus_client on the same pages in the same run.

Cold: every series is seen for the first time. Warm: the page as it comes every five seconds.
Adapter: canonical samples out of a warm page. Best of several rounds, microseconds a sample.

    python benchmarks/exposition_speed.py
    python benchmarks/exposition_speed.py page.txt other_page.txt.gz
    SERVESCOPE_DATA=folder python benchmarks/exposition_speed.py    # also folder/expositions/*.txt*
"""

from __future__ import annotations

import gc
import gzip
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from collector.detect import engine_of
from collector.engines.reader import PageReader
from collector.exposition import SeriesCache, parse

ROOT = Path(__file__).parents[1]
WARM_LIMIT_US = 1.0
ROUNDS = 7


def pages() -> list[Path]:
    if sys.argv[1:]:
        return [Path(name) for name in sys.argv[1:]]
    found = sorted((ROOT / "tests" / "data" / "pages").glob("vllm*.txt"))
    data = os.environ.get("SERVESCOPE_DATA")
    return found + (sorted(Path(data, "expositions").glob("*.txt*")) if data else [])


def best(work: Callable[[], object]) -> float:
    """Seconds of the quickest round."""
    quickest = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        quickest = min(quickest, time.perf_counter() - start)
    return quickest


def measure(path: Path) -> float:
    """Print one row; gives the warm microseconds a sample."""
    body = path.read_bytes()
    body = gzip.decompress(body) if path.suffix == ".gz" else body
    cache, text = SeriesCache(), body.decode()
    page = parse(body, cache)
    engine = engine_of(page)
    reader = PageReader(engine) if engine else None
    micros = 1e6 / page.sample_count
    # What our caches hold must not slow down the stock parser's garbage collection.
    gc.collect()
    gc.freeze()
    stock = best(lambda: list(text_string_to_metric_families(text))) * micros
    cold = best(lambda: parse(body)) * micros
    warm = best(lambda: parse(body, cache)) * micros
    adapter = f"{best(lambda: reader.read(page)) * micros:8.2f}" if reader else "       -"
    print(
        f"{path.name[:44]:44} {page.sample_count:7} {stock:9.2f} {cold:7.2f} {warm:7.2f} {adapter}"
        f" {stock / warm:9.1f}x {stock / cold:7.1f}x"
    )
    return warm


def main() -> int:
    header = ("page", "samples", "stock us", "cold us", "warm us", "adapter", "warm/stock", "cold")
    print("{:44} {:>7} {:>9} {:>7} {:>7} {:>8} {:>10} {:>8}".format(*header))
    worst = max(measure(path) for path in pages())
    print(f"slowest warm page {worst:.2f} us a sample, limit {WARM_LIMIT_US:.2f}")
    return 0 if worst <= WARM_LIMIT_US else 1


if __name__ == "__main__":
    sys.exit(main())
