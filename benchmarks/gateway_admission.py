"""Rules of admission in the simulated trial: Retry-After, two classes, early rejection.

    SERVESCOPE_DATA=folder python benchmarks/gateway_admission.py
    python benchmarks/gateway_admission.py retry classes --seeds 5 --first 201 --write

Lengths are of Azure's 2023 conversations where the folder has `azure_llm_2023/`, else log-normal
like them. The gate, its rules and Retry-After are those that serve; replicas are the fine
simulator's; time is virtual, so every figure is the same on every machine. `--write` puts the
tables into docs/admission.md. Two minutes on one core for one seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import gateway_classes
import gateway_early
import gateway_retry
import gateway_swing
from gateway_requests import azure

DOCS = Path(__file__).parent.parent / "docs/admission.md"
TABLES: dict[str, Callable[[Sequence[int]], str]] = {
    "retry": gateway_retry.table,
    "classes": gateway_classes.table,
    "early": gateway_early.table,
    "swing": gateway_swing.table,
}


def write(name: str, table: str) -> None:
    """Between the markers of the page."""
    start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = DOCS.read_text(encoding="utf-8")
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{DOCS} has no markers {start} and {end}")
    DOCS.write_text(f"{before}{start}\n\n{table}\n\n{end}{after}", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", help=", ".join(TABLES))
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--first", type=int, default=1, help="of the seeds")
    parser.add_argument("--write", action="store_true", help="into docs/admission.md")
    options = parser.parse_args(argv)
    print(f"lengths: {azure() or 'log-normal, as SERVESCOPE_DATA has no azure_llm_2023'}\n")
    for name in options.parts or TABLES:
        table = TABLES[name](range(options.first, options.first + options.seeds))
        print(f"{name}\n\n{table}\n", flush=True)
        if options.write:
            write(name, table)


if __name__ == "__main__":
    main()
