"""Reads cold starts in the schema of Huawei's public trace of 2025 (`day`, `time`, `podID`, ...).

Source of the schema: sir-lab/data-release, "Huawei Public Cloud Trace 2025" (EuroSys 2025). Times
are seconds since the first day; they are kept from 1970-01-01, as relative clocks are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from predictors.base import AT, OUTCOME
from predictors.cold_start.history import with_history
from predictors.cold_start.spec import INSTANCE, MODEL
from store.errors import InputError

PHASES = {
    "podAllocationCost": "allocate_seconds",
    "deployCodeCost": "code_seconds",
    "deployDependencyCost": "dependency_seconds",
    "schedulingCost": "schedule_seconds",
}
TOTAL = "totalCost_cold_start"
# One release of the files names the total without the log it comes from.
_TOTALS = (TOTAL, "totalCost")
_NEEDED = ("time", "funcName", "userID", "podID", *PHASES)
_POOL = r"^(pool\d+-(\d+)-(\d+))"


def starts(paths: Iterable[Path]) -> pl.DataFrame:
    """Cold starts of some files, by time.

    Args:
        paths: CSV files (`.csv` or `.csv.gz`).

    Returns:
        `at`, `outcome` (s, all phases), the columns of `PHASES` (s), `model` (function of a user in
        a pool, the source's own identity), `instance` (pod), `cluster`, `request_id`, `pool`,
        `cpu_millicores`, `memory_bytes`. Rows without a time or a total are left out.

    Raises:
        InputError: no file, or one without the columns of the schema.
    """
    parts = [_read(path) for path in paths]
    if not parts:
        raise InputError("no file of cold starts was named", hint="hand over R1.csv or the like")
    return pl.concat(parts).sort(AT, maintain_order=True)


def is_cold_starts(header: str) -> bool:
    """Whether the first line of a file is that of the schema."""
    names = {name.strip().strip('"') for name in header.split(",")}
    return set(_NEEDED) <= names and bool(names & set(_TOTALS))


def _read(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"no cold starts can be read: {why}", where=str(path)) from error
    if not is_cold_starts(",".join(frame.columns)):
        missing = sorted(set(_NEEDED) - set(frame.columns)) or [TOTAL]
        raise InputError(
            f"the columns {', '.join(missing)} are missing",
            where=str(path),
            hint=f"expected {', '.join((*_NEEDED, TOTAL))}",
        )
    total = next(name for name in _TOTALS if name in frame.columns)
    return _rows(frame, total).drop_nulls([AT, OUTCOME])


def _rows(frame: pl.DataFrame, total: str) -> pl.DataFrame:
    def number(name: str) -> pl.Expr:
        read = pl.col(name).cast(pl.Float64, strict=False)
        return pl.when(read.is_finite() & (read >= 0)).then(read)

    def optional(name: str) -> pl.Expr:
        return pl.col(name) if name in frame.columns else pl.lit(None, pl.String)

    pool = pl.col("podID").str.extract(_POOL, 1)
    return frame.select(
        pl.from_epoch((number("time") * 1e6).cast(pl.Int64), "us").alias(AT),
        number(total).alias(OUTCOME),
        *(number(source).alias(name) for source, name in PHASES.items()),
        pl.concat_str("funcName", "userID", pool, separator="---", ignore_nulls=True).alias(MODEL),
        pl.col("podID").alias(INSTANCE),
        optional("clusterName").alias("cluster"),
        optional("requestID").alias("request_id"),
        pool.alias("pool"),
        pl.col("podID").str.extract(_POOL, 2).cast(pl.Float64).alias("cpu_millicores"),
        (pl.col("podID").str.extract(_POOL, 3).cast(pl.Float64) * 2**20).alias("memory_bytes"),
    )


def training_rows(found: pl.DataFrame, most_rows: int = 100_000) -> pl.DataFrame:
    """Starts with their history, for `servescope train cold-start --rows`.

    Args:
        found: what `starts` gave.
        most_rows: of whole functions, in the order of their hash: a history cannot be thinned.
    """
    functions = found.group_by(MODEL).len().with_columns(pl.col(MODEL).hash(7).alias("place"))
    kept = functions.sort("place").filter(pl.col("len").cum_sum() <= most_rows)
    return with_history(found.filter(pl.col(MODEL).is_in(kept[MODEL].implode())), key=MODEL)


def main(arguments: Sequence[str]) -> int:
    """`python -m predictors.cold_start.huawei ROWS.parquet R1.csv ...` writes training rows."""
    if len(arguments) < 2:
        raise InputError("name the file to write and the files to read", hint=main.__doc__ or "")
    target, *sources = (Path(name) for name in arguments)
    training_rows(starts(sources)).write_parquet(target)
    return 0


if __name__ == "__main__":
    main(sys.argv[1:])
