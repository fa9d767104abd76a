"""Where measured blocks lie, and how they are handed out.

A folder with `session.json` (the host, and what it does not have) and `blocks/`: rows as Parquet,
then records as JSON. A block without its JSON was cut short and is measured anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from store.errors import ConfigError, InputError

SESSION, BLOCKS, SCRATCH, LOCK = "session.json", "blocks", "scratch", "lock"
METRIC_PREFIXES = ("self.", "neighbour.", "host.", "probe.", "load.")


@dataclass(frozen=True, slots=True)
class Folder:
    """A laboratory's folder.

    Attributes:
        path: where it is.
    """

    path: Path

    @property
    def blocks(self) -> Path:
        """Where blocks lie."""
        return self.path / BLOCKS

    @property
    def scratch(self) -> Path:
        """For files of programs while they run."""
        return self.path / SCRATCH

    def open(self, now: datetime) -> dict[str, Any]:
        """Make it, or go on with it; gives the session.

        Raises:
            ConfigError: it cannot be written.
        """
        try:
            self.blocks.mkdir(parents=True, exist_ok=True)
            if not (self.path / SESSION).exists():
                self._write(self.path / SESSION, {**_host(), "began_at": now.isoformat()})
        except OSError as error:
            raise ConfigError(
                f"cannot be written: {error.strerror}", where=str(self.path)
            ) from error
        return self.session()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep others out while blocks are measured.

        Raises:
            ConfigError: another laboratory works in it.
        """
        with (self.path / LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    "another laboratory works here",
                    where=str(self.path),
                    hint="two would be each other's noise: wait for it",
                ) from error
            shutil.rmtree(self.scratch, ignore_errors=True)  # of one that was killed
            yield

    def session(self) -> dict[str, Any]:
        """The host, and what it does not have.

        Raises:
            InputError: no laboratory was here.
        """
        file = self.path / SESSION
        if not file.exists():
            raise InputError(
                "nothing was measured here",
                where=str(self.path),
                hint="servescope lab run --minutes 10",
            )
        told: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return told

    def note(self, **told: Any) -> None:
        """Add to the session."""
        self._write(self.path / SESSION, {**self.session(), **told})

    def add(self, number: int, rows: pl.DataFrame, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep a block; it counts from the moment its records are there."""
        if rows.height:
            part = self.blocks / f"{number:05d}.parquet.part"
            rows.write_parquet(part)
            part.replace(self.blocks / f"{number:05d}.parquet")
        self._write(self.blocks / f"{number:05d}.json", {"runs": list(records)})

    def records(self) -> list[dict[str, Any]]:
        """Every run so far, noisy ones too, in order."""
        found: list[dict[str, Any]] = []
        for file in sorted(self.blocks.glob("*.json")):
            found += json.loads(file.read_text("utf-8"))["runs"]
        return found

    def next_number(self) -> int:
        """Of the next block."""
        return max((int(file.stem) for file in self.blocks.glob("*.json")), default=0) + 1

    def rows(self, *, noisy: bool = False) -> pl.DataFrame:
        """All rows, in order.

        Args:
            noisy: keep those whose `noise` says why they cannot be trusted.

        Raises:
            InputError: there are none.
        """
        kept = [file.with_suffix(".parquet") for file in sorted(self.blocks.glob("*.json"))]
        frames = [pl.read_parquet(file) for file in kept if file.exists()]
        rows = pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()
        if rows.height and not noisy:
            rows = rows.filter(pl.col("noise") == "")
        if not rows.height:
            raise InputError(
                "no row can be trusted" if frames else "nothing was measured here",
                where=str(self.path),
                hint="servescope lab report says why; --noisy takes them all the same"
                if frames
                else "servescope lab run --minutes 10",
            )
        host = str(self.session()["session_id"])
        # Half the bytes, and still a hundred times finer than what is measured.
        single = pl.col(metrics(rows)).cast(pl.Float32)
        return rows.with_columns(single, pl.lit(host).alias("session_id"))

    def megabytes(self) -> float:
        """What the rows take."""
        return sum(file.stat().st_size for file in self.blocks.iterdir()) / 1e6

    @staticmethod
    def _write(file: Path, told: Mapping[str, Any]) -> None:
        part = file.with_name(file.name + ".part")
        part.write_text(json.dumps(told, indent=1), "utf-8")
        part.replace(file)


def metrics(rows: pl.DataFrame) -> list[str]:
    """Columns that a model may look at."""
    return [name for name in rows.columns if name.startswith(METRIC_PREFIXES)]


def _host() -> dict[str, Any]:
    return {
        "session_id": uuid.uuid4().hex[:12],
        "machine": platform.machine(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return None
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None)
