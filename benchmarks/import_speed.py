"""How fast a trace is imported, beside DuckDB's own COPY of the same file in the same run.

The file is the real Azure 2023 conversation trace repeated with a shifted clock until it has the
rows asked for. Three rounds, alternating, every load in a process and a store of its own:

    copy bare   COPY into a table of just the three columns
    copy wide   COPY of the three columns into the shape of the `request` table
    import      servescope's import: keys, checks, labels, source, import record

Limit to reach: import at least half as fast as `copy wide`, at most 2 GiB resident.

    python benchmarks/import_speed.py --rows 10000000
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import polars as pl

PACKAGED = Path(__file__).parents[1] / "servescope/data/AzureLLMInferenceTrace_conv.csv.gz"
VARIANTS = ("copy bare", "copy wide", "import")
ROUNDS = 3


def build(trace: Path, rows: int, target: Path) -> None:
    """Write the trace again and again, each time later by its own length."""
    one = pl.read_csv(trace.read_bytes()).with_columns(
        pl.col("TIMESTAMP").str.slice(0, 26).str.to_datetime(time_unit="us")
    )
    span = one["TIMESTAMP"].max() - one["TIMESTAMP"].min() + timedelta(milliseconds=200)
    with target.open("wb") as file:
        file.write(b"TIMESTAMP,ContextTokens,GeneratedTokens\n")
        for repeat in range(-(-rows // one.height)):
            left = min(one.height, rows - repeat * one.height)
            shifted = one.head(left).with_columns(
                (pl.col("TIMESTAMP") + span * repeat).dt.strftime("%Y-%m-%d %H:%M:%S%.6f0")
            )
            shifted.write_csv(file, include_header=False)


def run_one(variant: str, trace: Path, folder: Path) -> str:
    """One load in this process: wall seconds, processor seconds, peak resident bytes, rows."""
    from store.clock import WallClock
    from store.database import Database
    from store.settings import StoreSettings

    with Database.open(
        folder / "store.duckdb", StoreSettings(), WallClock(), allow_files=True
    ) as db:
        if variant == "import":
            from collector.traces.plan import plan
            from store.bulk import load

            started, busy = time.monotonic(), time.process_time()
            rows = sum(load(db.writer, spec).rows_added for spec in plan([trace]))
        else:
            columns = "arrived_at, input_tokens, output_tokens"
            source = columns if variant == "copy bare" else "*"
            db.writer.run(
                lambda c: c.execute(f"CREATE TABLE copied AS SELECT {source} FROM request LIMIT 0")
            ).result()
            started, busy = time.monotonic(), time.process_time()
            statement = f"COPY copied ({columns}) FROM '{trace}' (FORMAT csv, HEADER)"
            rows = db.writer.run(lambda c: c.execute(statement).fetchall()[0][0]).result()
        seconds = time.monotonic() - started
        processor = time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"{seconds} {processor} {peak} {rows}"


def measure(trace: Path, folder: Path) -> dict[str, list[tuple[float, ...]]]:
    """Every variant in turn, `ROUNDS` times."""
    results: dict[str, list[tuple[float, ...]]] = {variant: [] for variant in VARIANTS}
    for _ in range(ROUNDS):
        for variant in VARIANTS:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                command = [sys.executable, __file__, "--one", variant, str(trace), place]
                root = str(Path(__file__).parents[1])
                out = subprocess.run(
                    command, capture_output=True, text=True, check=True,
                    env={**os.environ, "PYTHONPATH": root},
                ).stdout.split()  # fmt: skip
            results[variant].append(tuple(map(float, out)))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--trace", type=Path, default=PACKAGED)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        variant, trace, place = options.one
        print(run_one(variant, Path(trace), Path(place)))
        return
    with tempfile.TemporaryDirectory(prefix="servescope-import-") as place:
        trace = Path(place) / "azure_conv_repeated.csv"
        build(options.trace, options.rows, trace)
        print(
            f"{options.rows:,} rows, {trace.stat().st_size / 1e6:,.0f} MB: "
            f"{options.trace.name} repeated with shifted clock; {os.cpu_count()} cores"
        )
        results = measure(trace, Path(place))
    peer = statistics.median(r[0] for r in results["copy wide"])
    for variant, runs in results.items():
        seconds = statistics.median(r[0] for r in runs)
        processor = statistics.median(r[1] for r in runs)
        print(
            f"{variant:10} {seconds:7.2f} s  {runs[0][3] / seconds / 1e6:6.2f} M rows/s  "
            f"{peer / seconds:6.0%} of copy wide  processor {processor:.2f} s  "
            f"peak {max(r[2] for r in runs) / 2**20:,.0f} MiB  "
            f"(all: {', '.join(f'{r[0]:.2f}' for r in runs)})"
        )
    # The limit is half of the peer's speed.
    ours = statistics.median(r[0] for r in results["import"])
    bare = statistics.median(r[0] for r in results["copy bare"])
    print(
        "reached" if peer / ours >= 0.5 else "MISSED",
        f"limit: 50 % of copy wide (import: {peer / ours:.0%} of wide, {bare / ours:.0%} of bare)",
    )


if __name__ == "__main__":
    main()
