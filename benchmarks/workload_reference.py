"""Workload statistics against published reference values, and our fits beside scipy's.

Every file is imported as a user would, and every number is read from the workload views. A cell
passes when it lies within 1 % of a value that prints as the reference (references are rounded).

    python benchmarks/workload_reference.py                       # the packaged Azure 2023 traces
    python benchmarks/workload_reference.py conversation_trace.jsonl.gz
    SERVESCOPE_DATA=folder python benchmarks/workload_reference.py    # also Mooncake and ServeGen

Two definitions of the index of dispersion are in use. The published 1.4 / 4.0 / 20.6 and
13.2 / 71.3 / 160.5 count the part-filled last window as whole and divide by n; servescope drops
that window and divides by n - 1, which gives 1.4 / 3.9 / 16.4 and 13.2 / 71.9 / 166.9. Both are
computed and both are compared. A file without a reference is characterised and nothing more.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from analysis.workload import arrivals, gap_fits, gaps, report
from servescope.importing import Options, example_files, load_files, planned
from store.clock import WallClock
from store.database import Database
from store.queries import workload as queries
from store.queries.scope import Scope
from store.settings import StoreSettings

TOLERANCE = 0.01
FOREVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))

# (format, requests) -> cell -> reference as published; text, so that its rounding is known.
REFERENCES: Mapping[tuple[str, int], Mapping[str, str]] = {
    ("azure", 19_366): {
        "cv": "1.094", "gamma shape": ".871", "gamma KS": ".017", "weibull shape": ".922",
        "weibull KS": ".017", "published idc 1 s": "1.4", "published idc 10 s": "4.0",
        "published idc 60 s": "20.6", "idc 1 s": "1.4", "idc 60 s": "16", "input mean": "1154.7",
        "input p50": "1020", "input p99": "4142", "output mean": "211.1", "output p50": "129",
        "output p99": "601", "input lognormal KS": ".16", "input exponential KS": ".13",
        "output lognormal KS": ".18", "output exponential KS": ".16", "output/input": ".183",
        "rate per second": "5.53", "fits accepted": "3",
    },
    ("azure", 8_819): {
        "cv": "13.15", "gamma shape": ".231", "gamma KS": ".218", "weibull shape": ".419",
        "weibull KS": ".140", "published idc 1 s": "13.2", "published idc 10 s": "71.3",
        "published idc 60 s": "160.5", "idc 1 s": "13", "idc 60 s": "167", "input mean": "2047.8",
        "input p50": "1469", "input p99": "7436", "output mean": "27.9", "output p50": "13",
        "output p99": "251", "output/input": ".014", "rate per second": "2.57",
        "busiest second": "67", "largest gap s": "217", "fits accepted": "0",
    },
    ("mooncake", 12_031): {
        "published idc 1 s": "7.9", "published idc 10 s": "2.1", "published idc 60 s": "2.9",
        "input mean": "12035", "input p50": "6909", "input p99": "85400", "output mean": "342.6",
        "output p50": "350", "output p99": "1118", "block hits": ".366", "token hits": ".374",
        "unique blocks": "182790", "zero gaps": ".90199", "fits accepted": "0", "cv refused": "1",
    },
    ("mooncake", 7_851): {
        "input mean": "12428", "input p50": "7284", "input p99": "89868", "output mean": "347",
        "output p50": "356", "output p99": "1168", "block hits": ".351", "distinct stamps": "800",
        "fits accepted": "0", "cv refused": "1",
    },
}  # fmt: skip
# Rate series: (clients) -> cell -> reference.
RATE_REFERENCES: Mapping[int, Mapping[str, str]] = {
    43: {"top 1 share": ".30", "top 10 share": ".93", "weighted cv": "3.6"},
    162: {"top 1 share": ".14", "top 10 share": ".66"},
    35: {"top 1 share": ".14", "top 10 share": ".83"},
}


def files(folder: Path) -> Iterator[list[Path]]:
    """Loads, each a list of files: those named, else the packaged ones and what the data has."""
    if sys.argv[1:]:
        yield from ([Path(name)] for name in sys.argv[1:])
        return
    yield from ([path] for path in example_files())
    data = os.environ.get("SERVESCOPE_DATA")
    if data:
        yield [Path(data, "mooncake", "conversation_trace.jsonl.gz")]
        for archive in sorted(Path(data, "servegen").glob("*.tar.gz")):
            target = folder / archive.name
            with tarfile.open(archive) as packed:
                packed.extractall(target, filter="data")
            yield sorted(target.rglob("*-trace.csv"))


def main() -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for load in files(Path(folder)):
            with Database.open(None, StoreSettings(), WallClock(), allow_files=True) as database:
                for done in load_files(database, planned(Options(tuple(load)))):
                    failed += check(database, done.source)
    print(f"{failed} cells failed" if failed else "every cell passed")
    return min(1, failed)


def check(database: Database, source: str) -> int:
    """Characterise one source, print its cells, and give how many failed."""
    source_id = dict(database.reader.frame("SELECT name, source_id FROM source").rows())[source]
    scope = Scope((source_id,), *FOREVER)
    begun = time.perf_counter()
    views = report.analyse(database.reader, scope)
    seconds = time.perf_counter() - begun
    row = queries.sources(database.reader, scope).row(0, named=True)
    held = queries.spans(database.reader, scope).row(0, named=True)
    print(f"\n{row['source']} ({row['format']}): characterised in {seconds:.2f} s")
    if held["rates"]:
        ours = rate_cells(views)
        reference = RATE_REFERENCES.get(round(ours["clients"]), {})
    else:
        stamps = queries.arrival_stamps(database.reader, scope, source_id)
        ours = cells(views)
        reference = REFERENCES.get((row["format"], held["requests"]), {})
        beside_scipy(arrivals.sorted_stamps(stamps))
    return compare(ours, reference)


def cells(views: Mapping[str, Any]) -> dict[str, float]:
    """Every cell we know, from the views."""
    arrival, burst, length = (
        views[f"workload_{name}"] for name in ("arrivals", "burstiness", "lengths")
    )
    source = arrival.frames["sources"].row(0, named=True)
    found = {
        "cv": source["interarrival_cv"],
        "cv refused": float(arrival.measures["interarrival_cv"].value is None),
        "rate per second": source["requests_per_second"],
        "largest gap s": source["largest_gap_seconds"],
        "zero gaps": source["zero_gap_ratio"],
        "distinct stamps": source["distinct_stamps"],
        "busiest second": arrival.measures["peak_1s"].value,
        "fits accepted": float(arrival.frames["fits"]["accepted"].sum()),
        "output/input": length.measures["output_to_input_ratio"].value,
        "block hits": views["workload_prefix"].measures["infinite_block_hit_ratio"].value,
        "token hits": views["workload_prefix"].measures["infinite_token_hit_ratio"].value,
        "unique blocks": views["workload_prefix"].measures["unique_blocks"].value,
    }
    for fit in arrival.frames["fits"].iter_rows(named=True):
        found |= {f"{fit['family']} shape": fit["shape"], f"{fit['family']} KS": fit["ks_distance"]}
    for window in burst.frames["dispersion"].iter_rows(named=True):
        name = f"idc {window['window_seconds']:g} s"
        found |= {name: window["index_of_dispersion"]}
        found |= {f"published {name}": window["index_with_last_window"]}
    for fit in length.frames["fits"].iter_rows(named=True):
        found[f"{fit['field'].split('_')[0]} {fit['family']} KS"] = fit["ks_distance"]
    for name, measure in length.measures.items():
        found[name.replace("_tokens_", " ")] = measure.value
    return {name: value for name, value in found.items() if value is not None}


def rate_cells(views: Mapping[str, Any]) -> dict[str, float]:
    """The cells of a source of rate series."""
    measures = views["workload_clients"].measures
    return {
        "clients": measures["clients"].value,
        "top 1 share": measures["top1_share_ratio"].value,
        "top 10 share": measures["top10_share_ratio"].value,
        "weighted cv": views["workload_arrivals"].measures["interarrival_cv"].value,
    }


def compare(ours: Mapping[str, float], reference: Mapping[str, str]) -> int:
    """Print a line a cell: ours, reference, relative difference, verdict."""
    if not reference:
        print("  no reference for this file; ours:")
        for name, value in ours.items():
            print(f"  {name:22} {value:>12.5g}")
        return 0
    failed = 0
    for name, text in reference.items():
        value, published = ours.get(name), float(text)
        digits = len(text.partition(".")[2])
        allowed = TOLERANCE * abs(published) + 0.5 * 10.0**-digits
        passed = value is not None and abs(value - published) <= allowed
        failed += not passed
        shown = "missing" if value is None else f"{value:.5g}"
        apart = "" if value is None or not published else f"{value / published - 1:+.2%}"
        print(f"  {name:22} {shown:>12} {text:>10} {apart:>8}  {'pass' if passed else 'FAIL'}")
    return failed


def beside_scipy(stamps: np.ndarray) -> None:
    """Our Gamma and Weibull fits and scipy's on the same gaps: values and seconds."""
    clock = gaps.check_clock(gaps.measure(stamps), stamps)
    apart = arrivals.gaps_seconds(stamps)
    begun = time.perf_counter()
    fits = {fit.family: fit for fit in gap_fits.fit_gaps(apart, clock)}
    seconds = time.perf_counter() - begun
    if clock.quantised:
        print(f"  fits refused: {clock.why}")
        return
    positive = apart[apart > 0]
    print(f"  three fits with KS and likelihood {seconds:.4f} s; scipy, parameters alone:")
    for family, peer in (("gamma", stats.gamma), ("weibull", stats.weibull_min)):
        begun = time.perf_counter()
        shape, _, scale = peer.fit(positive, floc=0)
        spent = time.perf_counter() - begun
        ours = fits[family]
        print(
            f"    {family:8} ours {ours.shape:.6f} {ours.scale_seconds:.6f}"
            f"  scipy {shape:.6f} {scale:.6f}  {spent:.4f} s"
        )


if __name__ == "__main__":
    sys.exit(main())
