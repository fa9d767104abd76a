"""Attempts as a Parquet file that `servescope import` takes as request rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from collector.traces.own import SOURCES_KEY
from servescope.load.records import Sent
from store.errors import InputError

PORTION_ROWS = 1_000
"""Written at once: a few milliseconds, as nothing is sent meanwhile."""
_TEXT, _TOKENS, _SECONDS = pa.string(), pa.int32(), pa.float64()
_SCHEMA = pa.schema(
    [
        ("source", _TEXT), ("request_key", pa.uint64()), ("arrived_at", pa.timestamp("us")),
        ("status", _TEXT), ("tenant", _TEXT), ("model", _TEXT), ("instance", _TEXT),
        ("finish_reason", _TEXT), ("admission_reason", _TEXT), ("session_id", _TEXT),
        ("trace_id", _TEXT), ("number", pa.int32()),
        ("input_tokens", _TOKENS), ("output_tokens", _TOKENS), ("cached_tokens", _TOKENS),
        ("attempt", pa.int16()), ("ttft_seconds", _SECONDS), ("tpot_seconds", _SECONDS),
        ("e2e_seconds", _SECONDS), ("itl_p50_seconds", _SECONDS), ("itl_p95_seconds", _SECONDS),
        ("itl_p99_seconds", _SECONDS), ("itl_max_seconds", _SECONDS),
        ("retry_after_seconds", _SECONDS), ("ttft_from_send_seconds", _SECONDS),
        ("e2e_from_send_seconds", _SECONDS), ("sender_lag_seconds", _SECONDS),
        ("held_seconds", _SECONDS), ("target", _TEXT), ("http_status", pa.int16()),
        ("asked_input_tokens", _TOKENS), ("asked_output_tokens", _TOKENS),
    ]
)  # fmt: skip


def check(path: Path) -> None:
    """Whether a result can be kept there; asked before anything is read or sent.

    Raises:
        InputError: it is there already, or its folder is not.
    """
    if path.exists():
        raise InputError("this exists already", where=str(path), hint="name a new file")
    if not path.absolute().parent.is_dir():
        raise InputError("there is no such folder", where=str(path.parent), hint="make it first")


class ResultFile:
    """Rows are written in portions beside the file; it appears under its name when it is closed.

    Args:
        path: must not exist.
        source: name that the rows are imported under.
        model: that was asked for.
        details: of the run, kept with the source.
    """

    def __init__(
        self, path: Path, source: str, model: str, details: Mapping[str, Any] | None = None
    ) -> None:
        self.path, self.rows = path, 0
        self.problem = ""
        self._source, self._model, self._details = source, model, dict(details or {})
        self._part = path.with_name(f".{path.name}.part")
        self._started: datetime | None = None
        self._waiting: list[tuple[Any, ...]] = []
        self._writer: pq.ParquetWriter | None = None

    def open(self, started: datetime) -> None:
        """Begin.

        Args:
            started: when the run began, aware.

        Raises:
            InputError: it is there, or cannot be written.
        """
        check(self.path)
        self._started = started.replace(tzinfo=None)
        told = {
            self._source: {
                "format": "servescope-load", "clock": "utc", "clock_resolution_seconds": 1e-6,
                "time_zone": "UTC", "details": self._details,
            }
        }  # fmt: skip
        schema = _SCHEMA.with_metadata({SOURCES_KEY: json.dumps(told)})
        try:
            self._writer = pq.ParquetWriter(str(self._part), schema, compression="zstd")
        except OSError as error:
            raise InputError(
                f"cannot be written ({error.strerror})", where=str(self.path),
                hint="name another file with --out",
            ) from error  # fmt: skip

    def add(self, sent: Sent) -> None:
        """Keep an attempt; after a problem with the disk nothing more is kept."""
        if self.problem:
            return
        row = self._row(sent)
        self._waiting.append(tuple(row[name] for name in _SCHEMA.names))
        if len(self._waiting) >= PORTION_ROWS:
            self._flush()

    def close(self) -> int:
        """Write what is left; gives the number of rows that are in the file."""
        if self._writer is None:
            return 0
        self._flush()
        writer, self._writer = self._writer, None
        try:
            writer.close()
            if not self.problem:
                self._part.replace(self.path)
        except OSError as error:
            self.problem = self.problem or str(error)
        if self.problem:
            self._part.unlink(missing_ok=True)
            return 0
        return self.rows

    def _flush(self) -> None:
        if self._writer is None or not self._waiting:
            return
        try:
            self._write()
        except OSError as error:
            self.problem, self._waiting = str(error), []

    def _write(self) -> None:
        assert self._writer is not None  # noqa: S101 - asked before
        rows, self._waiting = self._waiting, []
        columns = [
            pa.array(values, field.type)
            for values, field in zip(zip(*rows, strict=True), _SCHEMA, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._writer.schema))
        self.rows += len(rows)

    def _row(self, sent: Sent) -> dict[str, Any]:
        assert self._started is not None  # noqa: S101 - open comes first
        planned, gaps = sent.planned, sent.gap_quantiles
        name = f"{self._source}\0{self._started}\0{planned.number}\0{sent.attempt}"
        return {
            "source": self._source,
            "request_key": int.from_bytes(blake2b(name.encode(), digest_size=8).digest()),
            "arrived_at": self._started + timedelta(seconds=sent.due_seconds),
            "status": sent.status, "tenant": planned.tenant or None, "model": self._model,
            "instance": sent.instance or None,
            "finish_reason": sent.finish_reason or (sent.reason if sent.status != "ok" else None),
            "admission_reason": sent.reason if sent.status == "refused" else None,
            "session_id": planned.session or None, "trace_id": sent.trace_id or None,
            "number": planned.number,
            "input_tokens": sent.input_tokens,
            "output_tokens": sent.output_tokens, "cached_tokens": sent.cached_tokens,
            "attempt": sent.attempt, "ttft_seconds": sent.ttft_seconds,
            "tpot_seconds": sent.tpot_seconds, "e2e_seconds": sent.e2e_seconds,
            "itl_p50_seconds": gaps[0], "itl_p95_seconds": gaps[1], "itl_p99_seconds": gaps[2],
            "itl_max_seconds": gaps[3], "retry_after_seconds": sent.retry_after_seconds,
            "ttft_from_send_seconds": sent.ttft_from_send_seconds,
            "e2e_from_send_seconds": sent.e2e_from_send_seconds,
            "sender_lag_seconds": sent.lag_seconds, "held_seconds": sent.held_seconds,
            "target": sent.target or None, "http_status": sent.http_status or None,
            "asked_input_tokens": planned.input_tokens,
            "asked_output_tokens": planned.output_tokens,
        }  # fmt: skip
