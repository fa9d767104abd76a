"""Recorded rows for calibration: requests, and what their engines said meanwhile."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from controller.workloads import BLOCK_TOKENS
from servescope import exporting
from servescope.cli import access
from servescope.config import data_folder
from store.errors import InputError

MOST_BYTES = 256_000_000
"""Of requests in one calibration, packed."""
_GAUGES = (
    "requests_running", "requests_waiting", "requests_running_max", "kv_cache_usage_ratio",
    "kv_cache_capacity_tokens",
)  # fmt: skip
_TARGETS = """
SELECT t.url, t.engine, t.engine_version, t.model, t.labels->>'pool' AS pool
FROM target AS t ORDER BY t.url
"""
_SCRAPES = """
WITH told AS (
  SELECT t.url, s.signal, p.sampled_at,
    CASE WHEN s.unit = 'ratio' THEN avg(p.value) ELSE sum(p.value) END AS value
  FROM sample AS p JOIN series AS s USING (series_id) JOIN target AS t USING (target_id)
  WHERE s.signal IN {signals} AND p.sampled_at BETWEEN '{start}' AND '{end}'
  GROUP BY t.url, s.signal, s.unit, p.sampled_at)
SELECT url, sampled_at AS at, {columns}
FROM told GROUP BY url, sampled_at ORDER BY sampled_at DESC LIMIT 10000
"""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a calibration starts from.

    Attributes:
        requests: as the API exports them.
        gauges: scrapes of the engines that served them; None where there are none.
        block_tokens: of a block of the prompts.
        engines: what they are, in words; empty unknown.
    """

    requests: pl.DataFrame
    gauges: pl.DataFrame | None
    block_tokens: int
    engines: str


def profiles_folder() -> Path:
    """Where profiles of one's own are kept."""
    return data_folder() / "profiles"


def gathered(way: access.Access, params: Mapping[str, str], pool: str | None = None) -> Gathered:
    """Requests of a scope, and the scrapes of their engines in that time.

    Args:
        way: to the store.
        params: of the scope.
        pool: only instances whose target has this label `pool`.

    Raises:
        InputError: no target is of that pool, or there are too many rows.
    """
    targets = way.sql(_TARGETS)["rows"]
    if pool is not None:
        targets = [row for row in targets if row["pool"] == pool]
        if not targets:
            raise InputError(
                f"no target has the label pool = '{pool}'",
                hint="labels come from discovery; or name instances: --instance HOST:PORT",
            )
    requests = _requests(way, params)
    hosts = {_host(row["url"]): row for row in targets}
    if pool is not None:
        requests = requests.filter(pl.col("instance").is_in(list(hosts)))
    serving = _serving(requests, hosts)
    return Gathered(
        requests,
        _gauges(way, requests, [row["url"] for row in serving]),
        _block_tokens(way, requests),
        _engines(serving),
    )


def _requests(way: access.Access, params: Mapping[str, str]) -> pl.DataFrame:
    if isinstance(way, access.ServerAccess):
        chunks = exporting.from_server(way.client, way.url, params, "parquet")
    else:
        assert isinstance(way, access.FileAccess)  # noqa: S101 - there are two
        chunks = exporting.chunks(way.runtime, way.runtime.scope(params, shared=False), "parquet")
    return pl.read_parquet(io.BytesIO(_bytes(chunks)))


def _bytes(chunks: Iterator[bytes]) -> bytes:
    kept = io.BytesIO()
    for chunk in chunks:
        if kept.tell() + len(chunk) > MOST_BYTES:
            raise InputError(
                f"these are more than {MOST_BYTES // 1_000_000} MB of requests",
                hint="narrow the range with --from and --to",
            )
        kept.write(chunk)
    return kept.getvalue()


def _serving(
    requests: pl.DataFrame, hosts: Mapping[str, Mapping[str, str]]
) -> list[Mapping[str, str]]:
    """Targets of the instances; without instances those of the models."""
    names = set(requests["instance"].drop_nulls().unique()) if requests.height else set()
    found = [row for host, row in hosts.items() if host in names]
    if found or names:
        return found
    models = set(requests["model"].drop_nulls().unique()) if requests.height else set()
    return [row for row in hosts.values() if row["model"] in models]


def _gauges(way: access.Access, requests: pl.DataFrame, urls: list[str]) -> pl.DataFrame | None:
    if not urls or requests.is_empty():
        return None
    first, last = requests["arrived_at"].min(), requests["arrived_at"].max()
    assert isinstance(first, datetime)  # noqa: S101 - it is not empty
    assert isinstance(last, datetime)  # noqa: S101
    columns = ", ".join(f"max(value) FILTER (signal = '{name}') AS {name}" for name in _GAUGES)
    told = way.sql(
        _SCRAPES.format(
            signals=str(_GAUGES), columns=columns,
            start=first.replace(tzinfo=None).isoformat(" "),
            end=last.replace(tzinfo=None).isoformat(" "),
        )
    )["rows"]  # fmt: skip
    kinds = {"url": pl.String, "at": pl.String, **dict.fromkeys(_GAUGES, pl.Float64)}
    frame = pl.DataFrame(told, schema=kinds, strict=False)
    frame = frame.filter(pl.col("url").is_in(urls))
    return None if frame.is_empty() else frame


def _block_tokens(way: access.Access, requests: pl.DataFrame) -> int:
    if requests.is_empty():
        return BLOCK_TOKENS
    name = str(requests["source"][0]).replace("'", "''")
    told = way.sql(f"SELECT prefix_block_tokens AS n FROM source WHERE name = '{name}'")["rows"]
    return int(told[0]["n"]) if told and told[0]["n"] else BLOCK_TOKENS


def _engines(serving: list[Mapping[str, str]]) -> str:
    known = {
        f"{row['engine']} {row['engine_version'] or ''}".strip() for row in serving if row["engine"]
    }
    return ", ".join(sorted(known))


def _host(url: str) -> str:
    """host:port of a target, as instances are called."""
    return url.split("://", 1)[-1].split("/", 1)[0]
