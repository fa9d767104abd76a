"""Run the benchmarks one after the other. Each prints its peer or its limit beside its figure.

python benchmarks/run.py               the quick set, about five minutes
python benchmarks/run.py --full        the figures of docs/performance.md, about forty minutes
python benchmarks/run.py --only import_speed,kill_nine
python benchmarks/run.py --cache DIR   keep the large store between runs
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# name -> (quick arguments, full arguments); "{cache}" is a folder that may be kept
BENCHMARKS: dict[str, tuple[list[str], list[str]]] = {
    "workload_reference": ([], []),
    "exposition_speed": ([], []),
    "import_speed": (["--rows", "2000000"], ["--rows", "10000000"]),
    "first_light": (["--rows", "2000000"], ["--rows", "10000000"]),
    "page_quality": (["--parts", "axe,weight"], []),
    "live_scrape": (["--targets", "20", "--seconds", "15"], ["--targets", "200"]),
    "trust_cost": (["--scrapes", "1000"], []),
    "attainment_intervals": (["--seeds", "1"], []),
    "quantile_parity": ([], []),
    "sample_panel": (["--rounds", "10"], []),
    "otlp_ingest": (["--spans", "60000"], []),
    "agent": (["--seconds", "20"], []),
    "agent_faults": (["--rounds", "1", "--away", "5"], ["--rounds", "5"]),
    "remote_write": (["--instances", "50", "--rounds", "5"], []),
    "paging": (["--seeds", "3", "--days", "10"], []),
    "control_step": (["--steps", "10"], ["--steps", "50"]),
    "gateway_latency": (["--rounds", "2", "--seconds", "3"], []),
    "gateway_streams": (["--streams", "500"], []),
    "gateway_faults": (["--rounds", "1", "--seconds", "3"], []),
    "gateway_pace": (["--no-write", "--seeds", "1"], ["--no-write"]),
    "load_generator": (["--seconds", "3"], []),
    "kill_nine": (["--rounds", "5"], ["--rounds", "50"]),
    "page_callback": (
        ["--cache", "{cache}", "--rows", "1000000", "--rounds", "5"],
        ["--cache", "{cache}", "--rounds", "20"],
    ),
    "weekly_report": (
        ["--cache", "{cache}", "--rows", "1000000"],
        ["--cache", "{cache}", "--form", "html,pdf"],
    ),
    "viewers": (
        ["--cache", "{cache}", "--rows", "1000000", "--seconds", "15"],
        ["--cache", "{cache}"],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default=",".join(BENCHMARKS))
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    failed = []
    with tempfile.TemporaryDirectory(prefix="servescope-bench-") as temporary:
        cache = str(options.cache or temporary)
        for name in options.only.split(","):
            arguments = BENCHMARKS[name][1 if options.full else 0]
            words = [word.format(cache=cache) for word in arguments]
            print(f"\n== {name} {' '.join(arguments)}", flush=True)
            command = [sys.executable, str(HERE / f"{name}.py"), *words]
            if subprocess.run(command, env=environment).returncode:
                failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
