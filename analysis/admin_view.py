"""Is the data complete, and can I trust these pages?"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from analysis.agents import agent_table
from analysis.clocks import clock_table
from analysis.emptiness import why_empty
from analysis.instances import instance_name, state
from analysis.measure import Measure, View
from store.queries import admin as admin_queries
from store.queries import agents as agent_queries
from store.queries import catalog, telemetry
from store.queries.scope import Scope, SourceInfo
from store.reader import Reader

SOURCES_SCHEMA: dict[str, Any] = {
    "name": pl.String,
    "kind": pl.String,
    "format": pl.String,
    "clock": pl.String,
    "requests": pl.Int64,
    "first_at": pl.Datetime("us"),
    "last_at": pl.Datetime("us"),
}
TARGETS_SCHEMA: dict[str, Any] = {
    "url": pl.String,
    "engine": pl.String,
    "engine_version": pl.String,
    "state": pl.String,
    "last_success_at": pl.Datetime("us"),
    "data_age_seconds": pl.Float64,
    "scrape_seconds": pl.Float64,
    "samples": pl.Int64,
    "samples_per_second": pl.Float64,
    "bad_lines": pl.Int64,
    "unknown_families": pl.Int64,
    "error": pl.String,
}
DISCOVERY_SCHEMA: dict[str, Any] = {
    "source": pl.String,
    "targets": pl.Int64,
    "problem": pl.String,
}
COVERAGE_SCHEMA: dict[str, Any] = {
    "page": pl.String,
    "target_or_source": pl.String,
    "state": pl.String,
    "missing": pl.String,
}
IMPORTS_SCHEMA: dict[str, Any] = {
    "import_id": pl.Int64,
    "source": pl.String,
    "file": pl.String,
    "rows_added": pl.Int64,
    "rows_duplicate": pl.Int64,
    "rows_rejected": pl.Int64,
    "at": pl.Datetime("us"),
    "seconds": pl.Float64,
}


@dataclass(frozen=True, slots=True)
class PageNeeds:
    """What a page draws on.

    Attributes:
        page: its name.
        fields: of request rows; groups joined by "|" mean that any of them will do; empty when it
            cannot use requests at all.
        signals: of scraped targets, in such groups, too; empty when it cannot use scrapes at all.
        from_rates: whether a series of client rates is enough for part of it.
    """

    page: str
    fields: tuple[str, ...]
    signals: tuple[str, ...] = ()
    from_rates: bool = False


PAGES = (
    PageNeeds(
        "Fleet",
        ("requests", "input_tokens", "output_tokens", "ttft_seconds", "tpot_seconds"),
        (
            "requests_running",
            "requests_waiting",
            "kv_cache_usage_ratio",
            "requests_finished_total",
            "prompt_tokens_total",
            "generation_tokens_total",
            "ttft_seconds",
            "tpot_seconds",
        ),
    ),
    PageNeeds(
        "SLOs",
        ("requests", "ttft_seconds", "tpot_seconds", "e2e_seconds"),
        ("requests_finished_total", "ttft_seconds", "tpot_seconds", "e2e_seconds"),
    ),
    PageNeeds(
        "Latency",
        ("e2e_seconds", "ttft_seconds", "tpot_seconds"),
        ("e2e_seconds", "ttft_seconds", "tpot_seconds", "queue_seconds"),
    ),
    PageNeeds("Workload: arrivals", ("requests",), from_rates=True),
    PageNeeds("Workload: burstiness", ("requests",), from_rates=True),
    PageNeeds("Workload: lengths", ("input_tokens", "output_tokens")),
    PageNeeds("Workload: clients", ("tenant|route|session_key",), from_rates=True),
    PageNeeds("Workload: sessions", ("session_key",)),
    PageNeeds("Workload: prefix", ("block_hashes",)),
    PageNeeds("Workload: failures", ("requests",)),
    PageNeeds("Fairness", ("tenant", "input_tokens", "output_tokens")),
    PageNeeds(
        "Cold starts",
        (),
        ("engine_start_unix_seconds", "generation_tokens_total", "startup_phase_seconds"),
    ),
    PageNeeds(
        "Degradation",
        (),
        ("generation_tokens_total", "decode_busy_seconds_total|requests_running"),
    ),
    PageNeeds(
        "Predictors",
        ("model", "input_tokens", "output_tokens", "ttft_seconds", "tpot_seconds"),
        (
            "requests_running",
            "requests_waiting",
            "kv_cache_usage_ratio",
            "prompt_tokens_total",
            "generation_tokens_total",
        ),
    ),
    PageNeeds(
        "Controller",
        (),
        (
            "requests_running",
            "requests_waiting",
            "kv_cache_usage_ratio",
            "requests_arrived_total|requests_finished_total",
            "prompt_tokens_total",
            "generation_tokens_total",
        ),
    ),
    PageNeeds(
        "What-if", ("requests", "input_tokens", "output_tokens", "ttft_seconds", "tpot_seconds")
    ),
    # Requests share out what replicas cost; no request row says which replicas there were.
    PageNeeds(
        "Cost",
        ("replicas", "model", "tenant", "input_tokens", "output_tokens"),
        ("requests_running|gpu_present", "gpu_power_watts|gpu_energy_joules_total"),
    ),
)


def admin(reader: Reader, scope: Scope, *, now: datetime) -> View:
    """What the store holds, how fresh it is and which page each source can feed.

    The time range of the scope plays no part. Measures: rows_total, store_bytes,
    write_lag_seconds and backup_age_seconds (None here: only the process that writes knows them),
    data_age_seconds.

    Args:
        reader: the store.
        scope: only named in the result.
        now: the moment that ages are measured from; aware.
    """
    naive_now = now.replace(tzinfo=None)
    infos = catalog.sources(reader)
    targets = telemetry.targets(reader, now)
    agents = agent_queries.agents(reader)
    tables = admin_queries.tables(reader)
    found, imported = admin_queries.imports(reader)
    imports = found.rename({"finished_at": "at"})
    frames = {
        "sources": _sources(infos),
        "targets": _targets(targets, naive_now),
        "agents": agent_table(agents, now),
        # Clocks of targets are known to the process that asks them.
        "clocks": clock_table(agents, targets, {}),
        # Only the process that asks the sources knows how they stand.
        "discovery": pl.DataFrame(schema=DISCOVERY_SCHEMA),
        "tables": tables,
        "coverage": _coverage(reader, infos, targets),
        "imports": imports.cast(pl.Schema(IMPORTS_SCHEMA)),
    }
    held = any(info.last_at is not None for info in infos) or targets.height > 0
    return View(
        "admin",
        scope,
        _measures(reader, infos, tables, now),
        frames,
        tuple(_sentences(frames)),
        None if held else why_empty(reader, scope),
        {
            "sources": catalog.sources_sql(info.source_id for info in infos),
            "imports": admin_queries.IMPORTS.strip(),
        },
        totals={"imports": imported},
    )


def _sources(infos: Sequence[SourceInfo]) -> pl.DataFrame:
    rows = [
        (
            info.name,
            info.kind,
            info.format,
            info.clock,
            info.request_count,
            info.first_at.replace(tzinfo=None) if info.first_at else None,
            info.last_at.replace(tzinfo=None) if info.last_at else None,
        )
        for info in infos
    ]
    return pl.DataFrame(rows, schema=SOURCES_SCHEMA, orient="row")


def _targets(found: pl.DataFrame, now: datetime) -> pl.DataFrame:
    rows = []
    for row in found.iter_rows(named=True):
        last, success = row["last_at"], row["last_success_at"]
        word, why = state(
            last, row["last_outcome"], row["last_error"], success, row["interval_seconds"], now
        )
        rows.append(
            {
                "url": row["url"],
                "engine": row["engine"],
                "engine_version": row["engine_version"],
                "state": word,
                "last_success_at": success,
                "data_age_seconds": (now - success).total_seconds() if success else None,
                "scrape_seconds": row["last_duration_seconds"],
                "samples": row["sample_count"],
                "samples_per_second": _rate(row["sample_count"], row["interval_seconds"]),
                "bad_lines": row["bad_line_count"],
                "unknown_families": row["unknown_family_count"],
                "error": why or None,
            }
        )
    return pl.DataFrame(rows, schema=TARGETS_SCHEMA)


def _rate(samples: int | None, interval_seconds: float | None) -> float | None:
    return samples / interval_seconds if samples is not None and interval_seconds else None


def _coverage(reader: Reader, infos: Sequence[SourceInfo], targets: pl.DataFrame) -> pl.DataFrame:
    carried = admin_queries.carried(reader, [info.source_id for info in infos])
    rows = [
        (needs.page, info.name, *source_coverage(needs, held))
        for info in infos
        if (held := carried[info.source_id]) & {"requests", "rates"}
        for needs in PAGES
    ]
    by_target: dict[int, set[str]] = {}
    for target_id, signal in admin_queries.signals(reader).iter_rows():
        by_target.setdefault(target_id, set()).add(signal)
    rows += [
        (
            needs.page,
            instance_name(target["url"]),
            *target_coverage(needs, by_target.get(target["target_id"], set())),
        )
        for target in targets.to_dicts()
        for needs in PAGES
    ]
    return pl.DataFrame(rows, schema=COVERAGE_SCHEMA, orient="row")


def source_coverage(needs: PageNeeds, held: Container[str]) -> tuple[str, str]:
    """How far request rows feed a page: "full", "partial" or "none", and what is missing.

    Args:
        needs: the page.
        held: fields that any request carries, with requests and rates (client windows).
    """
    if not needs.fields:
        return "none", "engine metrics (requests carry none)"
    if "requests" not in held:
        if "rates" in held and needs.from_rates:
            return "partial", "request rows (a rate series only)"
        return "none", "request rows"
    missing = _missing(needs.fields, held)
    return _state(missing, len(needs.fields))


def target_coverage(needs: PageNeeds, signals: Iterable[str]) -> tuple[str, str]:
    """How far a scraped target feeds a page, and which signals it does not show."""
    if not needs.signals:
        return "none", "request rows (engine metrics carry none)"
    return _state(_missing(needs.signals, set(signals)), len(needs.signals))


def _missing(needed: Sequence[str], held: Container[str]) -> list[str]:
    return [
        group.replace("|", " or ")
        for group in needed
        if not any(name in held for name in group.split("|"))
    ]


def _state(missing: Sequence[str], needed: int) -> tuple[str, str]:
    if not missing:
        return "full", ""
    return ("none" if len(missing) == needed else "partial"), ", ".join(missing)


def _measures(
    reader: Reader, infos: Sequence[SourceInfo], tables: pl.DataFrame, now: datetime
) -> dict[str, Measure]:
    size = admin_queries.store_bytes(reader)
    live = [info.last_at for info in infos if info.kind == "live" and info.last_at is not None]
    return {
        "rows_total": Measure(float(tables["rows"].sum()), "rows"),
        "store_bytes": Measure(
            None if size is None else float(size),
            "bytes",
            why="the store is kept in memory" if size is None else None,
        ),
        "write_lag_seconds": Measure(None, "s", why="only the process that writes knows it"),
        "backup_age_seconds": Measure(None, "s", why="only the server knows where backups lie"),
        "data_age_seconds": Measure(
            (now - max(live)).total_seconds() if live else None,
            "s",
            why=None if live else "no live data has come yet",
        ),
    }


def _sentences(frames: Mapping[str, pl.DataFrame]) -> list[str]:
    away = frames["targets"].filter(pl.col("state") != "ready")
    sentences = [
        f"{row['url']} is {row['state']}: {row['error']}." for row in away.iter_rows(named=True)
    ]
    troubled = frames["agents"].filter(pl.col("state") != "ok")
    sentences += [
        f"Agent {row['name']} is {row['state']}: {row['why']}."
        for row in troubled.iter_rows(named=True)
    ]
    bad = frames["targets"].filter(pl.col("bad_lines") > 0)
    sentences += [
        f"{row['url']} shows {row['bad_lines']} lines that could not be read."
        for row in bad.iter_rows(named=True)
    ]
    rejected = frames["imports"].filter(pl.col("rows_rejected") > 0)
    sentences += [
        f"Import {row['import_id']} of {row['file']} left {row['rows_rejected']:,} rows out."
        for row in rejected.iter_rows(named=True)
    ]
    if not sentences and frames["targets"].is_empty() and frames["imports"].is_empty():
        return []
    return sentences or ["Everything that is connected answers, and no import left rows out."]
