"""What-if: the fleet that was replayed, what came of its pools, what guards and forecasts did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, card, frame_tools
from dashboard.scene import Scene
from dashboard.tables import table
from dashboard.text import number_text
from store.units import percent_text, seconds_text

_FLEET_ABOUT = (
    "Pools that were replayed together. Policies that decide several pools at once are named; all "
    "others decide each pool alone, as their owners would deploy them."
)
_POOLS_ABOUT = (
    "Medians over the seeds of A and B, by pool. Cost: hours of replicas times their price."
)


def fleet_card(view: View, scene: Scene, opts: Mapping[str, str]) -> list[Slot]:
    """The pools with their cards and prices; nothing where one pool without a price says it all."""
    frame = view.frames.get("fleet", pl.DataFrame())
    if frame.is_empty() or (frame.height == 1 and frame["price_per_hour"].is_null().all()):
        return []
    title = "Which fleet was replayed?"
    cells = {
        "name": lambda row: html.Strong(row["name"]),
        "gpu_type": _cards,
        "price_per_hour": lambda row: _or_dash(row["price_per_hour"], number_text),
        "least": lambda row: f"{row['least']} to {_or_dash(row['most'], str)}",
        "startup_seconds": lambda row: _or_dash(row["startup_seconds"], seconds_text, "as asked"),
    }
    heads = {
        "name": "Pool", "gpu_type": "A replica", "price_per_hour": "Price an hour",
        "least": "Replicas", "startup_seconds": "Start-up, median",
    }  # fmt: skip
    columns = ["name", "role", "profile", "gpu_type", "price_per_hour", "least", "startup_seconds"]
    known = [name for name in columns if name == "startup_seconds" or _is_known(frame, name)]
    shown = table(frame, scene, columns=known, cells=cells, heads=heads, caption=title)
    said = [html.Li(text) for text in _assumed(frame)]
    lead = [html.Ul(said, className="ss-assumed")] if said else []
    tools = frame_tools(view, "fleet", title, _FLEET_ABOUT, scene, **opts)
    return [card(title, [*lead, shown], tools=tools, key="fleet")]


def _assumed(frame: pl.DataFrame) -> list[str]:
    """What is taken as given, and who decides what: above all numbers that follow from it."""
    priced = frame.drop_nulls("price_per_hour").iter_rows(named=True)
    prices = ", ".join(f"{row['name']} {number_text(row['price_per_hour'])}" for row in priced)
    said = [
        f"Prices of a replica an hour: {prices}."
        if prices
        else "No pool has a price: GPU-hours are compared, not money."
    ]
    said += [_transfer(row) for row in frame.iter_rows(named=True) if row["role"] == "prefill"]
    together = frame["decided_together_by"][0]
    if together and frame.height > 1:
        said.append(f"Decided together by {together}; by all others pool by pool.")
    return [text for text in said if text]


def _transfer(row: Mapping[str, Any]) -> str:
    """How long a cache is on its way to a decoding replica; "" where the record does not say."""
    once, each = row.get("transfer_seconds"), row.get("transfer_token_seconds")
    if once is None or each is None:
        return ""
    if not (once or each):
        return (
            f"Sending a cache from {row['name']} to a decoding replica takes no time here: its"
            " profile says nothing of it. Really it does."
        )
    of_long = seconds_text(once + 1000 * each)
    return (
        f"Sending a cache from {row['name']} to a decoding replica takes {seconds_text(once)} and"
        f" {each * 1e6:.3g} µs a token: {of_long} for 1,000 tokens."
    )


def _is_known(frame: pl.DataFrame, name: str) -> bool:
    return bool(frame[name].is_not_null().any())


def _or_dash(value: Any, words: Any, otherwise: str = "\N{EN DASH}") -> str:
    return otherwise if value is None else str(words(value))


def _cards(row: Mapping[str, Any]) -> str:
    count = f"{row['gpus']} \N{MULTIPLICATION SIGN} " if row["gpus"] else ""
    return f"{count}{row['gpu_type'] or 'GPU'}"


def pools_card(view: View, scene: Scene, opts: Mapping[str, str]) -> list[Slot]:
    """Hours, cost and guards of A's and B's pools, where there are several."""
    frame = view.frames.get("pools", pl.DataFrame())
    chosen = view.frames["chosen"]
    if frame.is_empty() or frame["pool"].n_unique() < 2 or chosen.is_empty():
        return []
    sides = chosen.select("side", "case", "startup_seconds", "policy", "row")
    both = sides.join(
        frame, on=["case", "startup_seconds", "policy", "row"], how="inner", maintain_order="left"
    )
    if both.is_empty():
        return []
    title = "What did each pool come to?"
    cells = {
        "side": lambda row: html.Strong(row["side"].upper()),
        "guards": lambda row: row["guards"] or "\N{EN DASH}",
    }
    columns = [
        name for name in ("side", "title", "pool", "role", "gpu_hours", "cost", "guards")
        if _is_known(both, name)
    ]  # fmt: skip
    heads = {"side": "", "title": "Policy", "gpu_hours": "GPU-hours", "guards": "Held by guards"}
    shown = table(both, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "pools", title, _POOLS_ABOUT, scene, **opts)
    return [card(title, shown, tools=tools, key="pools")]


def has_guards(frame: pl.DataFrame) -> bool:
    """Whether any row tells what guards held."""
    return "clips" in frame.columns and bool(frame["clips"].is_not_null().any())


def guards_cell(row: Mapping[str, Any]) -> Any:
    """How many decisions guards held or clipped, and which guards, over all pools."""
    if not row.get("clips"):
        return "\N{EN DASH}"
    counts: dict[str, float] = {}
    for told in json.loads(row["clips"]).values():
        for guard, count in (told or {}).items():
            counts[guard] = counts.get(guard, 0.0) + float(count)
    which = ", ".join(f"{name} {number_text(count)}" for name, count in sorted(counts.items()))
    return html.Span(
        [html.Strong(number_text(sum(counts.values()))), html.Span(which, className="ss-range")],
        className="ss-spread",
    )


def forecast_words(frame: pl.DataFrame) -> str:
    """How good the forecasts were that policies were handed; "" where they were handed none."""
    if "forecasts" not in frame.columns:
        return ""
    told = frame["forecasts"].drop_nulls()
    if told.is_empty():
        return ""
    one = json.loads(told[0])
    if not one.get("count"):
        return "Policies were handed no forecast: too little was there to make one from."
    said = [f"Policies were handed {number_text(one.get('count'))} forecasts of the request rate"]
    if one.get("skill") is not None:
        said.append(
            f"their skill ten minutes ahead: {percent_text(one['skill'])} of the loss saved"
        )
    if one.get("coverage_q90") is not None:
        said.append(f"{percent_text(one['coverage_q90'])} came to lie below the 90 % quantile")
    return f"{'; '.join(said)}."
