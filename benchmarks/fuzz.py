"""Hostile input for every reader of foreign bytes: no crash, no hang above 1 s, bounded memory.

An exception that the reader does not document is a crash; so is a difference to an oracle
(Prometheus' parser, Google's protobuf, h11) where there is one. Each target runs in a process of
its own, by atheris (coverage-guided, `pip install atheris`) where it is installed, else by a
mutator of our own, which gives the same inputs for the same seed.

python benchmarks/fuzz.py                                        all targets, 1,000,000 inputs
python benchmarks/fuzz.py --target slo --inputs 100000 --seed 3
python benchmarks/fuzz.py --target slo --input crash.bin          one input again
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fuzzing import names, runs
from fuzzing.watch import Watch, arm

SHARES = {
    "exposition": 0.25, "config": 0.15, "server": 0.1, "gateway-socket": 0.4, "traces": 0.5,
    "gzip": 0.5, "rows": 1.5, "spool": 2, "alerts": 2, "gateway-http": 2, "gateway-answers": 1.5,
    "gateway-bodies": 2,
}  # fmt: skip
"""Of the inputs when all run, beside 1 of the others: what is slow by nature gets fewer."""
LEAST_SECONDS = 3_600.0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="all", choices=("all", *names.NAMES))
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", default="auto", choices=("auto", "atheris", "mutator"))
    parser.add_argument("--input", type=Path, help="give this file to the target, once")
    parser.add_argument("--json", type=Path, help="where the result goes")
    parser.add_argument("--crashes", type=Path, help="folder for the inputs that failed")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def said(name: str, inputs: int) -> Any:
    def say(watch: Watch) -> None:
        step = max(inputs // 20 // 1_000, 1) * 1_000
        if watch.inputs % step == 0:
            print(f"  {name:16} {watch.inputs:9,} inputs  {len(watch.found)} failures", flush=True)

    return say


def engine_of(asked: str) -> str:
    if asked != "auto":
        return asked
    return "atheris" if importlib.util.find_spec("atheris") else "mutator"


def run_here(given: argparse.Namespace) -> None:
    """One target in this process; the result is a file."""
    say = said(given.target, given.inputs)
    logging.disable(logging.CRITICAL)  # a server writes a line for much of what it refuses
    if engine_of(given.engine) == "atheris":
        runs.guided(
            lambda: names.load(given.target), given.inputs, given.seed, say, given.child
        )  # fmt: skip
    runs.limit_memory()
    told = runs.plain(names.load(given.target), given.inputs, given.seed, say)
    given.child.write_text(json.dumps(told), "utf-8")


def run_apart(given: argparse.Namespace, name: str, inputs: int) -> dict[str, Any]:
    """One target in a process of its own: a crash of the interpreter itself is found, too."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, __file__, "--target", name, "--inputs", str(inputs), "--seed",
                   str(given.seed), "--engine", given.engine, "--child", str(out)]  # fmt: skip
        log = Path(folder) / "log"
        with log.open("wb") as errors:
            ended = subprocess.run(command, check=False, timeout=LEAST_SECONDS, stderr=errors)
        if out.exists():
            told: dict[str, Any] = json.loads(out.read_text("utf-8"))
            return told
        text = log.read_text("utf-8", "replace")[-3_000:]
        failure = {"kind": "process", "where": f"exit {ended.returncode}", "text": text, "data": "",
                   "count": 1}  # fmt: skip
        return {"target": name, "engine": given.engine, "inputs": 0, "failures": [failure]}


def shown(told: dict[str, Any]) -> str:
    failures = told["failures"]
    if not told["inputs"]:
        return f"{told['target']:16} the process ended: {failures[0]['text'][-600:]}"
    grew = "-" if told["growth_ratio"] is None else f"{told['growth_ratio']:+.1%}"
    return (
        f"{told['target']:16} {told['inputs']:9,} {told['processor_seconds']:8.1f} s"
        f" {told['processor_microseconds_per_input']:9.1f} us"
        f"  slowest {told['longest_seconds']:.3f} s"
        f"  peak {told['peak_bytes'] >> 20:5,} MiB  grew {grew}"
        f"  {told['engine']}  failures {len(failures)}"
    )


def share(name: str, inputs: int) -> int:
    whole = sum(SHARES.get(one, 1.0) for one in names.NAMES)
    return max(int(inputs * SHARES.get(name, 1.0) / whole), 1)


def keep(folder: Path, told: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(told["failures"]):
        file = folder / f"{told['target']}-{number}"
        file.with_suffix(".bin").write_bytes(one["data"].encode("latin-1"))
        file.with_suffix(".txt").write_text(one["text"], "utf-8")


def main() -> int:
    given = parsed()
    if given.child:
        run_here(given)
        return 0
    if given.input:
        arm()
        with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
            take = names.load(given.target).made(Path(folder), ending)
            take(given.input.read_bytes())
        return 0
    chosen = names.NAMES if given.target == "all" else (given.target,)
    results = []
    for name in chosen:
        inputs = share(name, given.inputs) if given.target == "all" else given.inputs
        told = run_apart(given, name, inputs)
        results.append(told)
        print(shown(told), flush=True)
        for one in told["failures"]:
            print(f"    {one['count']} x {one['kind']} at {one['where']}: {one['data'][:120]!r}")
            print("      " + "\n      ".join(one["text"].splitlines()[-6:]))
        if given.crashes and told["failures"]:
            keep(given.crashes, told)
        if given.json:
            given.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    failures = sum(len(one["failures"]) for one in results)
    print(f"{sum(one['inputs'] for one in results):,} inputs, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
