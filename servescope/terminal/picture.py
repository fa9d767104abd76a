"""A document of the view `top` as header, tiles and tables; no terminal is needed for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from servescope.documents import frame_rows
from servescope.terminal import words

Look = Literal["", "bad", "watch", "dim"]
Document = Mapping[str, Any]
OUTLIER_SCORE = 3.5
STALE_SECONDS = 60.0
_AWAY = ("unreachable", "stale", "waiting")


@dataclass(frozen=True, slots=True)
class Row:
    """Cells of a table and how they look."""

    cells: tuple[str, ...]
    look: Look = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        key: unique; what `:` jumps to.
        title: for people.
        columns: heads.
        rows: as many cells each.
        left: how many columns from the left are text; the rest are numbers.
        why_empty: said where there is no row.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    left: int = 1
    why_empty: str = "nothing to show"


@dataclass(frozen=True, slots=True)
class Tile:
    """One number with its course."""

    label: str
    value: str
    spark: str = ""
    look: Look = ""


def badge(document: Document) -> tuple[str, Look]:
    """How the controller treats the pools."""
    pools = frame_rows(document, "pools")
    if not pools:
        return "controller OFF", "dim"
    frozen = sum(bool(pool["is_frozen"]) for pool in pools)
    modes = Counter(str(pool["mode"]).upper() for pool in pools)
    said = " · ".join(f"{n} {mode}" if len(modes) > 1 else mode for mode, n in modes.most_common())
    if frozen:
        said += " · FROZEN" if frozen == len(pools) else f" · {frozen} FROZEN"
    return f"controller {said}", "watch" if frozen else ""


def verdict(document: Document) -> tuple[str, Look]:
    """The first sentence, or why there is nothing to show."""
    if document.get("empty"):
        return str(document["empty"]["text"]), "dim"
    said = document["sentences"][0] if document["sentences"] else "nothing to say"
    troubled = any(row["status"] in ("exhausted", "burning") for row in _objectives(document))
    return str(said), "bad" if troubled else ""


def age(document: Document) -> tuple[str, Look]:
    """How old the newest thing is that the server knows."""
    value = document["measures"]["data_age_seconds"]["value"]
    if value is None:
        return "no data", "watch"
    return f"data {words.seconds(round(value))} old", "watch" if value > STALE_SECONDS else ""


def tiles(document: Document) -> tuple[Tile, ...]:
    """The numbers of the whole fleet."""
    measures, lines = document["measures"], frame_rows(document, "sparklines")

    def made(label: str, name: str, text: Any = words.number, column: str = "") -> Tile:
        measure = measures[name]
        value = text(measure["value"])
        if measure["value"] is None and (measure["low"], measure["high"]) != (None, None):
            value = words.interval(measure["low"], measure["high"])
        return Tile(label, value, _course(lines, column or name))

    firing = measures["alerts_firing"]["value"] or 0
    return (
        made("req/s", "requests_per_second"),
        made("out tok/s", "output_tokens_per_second"),
        made("TTFT p95", "ttft_p95_seconds", words.seconds, "ttft_p95_seconds_high"),
        made("TPOT p95", "tpot_p95_seconds", words.seconds, "tpot_p95_seconds_high"),
        made("waiting", "requests_waiting"),
        Tile("failed", words.percent(measures["error_ratio"]["value"])),
        Tile("budget", words.percent(measures["lowest_budget_left_ratio"]["value"], 0),
             _course(frame_rows(document, "budget_line"), "budget_left_ratio")),
        Tile("alerts", words.number(firing), look="bad" if firing else ""),
    )  # fmt: skip


def _course(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    values = [row.get(name) for row in rows]
    return words.spark(values) if any(value is not None for value in values) else ""


def tables(document: Document) -> tuple[Table, ...]:
    """Every table, in the order of the tabs."""
    return (
        _models(document),
        _instances(document),
        _tenants(document),
        _slos(document),
        _events(document),
    )


def _models(document: Document) -> Table:
    rows = tuple(
        Row((row["workload"], words.number(row["requests_per_second"]),
             words.between(row, "ttft_p95_seconds"), words.between(row, "tpot_p95_seconds"),
             words.percent(row["attainment_ratio"]), words.number(row["requests_waiting"]),
             words.number(row["requests_running"]), words.percent(row["kv_cache_usage_ratio"], 0),
             _replicas(row), words.number(row["input_tokens_mean"]),
             words.number(row["output_tokens_mean"])))
        for row in frame_rows(document, "models")
    )  # fmt: skip
    heads = ("model", "req/s", "TTFT p95", "TPOT p95", "attained", "wait", "run", "KV", "ready",
             "in", "out")  # fmt: skip
    return Table("models", "Models", heads, rows, why_empty="no request and no engine names one")


def _replicas(row: Mapping[str, Any]) -> str:
    """Replicas that serve, of how many are wanted, and those starting: "5/7 +1"."""
    ready, wanted = row["instances_ready"], row["replicas_target"]
    if ready is None and wanted is None:
        return words.UNKNOWN
    text = words.number(ready) if wanted is None else f"{words.number(ready)}/{wanted}"
    return f"{text} +{row['replicas_starting']}" if row["replicas_starting"] else text


def _instances(document: Document) -> Table:
    rows = tuple(_instance(row) for row in _by_trouble(frame_rows(document, "instances")))
    heads = ("", "instance", "model", "waiting", "running", "KV", "TTFT p95", "TPOT p95", "tok/s")
    return Table("instances", "Instances", heads, rows, 3, "no engine is connected")


def _by_trouble(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that are away first, then those that stand out."""
    return sorted(rows, key=lambda r: (r["state"] not in _AWAY, -(r["outlier_score"] or 0.0)))


