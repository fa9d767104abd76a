"""What the store itself can do, each beside DuckDB doing the same without us, in the same run.

append          rows/s through the writer, batch by batch, each one durable before the next
append many     the same with 64 batches under way, which the writer commits together
roll-up         requests/s counted into ten-minute and hourly bins (beside: one bare GROUP BY)
export          requests/s into our Parquet (beside: DuckDB's COPY of the same columns)
retention       rows/s deleted in portions (beside: one bare DELETE)

python benchmarks/store_limits.py [--rows 500000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from store import export, retention, rollup
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=400)
BARE = "SELECT * FROM incoming"


def rows(n: int, first: int = 0) -> pl.DataFrame:
    """Requests a tenth of a second apart, labels of eight tenants and two models."""
    number = pl.int_range(first, first + n, eager=True)
    return pl.DataFrame({"number": number}).select(
        request_id=pl.col("number").cast(pl.String),
        arrived_at=pl.lit(START.replace(tzinfo=None))
        + pl.duration(milliseconds=pl.col("number") * 100),
        status=pl.lit("ok"),
        tenant=pl.format("tenant-{}", pl.col("number") % 8),
        model=pl.format("model-{}", pl.col("number") % 2),
        input_tokens=(pl.col("number") * 7919 % 4000).cast(pl.Int32),
        output_tokens=(pl.col("number") * 104_729 % 700).cast(pl.Int32),
        ttft_seconds=0.05 + (pl.col("number") * 31 % 997) / 1000,
        e2e_seconds=0.5 + (pl.col("number") * 37 % 9973) / 1000,
    )


@contextmanager
def opened(files: bool = False) -> Iterator[Database]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.duckdb"
        with Database.open(path, StoreSettings(), WallClock(), allow_files=files) as database:
            yield database


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def line(name: str, count: int, seconds: float, bare: float | None) -> None:
    beside = f"bare {count / bare:12,.0f} rows/s  ratio {bare / seconds:.2f}" if bare else ""
    print(f"{name:28} {count:9,} rows {count / seconds:12,.0f} rows/s  {beside}", flush=True)


def appends(total: int) -> None:
    for size in (1, 200, 10_000):
        frames = [rows(size, first) for first in range(0, min(total, size * 100), size)]
        count = size * len(frames)
        with opened() as database:
            writer = database.writer
            one = timed(lambda w=writer, f=frames: [w.append("request", x).result() for x in f])
        with opened() as database:
            bare = timed(lambda d=database, f=frames: _bare_inserts(d, f))
        line(f"append, batches of {size}", count, one, bare)
    frames = [rows(200, first) for first in range(0, min(total, 200 * 640), 200)]
    with opened() as database:
        many = timed(lambda: _many(database, frames))
    line("append many, 64 under way", 200 * len(frames), many, None)


def _many(database: Database, frames: list[pl.DataFrame]) -> None:
    waiting = []
    for frame in frames:
        waiting.append(database.writer.append("request", frame))
        if len(waiting) >= 64:
            waiting.pop(0).result()
    for future in waiting:
        future.result()


def _bare_inserts(database: Database, frames: list[pl.DataFrame]) -> None:
    """The same rows into a plain table: no identity, no labels, a commit a batch."""

    def insert(connection, frame):
        connection.register("incoming", frame.to_arrow())
        connection.execute(f"CREATE TABLE IF NOT EXISTS bare AS {BARE} LIMIT 0")
        connection.execute(f"INSERT INTO bare {BARE}")
        connection.unregister("incoming")

    for frame in frames:
        database.writer.run(lambda con, frame=frame: insert(con, frame)).result()


def bulk(total: int) -> None:
    with opened(files=True) as database:
        for first in range(0, total, 50_000):
            database.writer.append("request", rows(min(50_000, total - first), first)).result()
        retention.checkpoint(database.writer)
        writer, folder = database.writer, database.path.parent
        group = """SELECT time_bucket(INTERVAL 10 MINUTES, arrived_at), status,
          floor(log2(ttft_seconds) * 16), count(*), sum(ttft_seconds) FROM request GROUP BY ALL"""
        seconds = timed(lambda: rollup.refresh_due(writer, LATER, most_portions=10_000))
        line("roll-up, 7 quantities, twice", total, seconds, timed(lambda: _run(writer, group)))
        parts = timed(
            lambda: export.write_file(
                export.stream(database, None, "parquet"), folder / "x.parquet"
            )
        )
        copy = f"COPY (SELECT * FROM requests) TO '{folder}/y.parquet' (COMPRESSION zstd)"
        line("export", total, parts, timed(lambda: _run(writer, copy)))
        keep = StoreSettings(request_retention_days=1)
        seconds = timed(lambda: retention.delete_old(writer, keep, LATER))
    with opened() as database:
        _bare_inserts(database, [rows(total)])
        bare = timed(lambda: _run(database.writer, "DELETE FROM bare"))
    line("retention", total, seconds, bare)


def _run(writer, sql: str) -> None:
    writer.run(lambda connection: connection.execute(sql).fetchall()).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000)
    given = parser.parse_args()
    appends(given.rows)
    bulk(given.rows)


if __name__ == "__main__":
    main()
