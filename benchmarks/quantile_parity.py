"""`histogram_quantile`: ours against a running Prometheus, on thousands of odd histograms.

Prometheus scrapes one page of random histograms (few and many buckets, empty, shrinking, without
+Inf, edges below 0) and answers one query a quantile. Every answer must be the same number.

    python benchmarks/quantile_parity.py --prometheus /usr/bin/prometheus
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from analysis.prometheus_quantile import histogram_quantile

QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0, -1.0, 2.0)
EDGES = (-5.0, -1.0, 0.0, 0.001, 0.005, 0.01, 0.1, 0.25, 0.3, 0.5, 1.0, 2.5, 10.0, 60.0, 2560.0)
Case = tuple[tuple[float, ...], tuple[float, ...]]


def cases(many: int) -> list[Case]:
    dice = random.Random(7)
    made: list[Case] = []
    for _ in range(many):
        edges = sorted(dice.sample(EDGES, dice.randint(0, len(EDGES))))
        if dice.random() < 0.9:
            edges.append(math.inf)
        counts = [float(dice.choice((0, 0, 1, 5, 1000, dice.randint(0, 10**6)))) for _ in edges]
        if dice.random() < 0.8:
            counts.sort()
        if edges:
            made.append((tuple(edges), tuple(counts)))
    return made


def page(made: list[Case]) -> bytes:
    lines = ["# TYPE odd histogram"]
    for number, (edges, counts) in enumerate(made):
        for edge, count in zip(edges, counts, strict=True):
            told = "+Inf" if edge == math.inf else repr(edge)
            lines.append(f'odd_bucket{{case="{number}",le="{told}"}} {count!r}')
    return ("\n".join(lines) + "\n").encode()


def serve(body: bytes) -> ThreadingHTTPServer:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def ask(port: int, query: str) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(url, timeout=20) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


def wait_for(port: int, many: int) -> None:
    for _ in range(200):
        try:
            if len(ask(port, "count by (case) (odd_bucket)")) == many:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("Prometheus did not take the page in 20 s")


def compare(port: int, made: list[Case]) -> tuple[int, list[str]]:
    same, differing = 0, []
    for q in QUANTILES:
        answers = ask(port, f"histogram_quantile({q}, odd_bucket)")
        theirs = {int(told["metric"]["case"]): float(told["value"][1]) for told in answers}
        for number, (edges, counts) in enumerate(made):
            ours = histogram_quantile(q, edges, counts)
            other = theirs.get(number, math.nan)
            if ours == other or (math.isnan(ours) and math.isnan(other)):
                same += 1
            else:
                differing.append(f"q={q} {edges} {counts}: ours {ours!r}, Prometheus {other!r}")
    return same, differing


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--prometheus", default="/usr/bin/prometheus", help="its program")
    options.add_argument("--cases", type=int, default=2000)
    options.add_argument("--port", type=int, default=8391)
    told = options.parse_args()
    if not Path(told.prometheus).exists():
        print(f"not run: {told.prometheus} is not there; name it with --prometheus")
        return 0
    version = subprocess.run(
        [told.prometheus, "--version"], capture_output=True, text=True, check=True
    )
    made = cases(told.cases)
    server = serve(page(made))
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "prom.yml")
        settings.write_text(
            "scrape_configs:\n- job_name: odd\n  scrape_interval: 1s\n  static_configs:\n"
            f"  - targets: ['127.0.0.1:{server.server_address[1]}']\n"
        )
        peer = subprocess.Popen(
            [
                *(told.prometheus, f"--config.file={settings}"),
                *(
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{told.port}",
                ),
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(told.port, len(made))
            same, differing = compare(told.port, made)
        finally:
            peer.terminate()
            peer.wait()
            server.shutdown()
    print((version.stdout or version.stderr).splitlines()[0])
    print(f"{same} of {same + len(differing)} answers are the same number")
    print("\n".join(differing[:5]))
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