def _instance(row: Mapping[str, Any]) -> Row:
    """Never colour alone: a glyph says the same."""
    glyph, look = "●", ""
    if row["state"] in _AWAY:
        glyph, look = "✕", "bad"
    elif (row["outlier_score"] or 0.0) > OUTLIER_SCORE:
        glyph, look = "▲", "watch"
    cells = (
        glyph, row["instance"], row["model"] or words.UNKNOWN,
        words.number(row["requests_waiting"]), words.number(row["requests_running"]),
        words.percent(row["kv_cache_usage_ratio"], 0), words.between(row, "ttft_p95_seconds"),
        words.between(row, "tpot_p95_seconds"), words.number(row["output_tokens_per_second"]),
    )  # fmt: skip
    return Row(cells, look)  # type: ignore[arg-type]


def _tenants(document: Document) -> Table:
    rows = tuple(
        Row((row["tenant"], words.number(row["requests_per_second"]),
             words.number(row["output_tokens_per_second"]), words.percent(row["share_ratio"])))
        for row in frame_rows(document, "tenants")
    )  # fmt: skip
    heads = ("tenant", "req/s", "out tok/s", "of the service")
    return Table("tenants", "Tenants", heads, rows, why_empty="no request names its tenant")


def _objectives(document: Document) -> list[dict[str, Any]]:
    return frame_rows(document, "objectives")


def _slos(document: Document) -> Table:
    looks: dict[str, Look] = {"exhausted": "bad", "burning": "bad", "watch": "watch"}
    rows = tuple(
        Row((row["name"], row["status"], words.percent(row["attainment_ratio"], 2),
             words.percent(row["budget_left_ratio"]), words.times(row["burn_short"]),
             words.times(row["burn_long"]), clock(row["since_at"])),
            looks.get(row["status"], ""))
        for row in _objectives(document)
    )  # fmt: skip
    heads = ("objective", "status", "attained", "budget left", "burn short", "burn long", "since")
    return Table("objectives", "Objectives", heads, rows, 2, "none is defined: see slo.toml")


def _events(document: Document) -> Table:
    looks: dict[str, Look] = {"alert": "bad", "outage": "bad", "fault": "bad", "freeze": "watch"}
    rows = tuple(
        Row((clock(row["at"]), row["kind"], row["text"]), looks.get(row["kind"], ""))
        for row in frame_rows(document, "events")
    )
    return Table("events", "Events", ("at UTC", "kind", "what"), rows, 3, "nothing happened")


def clock(at: str | None) -> str:
    """The hour of an ISO 8601 time."""
    return words.UNKNOWN if at is None else at[11:19]
