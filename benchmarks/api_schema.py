"""The whole API against its own description, by schemathesis, on a real server with the example.

Every operation gets odd, missing and wrong values; a failure is a server error, or an answer that
its description does not have: status, type, schema, headers, methods, or bad input taken for good.

pip install schemathesis        (4.32; in an environment of its own, it is no dependency)
python benchmarks/api_schema.py [--schemathesis PATH] [--examples 60] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEFT_OUT = ("/api/v1/imports", "/api/v1/write")
"""Parquet and snappy are made by benchmarks/fuzz.py; schemathesis has no way to write them."""
CHECKS_LEFT_OUT = (
    # Many values are of a kind that a schema cannot say: names of targets, periods, SQL.
    "positive_data_acceptance",
    # Made for a server that asks who calls; benchmarks run one that does not.
    "ignored_auth",
)


@contextmanager
def server() -> Iterator[str]:
    """A server with the built-in example on a free port; gives its address."""
    with tempfile.TemporaryDirectory() as folder:
        home = {"XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder, "XDG_CACHE_HOME": folder}
        command = [sys.executable, "-m", "servescope", "demo", "--no-open", "--port", "0",
                   "--store", f"{folder}/demo.duckdb"]  # fmt: skip
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, env={**os.environ, **home}, stdout=out, stderr=out)
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            process.wait(30)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(600):
        found = re.search(r"(http://[\d.]+:\d+)/ui", log.read_text("utf-8", "replace"))
        if found is not None:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise SystemExit(f"the server did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")


def run(tool: str, url: str, examples: int, seed: int, report: Path) -> int:
    """Both ways of making cases, all checks; gives the exit status."""
    left_out = [part for path in LEFT_OUT for part in ("--exclude-path", path)]
    command = [
        tool, "run", f"{url}/api/v1/openapi.json", "--phases", "coverage,fuzzing,stateful",
        "-n", str(examples), "--seed", str(seed), "--continue-on-failure", "--no-shrink",
        "--exclude-checks", ",".join(CHECKS_LEFT_OUT), "--report", "json", "--report-json-path",
        str(report), "--warnings", "off", "--request-timeout", "60", *left_out,
    ]  # fmt: skip
    # In the report's folder: it leaves a folder of its own where it works.
    return subprocess.run(command, check=False, cwd=report.parent).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schemathesis", default="schemathesis", help="the command")
    parser.add_argument("--examples", type=int, default=60, help="for each operation")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if shutil.which(given.schemathesis) is None:
        print(f"{given.schemathesis} is not there: pip install schemathesis")
        return 2
    with server() as url, tempfile.TemporaryDirectory() as folder:
        described = json.load(urllib.request.urlopen(f"{url}/api/v1/openapi.json"))  # noqa: S310
        paths = described["paths"]
        operations = sum(len(told) for told in paths.values())
        left_out = sum(len(paths[path]) for path in LEFT_OUT)
        began = time.perf_counter()
        code = run(
            shutil.which(given.schemathesis) or given.schemathesis,
            url,
            given.examples,
            given.seed,
            Path(folder) / "report",
        )
        seconds = time.perf_counter() - began
        health = json.load(urllib.request.urlopen(f"{url}/api/v1/health"))  # noqa: S310
    print(f"{operations} operations described, {left_out} left out, {seconds:.0f} s, "
          f"server {health['status']} afterwards, exit {code}")  # fmt: skip
    return code


if __name__ == "__main__":
    sys.exit(main())
