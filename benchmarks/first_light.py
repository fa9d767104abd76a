"""From nothing to a finding and a drawn page, as a new user meets it.

demo     seconds from the command to the first printed finding (limit 15 s), the environment
         being there; peer in the same run: `python -c pass`, what starting Python alone costs
page     each page in Chromium with an empty cache: seconds until it is drawn (limit 3 s) and
         bytes over the wire (limit 1.2 MB); peer: the same page with a warm cache
import   `servescope import` and `servescope analyze` of the real Azure conversation trace
         repeated with a shifted clock (labelled as such): seconds of both (limit 60 s) and the
         larger peak resident size (limit 2 GiB)

python benchmarks/first_light.py [--rows 10000000] [--parts help,demo,page,import]
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from all_pages import addresses
from import_speed import PACKAGED, build

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
COMMAND = [sys.executable, "-m", "servescope"]


def verdict(ok: bool) -> str:
    return "reached" if ok else "MISSED "


@contextmanager
def demo(folder: Path):
    """A running demo: its URL and the seconds until its first finding was printed."""
    command = [*COMMAND, "demo", "--no-open", "--port", "0", "--store", str(folder / "demo.duckdb")]
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    first = url = None
    try:
        for line in process.stdout:
            if line.startswith("Found") and first is None:
                first = time.monotonic() - started
            found = re.search(r"http://[\d.:]+/ui/", line)
            if found:
                url = found[0].removesuffix("/ui/")
                break
        yield url, first
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def clocked(command: list[str]) -> float:
    """Median seconds of five runs."""
    runs = []
    for _ in range(5):
        started = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        runs.append(time.monotonic() - started)
    return statistics.median(runs)


def measure_help() -> None:
    seconds, bare = clocked([*COMMAND, "--help"]), clocked([sys.executable, "-c", "pass"])
    print(
        f"{verdict(seconds <= 0.4)} help: {seconds:.3f} s (limit 0.4 s), bare Python {bare:.3f} s"
    )


def measure_demo(folder: Path) -> None:
    runs, bare = [], []
    for number in range(3):
        place = folder / f"demo{number}"
        place.mkdir()
        with demo(place) as (_, seconds):
            runs.append(seconds)
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        bare.append(time.monotonic() - started)
    median = statistics.median(runs)
    print(f"{verdict(median <= 15)} demo: first finding after {median:.2f} s (limit 15 s), "
          f"bare Python {statistics.median(bare):.2f} s")  # fmt: skip


def measure_pages(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("SERVESCOPE_CHROMIUM") or shutil.which("chromium")
    place = folder / "pages"
    place.mkdir()
    with demo(place) as (url, _), sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=path, args=list(FLAGS))
        for page in addresses():
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            cold, wire = draw(context, url + page)
            warm, warm_wire = draw(context, url + page)
            context.close()
            ok = cold <= 3 and wire <= 1_200_000
            print(f"{verdict(ok)} page {page:28} cold {cold:.2f} s, {wire / 1e6:.2f} MB (limits "
                  f"3 s, 1.2 MB); warm {warm:.2f} s, {warm_wire / 1e3:.0f} kB")  # fmt: skip
        browser.close()


def draw(context, url: str) -> tuple[float, int]:
    """Seconds until nothing loads any more and the cards are drawn; bytes received."""
    page = context.new_page()
    client = context.new_cdp_session(page)
    client.send("Network.enable")
    received: list[int] = []
    client.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    started = time.monotonic()
    page.goto(url)
    # Some pages have no picture for this data: every panel has said what it has to say. The
    # security policy lets no string be run as code, so that only selectors wait.
    page.wait_for_selector(".ss-panel > *, .ss-empty", state="attached", timeout=20_000)
    page.wait_for_selector(".ss-waiting", state="detached", timeout=20_000)
    for graph in page.locator(".ss-graph").all():
        graph.locator(".main-svg").first.wait_for(timeout=20_000)
    seconds = time.monotonic() - started
    page.wait_for_load_state("networkidle")
    page.close()
    return seconds, int(sum(received))


def measure_import(folder: Path, rows: int) -> None:
    trace = folder / "azure_conv_repeated.csv"
    build(PACKAGED, rows, trace)
    store = folder / "big.duckdb"
    steps = {
        "import": ["import", str(trace), "--name", "repeated", "--store", str(store)],
        "analyze": ["analyze", "repeated", "--store", str(store), "--json"],
    }
    total = 0.0
    for name, arguments in steps.items():
        started = time.monotonic()
        out = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
        seconds = time.monotonic() - started
        total += seconds
        if out.returncode:
            sys.exit(out.stdout + out.stderr)
        print(f"        {name}: {seconds:.2f} s, exit {out.returncode}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"{verdict(total <= 60 and peak <= 2 << 30)} import and characterise {rows:,} rows: "
          f"{total:.1f} s (limit 60 s), peak resident of any child {peak / 2**30:.2f} GiB "
          "(limit 2 GiB)")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--parts", default="help,demo,import,page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="servescope-first-") as place:
        folder = Path(place)
        parts = options.parts.split(",")
        if "help" in parts:
            measure_help()
        if "demo" in parts:
            measure_demo(folder)
        if "import" in parts:
            measure_import(folder, options.rows)
        if "page" in parts:
            measure_pages(folder)


if __name__ == "__main__":
    main()
