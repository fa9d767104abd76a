"""Every page as tools judge it: axe in both themes, Lighthouse, bytes and seconds.

Starts `servescope demo` with an empty store (or takes `--url` of a running server) and goes over
all pages of the navigation, so that a new page is judged without being named here.

axe         serious or critical violations, light and dark (limit 0)
Lighthouse  desktop: accessibility (limit 0.97) and performance (limit 0.80); median of `--runs`
weight      compressed bytes with an empty cache (limit 1.2 MB), seconds until drawn, cold (limit
            3 s) and warm

Lighthouse comes from npm into `~/.cache/servescope/lighthouse` when it is not there; it needs
node 18.16 or later. Nothing of it is part of servescope.

    make page-quality
    python benchmarks/page_quality.py [--url URL] [--parts axe,lighthouse,weight] [--match slo]
    python benchmarks/page_quality.py --parts lighthouse    # each page, medians of three
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import axe_core_python
from all_pages import addresses
from first_light import FLAGS, demo, draw, verdict

LIGHTHOUSE = "lighthouse@12.8.2"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "servescope/lighthouse"
AXE = Path(axe_core_python.__file__).parent / "axe.min.js"
LIMITS = {"accessibility": 0.97, "performance": 0.80}
COLD_SECONDS, COLD_BYTES = 3.0, 1_200_000


def chromium_path() -> str:
    """Debian's Chromium, or the one the environment names."""
    return os.environ.get("SERVESCOPE_CHROMIUM") or shutil.which("chromium") or "chromium"


def lighthouse_path() -> Path:
    """The script of Lighthouse, installed from npm when it is not there."""
    script = CACHE / "node_modules/lighthouse/cli/index.js"
    if not script.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"# installing {LIGHTHOUSE} into {CACHE}", flush=True)
        command = ["npm", "install", "--prefix", str(CACHE), "--ignore-scripts", "--no-audit"]
        subprocess.run([*command, "--no-fund", "--loglevel=error", LIGHTHOUSE], check=True)
    return script


@contextmanager
def browser():
    """A Chromium driven by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        yield opened
        opened.close()


def axe(url: str, pages: list[str]) -> bool:
    """Serious and critical violations of each page in both themes."""
    good = True
    with browser() as opened:
        for theme in ("light", "dark"):
            context = opened.new_context(
                viewport={"width": 1440, "height": 900}, color_scheme=theme, bypass_csp=True
            )
            page = context.new_page()
            for address in pages:
                page.goto(url + address)
                page.wait_for_selector(".ss-panel > *, .ss-empty", state="attached")
                page.wait_for_selector(".ss-waiting", state="detached")
                page.wait_for_load_state("networkidle")
                page.add_script_tag(path=str(AXE))
                found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
                bad = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
                good &= not bad
                words = ", ".join(f"{v['id']} x {len(v['nodes'])}" for v in bad) or "none"
                print(f"{verdict(not bad)} axe {theme:5} {address:28} {words}", flush=True)
            context.close()
    return good


PARTS = {
    "largest-contentful-paint": "LCP ms", "total-blocking-time": "TBT ms",
    "cumulative-layout-shift": "CLS", "speed-index": "SI ms",
}  # fmt: skip
"""What a score of performance is made of."""


def judged(script: Path, url: str, folder: Path) -> dict[str, float]:
    """Scores of one page, 0 to 1."""
    out = folder / "lighthouse.json"
    command = ["node", str(script), url, "--preset=desktop", "--quiet", "--output=json"]
    command += [f"--output-path={out}", f"--only-categories={','.join(LIMITS)}"]
    command += ["--chrome-flags=--headless=new --no-sandbox --disable-gpu"]
    environment = {**os.environ, "CHROME_PATH": chromium_path()}
    # Now and then Lighthouse loses the start of a page (NO_NAVSTART) and asks to be run again.
    for _ in range(3):
        out.unlink(missing_ok=True)
        done = subprocess.run(command, check=False, env=environment).returncode == 0
        told = json.loads(out.read_text()) if done and out.is_file() else {}
        if told and all(told["categories"][name]["score"] is not None for name in LIMITS):
            break
    else:
        sys.exit(f"Lighthouse lost {url} three times: is the machine busy?")
    scores = {name: float(told["categories"][name]["score"]) for name in LIMITS}
    return scores | {name: float(told["audits"][name]["numericValue"]) for name in PARTS}


def lighthouse(url: str, pages: list[str], runs: int) -> bool:
    """Median scores of each page."""
    script, good = lighthouse_path(), True
    with tempfile.TemporaryDirectory() as place:
        for address in pages:
            scores = [judged(script, url + address, Path(place)) for _ in range(runs)]
            parts = []
            for name, limit in LIMITS.items():
                score = statistics.median(one[name] for one in scores)
                good &= score >= limit
                parts.append(f"{verdict(score >= limit)} {name} {score:.2f} (limit {limit})")
            for name, short in PARTS.items():
                parts.append(f"{short} {statistics.median(one[name] for one in scores):.4g}")
            print(f"lighthouse {address:28} {'; '.join(parts)}", flush=True)
    return good


def weight(url: str, pages: list[str]) -> bool:
    """Bytes and seconds of each page."""
    good = True
    with browser() as opened:
        for address in pages:
            context = opened.new_context(viewport={"width": 1440, "height": 900})
            cold, wire = draw(context, url + address)
            warm, warm_wire = draw(context, url + address)
            context.close()
            ok = cold <= COLD_SECONDS and wire <= COLD_BYTES
            good &= ok
            print(
                f"{verdict(ok)} weight {address:28} cold {cold:.2f} s, {wire / 1e6:.2f} MB; "
                f"warm {warm:.2f} s, {warm_wire / 1e3:.0f} kB",
                flush=True,
            )
    return good


def measure(url: str, given: argparse.Namespace) -> bool:
    """All parts that were asked for."""
    wanted = given.match.split(",")
    pages = [one for one in addresses() if any(part in one for part in wanted)]
    good = True
    for part in given.parts.split(","):
        if part == "axe":
            good &= axe(url, pages)
        elif part == "lighthouse":
            good &= lighthouse(url, pages, given.runs)
        elif part == "weight":
            good &= weight(url, pages)
        else:
            sys.exit(f"there is no part '{part}': axe, lighthouse, weight")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="", help="a running server, instead of the demo")
    parser.add_argument("--parts", default="axe,weight,lighthouse")
    parser.add_argument(
        "--match", default="", help="only addresses that hold one of these, with commas between"
    )
    parser.add_argument("--runs", type=int, default=3, help="of Lighthouse, of which the median")
    given = parser.parse_args()
    if given.url:
        sys.exit(0 if measure(given.url, given) else 1)
    with tempfile.TemporaryDirectory() as place, demo(Path(place)) as (url, _):
        good = measure(url, given)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
