"""A tab that is left open: does its memory grow?

Starts a server to which twenty requests a second arrive (or takes `--url` of a running one), opens
a page with a refresh every five seconds, and reads the size of the used JavaScript heap once a
minute, after the garbage was collected. Growth is the median of the last quarter over that of the
first quarter once the page has settled. The range is of a fixed length: a page that shows more
and more may grow for that.

Limit to reach: 10 % in two hours.

    python benchmarks/soak.py [--minutes 120] [--url URL] [--page ADDRESS]
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import polars as pl
import viewers
from first_light import verdict
from page_quality import browser

LIMIT_RATIO = 0.10
SETTLING_MINUTES = 2


ROWS_PER_SECOND = 20


class Arriving(threading.Thread):
    """Requests that go on arriving, one upload a second."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._client = httpx2.Client(base_url=url, timeout=60)
        self._over = threading.Event()

    def run(self) -> None:
        """Send until told to stop."""
        while not self._over.wait(1.0):
            self.send(datetime.now(UTC))

    def send(self, now: datetime) -> None:
        """The requests of one second."""
        rows = range(ROWS_PER_SECOND)
        at = now.replace(tzinfo=None)
        waited = 0.2 + (at.minute % 7) / 20
        frame = pl.DataFrame(
            {
                "source": ["live"] * len(rows),
                "arrived_at": [at - timedelta(milliseconds=50 * row) for row in rows],
                "status": ["failed" if row == at.second else "ok" for row in rows],
                "model": ["chat-70b" if row % 3 else "code-7b" for row in rows],
                "tenant": [f"tenant-{row % 5}" for row in rows],
                "input_tokens": [1000 + 10 * row for row in rows],
                "output_tokens": [200] * len(rows),
                "ttft_seconds": [waited + row / 100 for row in rows],
                "tpot_seconds": [0.03] * len(rows),
                "e2e_seconds": [waited + 6 for _ in rows],
                "request_key": [time.time_ns() + row for row in rows],
            },
            schema_overrides={"request_key": pl.UInt64},
        )
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        self._client.post("/api/v1/imports", content=buffer.getvalue()).raise_for_status()

    def stop(self) -> None:
        """Stop and wait."""
        self._over.set()
        self.join()


def used_bytes(client) -> tuple[float, float]:
    """Used heap after collection (bytes), and nodes of the document."""
    for _ in range(2):
        client.send("HeapProfiler.collectGarbage")
    found = {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}
    return found["JSHeapUsedSize"], found["Nodes"]


def watch(url: str, minutes: int) -> list[tuple[float, float]]:
    """Heap (bytes) and nodes, once a minute."""
    seen = []
    with browser() as opened:
        page = opened.new_context(viewport={"width": 1440, "height": 900}).new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
        page.goto(url)
        page.wait_for_selector(".ss-waiting", state="detached")
        began = time.monotonic()
        for minute in range(minutes + 1):
            page.wait_for_timeout(max(0.0, began + 60 * minute - time.monotonic()) * 1000)
            heap, nodes = used_bytes(client)
            seen.append((heap, nodes))
            print(f"# minute {minute:4} heap {heap / 1e6:6.2f} MB, {nodes:6.0f} nodes, "
                  f"{len(asked)} requests", flush=True)  # fmt: skip
    return seen


def served(page: str, minutes: int) -> list[tuple[float, float]]:
    """The same over a server of its own to which requests arrive."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        process, url = viewers.serve(folder / "soak.duckdb", folder, 1.0)
        arriving = Arriving(url)
        try:
            for second in range(600, 0, -5):
                arriving.send(datetime.now(UTC) - timedelta(seconds=second))
            arriving.start()
            return watch(url + page, minutes)
        finally:
            arriving.stop()
            process.terminate()
            process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=120)
    parser.add_argument("--url", default="", help="a running server, instead of one of its own")
    parser.add_argument("--page", default="/ui/?from=now-10m&refresh=5")
    given = parser.parse_args()
    if given.minutes < 8:
        sys.exit("at least 8 minutes: growth is told from the quarters of what was seen")
    if given.url:
        seen = watch(given.url + given.page, given.minutes)
    else:
        seen = served(given.page, given.minutes)
    heaps = [heap for heap, _ in seen[SETTLING_MINUTES:]]
    quarter = max(1, len(heaps) // 4)
    first, last = statistics.median(heaps[:quarter]), statistics.median(heaps[-quarter:])
    growth = last / first - 1
    print(f"{verdict(growth <= LIMIT_RATIO)} soak {given.page} over {given.minutes} min: "
          f"{first / 1e6:.2f} to {last / 1e6:.2f} MB, {growth:+.1%} (limit +10 %)")  # fmt: skip
    sys.exit(0 if growth <= LIMIT_RATIO else 1)


if __name__ == "__main__":
    main()
