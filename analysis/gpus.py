"""The cards of the fleet: what each does now, who holds it, and what went wrong with it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from analysis.measure import Empty, Measure, View
from store.queries.faults import FAULTS, gpu_fault_count, gpu_faults
from store.queries.gpus import CARDS, newest
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader

# dcgm-exporter asks the driver every 30 s: a card that is not seen for ten times as long is gone.
_SEEN_WITHIN = timedelta(minutes=5)
_TOLD_FAULTS = 5
# Column -> signals, the first that is told counts.
_VALUES: dict[str, tuple[str, ...]] = {
    "busy_ratio": ("gpu_engine_active_ratio", "gpu_busy_ratio"),
    "tensor_active_ratio": ("gpu_tensor_active_ratio",),
    "memory_active_ratio": ("gpu_memory_active_ratio", "gpu_memory_busy_ratio"),
    "memory_used_bytes": ("gpu_memory_used_bytes",),
    "memory_capacity_bytes": ("gpu_memory_capacity_bytes", "gpu_memory_allocatable_bytes"),
    "power_watts": ("gpu_power_watts",),
    "temperature_celsius": ("gpu_temperature_celsius",),
    "xid_last_code": ("gpu_xid_last_code",),
    "ecc_uncorrected_errors": ("gpu_ecc_uncorrected_total",),
}
_ABOUT = ("gpu_present", "gpu_held")
_SIGNALS = (*_ABOUT, *(name for names in _VALUES.values() for name in names))
_CARD = ("node", "gpu", "gpu_instance")
_MEASURES = {"cards": "", "busy_ratio": "ratio", "faults": ""}
CARDS_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys((*_CARD, "gpu_model", "pods"), pl.String),
    **dict.fromkeys(_VALUES, pl.Float64),
    "last_at": pl.Datetime("us"),
}


def gpus(reader: Reader, scope: Scope) -> View:
    """The cards at the end of the range, and the faults that began in it.

    Frames: `cards` (node, gpu, gpu_instance, gpu_model, pods, busy_ratio, tensor_active_ratio,
    memory_active_ratio, memory_used_bytes, memory_capacity_bytes, power_watts,
    temperature_celsius, xid_last_code, ecc_uncorrected_errors, last_at); `faults` (node, gpu,
    started_at, ended_at, kind, text), the newest first. What a card does not tell is null.
    """
    is_live = LIVE_SOURCE_ID in scope.source_ids
    read = newest(reader, _SIGNALS, scope.end - _SEEN_WITHIN, scope.end) if is_live else None
    cards = _cards(read) if read is not None else pl.DataFrame(schema=CARDS_SCHEMA)
    faults = gpu_faults(reader, scope.start, scope.end) if is_live else _no_faults()
    count = gpu_fault_count(reader, scope.start, scope.end, faults.height) if is_live else 0
    return View(
        "gpus",
        scope,
        measures=_measures(cards, count),
        frames={"cards": cards, "faults": faults},
        sentences=_sentences(faults),
        empty=_empty(is_live) if cards.is_empty() and faults.is_empty() else None,
        sql={"cards": CARDS.strip(), "faults": FAULTS.strip()},
        totals={"faults": count},
    )


def _cards(read: pl.DataFrame) -> pl.DataFrame:
    """One row a card or slice, of what several targets tell the newest."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for told in read.sort("at").iter_rows(named=True):
        row = rows.setdefault(tuple(told[name] for name in _CARD), {"pods": set()})
        row[told["signal"]] = told["value"]
        row["gpu_model"] = told["gpu_model"] or row.get("gpu_model")
        row["last_at"] = told["at"]
        if told["pod"] and told["value"]:
            row["pods"].add(told["pod"])
    table = [
        {
            **dict(zip(_CARD, card, strict=True)),
            "gpu_model": row["gpu_model"],
            "pods": ", ".join(sorted(row["pods"])) or None,
            **{column: _first(row, names) for column, names in _VALUES.items()},
            "last_at": row["last_at"],
        }
        for card, row in rows.items()
    ]
    return pl.DataFrame(table, schema=CARDS_SCHEMA).sort(_CARD, nulls_last=False)


def _first(row: dict[str, Any], names: tuple[str, ...]) -> float | None:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _measures(cards: pl.DataFrame, faults: int) -> dict[str, Measure]:
    if cards.is_empty() and not faults:
        unseen = "no card was read in this range"
        return {name: Measure(None, unit, why=unseen) for name, unit in _MEASURES.items()}
    busy = cards["busy_ratio"].drop_nulls()
    return {
        "cards": Measure(float(cards.height), "", why="seen in the last five minutes"),
        "busy_ratio": Measure(
            float(busy.sum()) / len(busy) if len(busy) else None,
            "ratio",
            n=len(busy) or None,
            why=None if len(busy) else "no card tells how busy it is",
        ),
        "faults": Measure(float(faults), "", why="that began in the range"),
    }


def _sentences(faults: pl.DataFrame) -> tuple[str, ...]:
    return tuple(
        f"{row['node']}, card {row['gpu']}: {row['text']} ({row['started_at']:%Y-%m-%d %H:%M} UTC)."
        for row in faults.head(_TOLD_FAULTS).iter_rows(named=True)
    )


def _no_faults() -> pl.DataFrame:
    text, time = pl.String(), pl.Datetime("us")
    return pl.DataFrame(
        schema={
            "node": text,
            "gpu": text,
            "started_at": time,
            "ended_at": time,
            "kind": text,
            "text": text,
        }
    )


def _empty(is_live: bool) -> Empty:
    if not is_live:
        return Empty("metric_absent", "A trace holds requests; cards are read from live targets.")
    return Empty(
        "nothing_connected",
        "No GPU is read. Add an exporter (`servescope up --target http://NODE:9400/metrics`) or "
        "run `servescope agent` on the node.",
    )
