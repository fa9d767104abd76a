"""What a bulk load is: rows of files as data, without a word about how they are executed.

A trace format (in `collector/traces`) describes itself as a `BulkLoad`; `store.bulk.load` runs it.
This file imports no database, so that the agent side stays light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Reader = Literal["csv", "jsonl", "parquet"]
SourceClock = Literal["utc", "local_unknown", "relative"]
Table = Literal["request", "client_rate"]

MAX_TOKENS = 100_000_000
"""Token counts above this are refused: no request has them, but a wrong column does."""
MAX_SPAN_YEARS = 50.0
"""A trace longer than this has the wrong time unit."""

LABELS = (
    *("tenant", "model", "route", "instance", "slo_class", "finish_reason"),
    "admission_reason",
)
GATEWAY_COLUMNS: Mapping[str, str] = {
    "attempt": "SMALLINT",
    "is_counted": "BOOLEAN",
    "tenant_weight": "DOUBLE",
    "policy_version": "INTEGER",
    "itl_p50_seconds": "DOUBLE",
    "itl_p95_seconds": "DOUBLE",
    "itl_p99_seconds": "DOUBLE",
    "itl_max_seconds": "DOUBLE",
    "retry_after_seconds": "DOUBLE",
}
"""Columns of `request` that a gateway fills, and their types."""


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """The source that a load fills.

    Attributes:
        name: unique in the store; loading again under the same name appends to it.
        format: trace format name.
        clock: "utc", "local_unknown" (wall clock of an unknown zone) or "relative" (from 0, kept
            from 1970-01-01).
        clock_resolution_seconds: what the format promises; None when it promises nothing. A coarser
            step found in the data replaces it.
        time_zone: IANA name or None.
        prefix_block_tokens: tokens in one prefix block, where the trace has block hashes.
        licence: SPDX name and whom to attribute, where known.
        details: anything else worth keeping, as JSON.
        kind: "trace", or "live" for a re-import of the live fleet's own rows.
        adopt: an existing source of this name keeps its own clock instead of being compared.
    """

    name: str
    format: str
    clock: SourceClock
    clock_resolution_seconds: float | None = None
    time_zone: str | None = None
    prefix_block_tokens: int | None = None
    licence: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    kind: Literal["trace", "live"] = "trace"
    adopt: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """A reason to refuse a row.

    Attributes:
        reason: one line for people.
        predicate: SQL over the stored columns; true marks a bad row.
    """

    reason: str
    predicate: str


@dataclass(frozen=True, slots=True)
class BulkLoad:
    """One load of one or more files into one source.

    Attributes:
        source: what they become.
        files: read in this order.
        reader: how their bytes become columns.
        columns: source column -> DuckDB type, in file order for CSV.
        select: stored column -> SQL over the source columns. `arrived_at` (or `window_start_at`)
            yields NULL where the value is no time.
        labels: label -> SQL over the source columns.
        constant_labels: label -> one value for all rows.
        status: SQL over the source columns giving ok, failed, refused or aborted.
        session: SQL giving the session's name, or None.
        blocks: SQL giving UBIGINT[] block hashes, or None.
        checks: what makes a row bad, besides values that do not fit their type.
        unnest: path of a list of rows inside each record (JSON only).
        whole: whether a file is one JSON document (or several), however it is broken into lines.
        where: SQL over the source columns: rows of this source.
        header: whether the first CSV line names the columns.
        skipped_lines: of a CSV file before that line: what was said about the file.
        delimiter: CSV separator.
        numeric_time_seconds: SQL of the time in seconds, for clocks given as numbers; lets mixed
            units be found.
        key: SQL of the row's identity where the file brings its own; None derives it from content.
        table: which table the rows belong to.
        units: what the columns mean, one line for people.
        notes: what else people should know, one line each.
        rejects_file: where refused rows go; None means beside the first file.
    """

    source: SourceSpec
    files: tuple[Path, ...]
    reader: Reader
    columns: Mapping[str, str]
    select: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    constant_labels: Mapping[str, str] = field(default_factory=dict)
    status: str = "'ok'"
    session: str | None = None
    blocks: str | None = None
    checks: tuple[Check, ...] = ()
    unnest: str | None = None
    whole: bool = False
    where: str | None = None
    header: bool = True
    skipped_lines: int = 0
    delimiter: str = ","
    numeric_time_seconds: str | None = None
    key: str | None = None
    table: Table = "request"
    units: str = ""
    notes: tuple[str, ...] = ()
    rejects_file: Path | None = None

    @property
    def time_column(self) -> str:
        """The stored column that orders the rows."""
        return "arrived_at" if self.table == "request" else "window_start_at"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What a load did.

    Attributes:
        source: name of the source.
        format: trace format name.
        clock: the source's clock.
        clock_resolution_seconds: step of the clock, found or promised; None when unknown.
        time_zone: of the stamps, None when unknown or relative.
        units: what the columns mean.
        files: file names.
        rows_read: rows in the files, bad ones included.
        rows_added: rows that are new in the store.
        rows_duplicate: rows that the store already had.
        rows_rejected: rows that were refused.
        rejects_file: where they are, with reasons.
        reasons: reason -> rows.
        seconds: wall time of the load.
        notes: quantisation, truncation and the like.
    """

    source: str
    format: str
    clock: str
    clock_resolution_seconds: float | None
    time_zone: str | None
    units: str
    files: tuple[str, ...]
    rows_read: int
    rows_added: int
    rows_duplicate: int
    rows_rejected: int
    rejects_file: str | None
    reasons: Mapping[str, int]
    seconds: float
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """What happened, one line each, for people."""
        lines = [
            f"{self.source}: {self.format} format, {self._clock_text()}; {self.units}",
            f"{self.rows_read:,} rows read in {self.seconds:.1f} s, {self._outcome()}",
        ]
        if self.rows_rejected:
            why = "; ".join(f"{count:,} x {reason}" for reason, count in self.reasons.items())
            lines.append(f"{self.rows_rejected:,} rejected: {why}; see {self.rejects_file}")
        return lines + list(self.notes)

    def _outcome(self) -> str:
        if self.rows_added == 0 and self.rows_duplicate:
            return "all of them were there already: nothing changed"
        already = f", {self.rows_duplicate:,} were there already" if self.rows_duplicate else ""
        return f"{self.rows_added:,} added{already}"

    def _clock_text(self) -> str:
        names = {
            "utc": "times in UTC",
            "local_unknown": "wall-clock times of an unknown zone",
            "relative": "times from the start of the trace",
        }
        step = self.clock_resolution_seconds
        return names[self.clock] + (f", step {seconds_text(step)}" if step else ", step unknown")


def seconds_text(seconds: float) -> str:
    """Seconds with the unit that reads best: "3 s", "1 ms", "1 us"."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 0.9995:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"
