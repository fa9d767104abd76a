"""How much of a damaged log is whole; found in a process of its own.

DuckDB reads a log up to a record that was cut short, and refuses one in which a record is wrong.
So the longest beginning that opens is all that can be had.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb

from store.database import open_to_look
from store.errors import StoreDamaged
from store.opening import wal_path
from store.settings import StoreSettings


def whole_bytes(alias: Path, log: Path) -> int:
    """Bytes of `log` that can be read with the file `alias`, which opens without a log.

    Raises:
        StoreDamaged: looking for them ended the process.
    """
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "store.log_cut", str(alias), str(log)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise StoreDamaged(
            f"reading the log ended the process (exit {done.returncode})", where=str(log),
            hint="move the log away to go on without it, or restore a backup",
        )  # fmt: skip
    return int(done.stdout)


def main(arguments: list[str]) -> None:
    """Find the length by halving and print it."""
    alias, log = Path(arguments[0]), Path(arguments[1]).read_bytes()
    low, high = 0, len(log)
    while high - low > 1:
        middle = (low + high) // 2
        wal_path(alias).write_bytes(log[:middle])
        low, high = (middle, high) if _opens(alias) else (low, middle)
    print(low)  # noqa: T201 - for our parent


def _opens(alias: Path) -> bool:
    try:
        open_to_look(alias, StoreSettings()).close()
    except duckdb.Error:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
