"""The source that a bulk load fills: found or made, and what its clock turned out to be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import duckdb

from store.bulk_keys import TimeScan
from store.bulk_read import relation
from store.bulk_rejects import Reject, forget_scan
from store.bulk_spec import MAX_SPAN_YEARS, BulkLoad, SourceSpec, seconds_text
from store.errors import InputError

Connection = duckdb.DuckDBPyConnection

_YEAR_SECONDS = 365.25 * 86_400


def open_source(connection: Connection, spec: SourceSpec, now: datetime) -> tuple[int, bool]:
    """Find the source by name, or add it.

    Returns:
        Its number, and whether it has no requests yet.

    Raises:
        InputError: there is a source of this name with another clock or kind.
    """
    rows = connection.execute(
        "SELECT source_id, kind, clock FROM source WHERE name = $name", {"name": spec.name}
    ).fetchall()
    if not rows:
        return _add_source(connection, spec, now), True
    source_id, kind, clock = rows[0]
    if not spec.adopt and (kind, clock) != (spec.kind, spec.clock):
        raise InputError(
            f"the source '{spec.name}' exists already as {kind} with clock '{clock}'",
            hint="give these rows another name with --name",
        )
    held = connection.execute(
        "SELECT 1 FROM request WHERE source_id = $source LIMIT 1", {"source": source_id}
    ).fetchall()
    return int(source_id), not held


def settle_source(
    connection: Connection, spec: BulkLoad, scan: TimeScan, source_id: int
) -> tuple[float | None, tuple[str, ...]]:
    """Keep what the data say about the clock's step.

    Returns:
        The step in seconds (None when unknown), and notes for people.
    """
    found = scan.resolution_seconds
    promised = spec.source.clock_resolution_seconds
    steps = [step for step in (found, promised) if step is not None]
    step = max(steps, default=None) if spec.table == "request" else promised
    connection.execute(
        """UPDATE source SET clock_resolution_seconds = $step,
          prefix_block_tokens = coalesce($block, prefix_block_tokens) WHERE source_id = $source""",
        {"step": step, "block": spec.source.prefix_block_tokens, "source": source_id},
    )
    return step, _clock_notes(scan, step) if spec.table == "request" else ()


def refuse_bad_times(
    connection: Connection, spec: BulkLoad, scan: TimeScan, rejects: Sequence[Reject]
) -> None:
    """Refuse a file whose times cannot all be in the unit that was said.

    Raises:
        InputError: an absurd span, or a jump by a factor of a thousand.
    """
    years = scan.span_seconds / _YEAR_SECONDS
    hint = "say the unit with --map 'arrived_at=COLUMN:ms' (s, ms, us, ns)"
    if years > MAX_SPAN_YEARS:
        raise InputError(
            f"the times span {years:,.0f} years: the unit is wrong, or two units are mixed",
            where=str(spec.files[0]),
            hint=hint,
        )
    if spec.numeric_time_seconds and scan.factor_jump_row is not None:
        raise InputError(
            f"row {scan.factor_jump_row:,}: the time is 1000 times that of its neighbour: "
            "seconds and milliseconds are mixed in one column",
            where=str(spec.files[0]),
            hint="bring the column to one unit first",
        )
    if spec.numeric_time_seconds and any(r.reason == spec.checks[0].reason for r in rejects):
        _refuse_other_unit(connection, spec)


def _refuse_other_unit(connection: Connection, spec: BulkLoad) -> None:
    """Numbers that are no time in this unit but a good one in another are no bad rows."""
    number = spec.numeric_time_seconds
    good = "BETWEEN epoch(TIMESTAMP '2000-01-01') AND epoch(TIMESTAMP '2100-01-01')"
    scales = " OR ".join(f"({number}) / {factor} {good}" for factor in ("1e3", "1e6", "1e9"))
    (odd,) = connection.execute(f"SELECT count(*) FROM {relation(spec)} WHERE {scales}").fetchall()[
        0
    ]
    forget_scan(connection)
    if odd:
        raise InputError(
            f"{odd:,} of the times are a thousandfold (or more) of what fits the others: "
            "two units are mixed in one column",
            where=str(spec.files[0]),
            hint="bring the column to one unit first",
        )


def _add_source(connection: Connection, spec: SourceSpec, now: datetime) -> int:
    (source_id,) = connection.execute("SELECT max(source_id) + 1 FROM source").fetchall()[0]
    connection.execute(
        """INSERT INTO source VALUES ($source_id, $name, $kind, $format, $clock, $step, $zone,
        $block, $licence, $details, $now)""",
        {
            "source_id": source_id,
            "name": spec.name,
            "kind": spec.kind,
            "format": spec.format,
            "clock": spec.clock,
            "step": spec.clock_resolution_seconds,
            "zone": spec.time_zone,
            "block": spec.prefix_block_tokens,
            "licence": spec.licence,
            "details": json.dumps(dict(spec.details)) if spec.details else None,
            "now": now.replace(tzinfo=None),
        },
    )
    return int(source_id)


def _clock_notes(scan: TimeScan, step: float | None) -> tuple[str, ...]:
    notes = []
    if scan.is_quantised:
        share = scan.zero_gaps / (scan.rows - 1)
        text = seconds_text(step) if step else "unknown"
        notes.append(
            f"the clock is quantised (step {text}): {share:.0%} of neighbours share one "
            "stamp, so gaps between arrivals cannot be analysed"
        )
    if scan.backward_gaps:
        notes.append(f"rows out of time order: {scan.backward_gaps:,}")
    return tuple(notes)
