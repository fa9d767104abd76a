"""`servescope cost`: GPU-hours, money and energy, by pool, model or tenant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from servescope.cli.options import (
    ConfigFile,
    From,
    Json,
    Model,
    Source,
    Store,
    Tenant,
    To,
    scope_of,
)

BY = ("pool", "model", "tenant")
_NUMBERS = ("gpu_hours", "busy_gpu_hours", "idle_gpu_hours", "cost",
            "cost_per_million_input_tokens", "cost_per_million_output_tokens",
            "cost_per_request", "cost_per_met_request", "energy_kwh",
            "joules_per_output_token")  # fmt: skip
_COLUMNS = {
    "GPU-hours": "gpu_hours", "busy": "busy_gpu_hours", "idle": "idle_gpu_hours",
    "not told": "untold_gpu_hours", "starting": "starting_gpu_hours",
    "draining": "draining_gpu_hours", "share": "share_ratio", "cost": "cost",
    "requests": "requests", "output tokens": "output_tokens",
    "cost of 1M output tokens": "cost_per_million_output_tokens",
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cost")(cost)


def cost(
    by: Annotated[str, typer.Option("--by", help="pool, model or tenant.")] = "pool",
    source: Source = None, from_: From = None, to: To = None, model: Model = None,
    tenant: Tenant = None, store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """GPU-hours, money and energy by pool, model or tenant; idle time is a line of its own."""
    scope = scope_of(source, from_, to, model=model, tenant=tenant)
    run_cost(by, scope, store, config, as_json=as_json)


def run_cost(
    by: str, params: Mapping[str, str], store: Path | None, config_file: Path | None,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Print what ran, what of it was idle, and what it cost.

    Args:
        by: one of `BY`.
        params: the scope.
        store: which file.
        config_file: settings.
        as_json: print one document.

    Raises:
        InputError: there is no such table.
    """
    from servescope.cli import access
    from servescope.cli.data import configured
    from servescope.cli.output import Output
    from store.errors import InputError

    if by not in BY:
        raise InputError(f"cost is not told by '{by[:40]}'", hint=f"by: {', '.join(BY)}")
    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        view = way.view("cost", params)
    out.document("cost", view)
    if view.get("empty"):
        out.line(view["empty"]["text"])
        return
    for sentence in view["sentences"]:
        out.line(sentence)
    out.line()
    out.table(["", "value", "unit", "note"], [_number(name, view) for name in _NUMBERS])
    out.line()
    _table(out, view, by)


def _table(out: Any, view: Mapping[str, Any], by: str) -> None:
    from servescope.documents import frame_rows

    rows = frame_rows(view, f"{by}s")
    shown = {head: key for head, key in _COLUMNS.items()
             if any(row.get(key) for row in rows)}  # fmt: skip
    cells = [[_name(row, by), *(_round(row.get(key)) for key in shown.values())] for row in rows]
    out.table([by, *shown], cells)


def _name(row: Mapping[str, Any], by: str) -> str:
    """What is nobody's goes by what it was."""
    if row.get("kind") not in (None, "busy"):
        return f"({row['kind']})"
    return row[by] if row[by] is not None else "(not told)"


def _number(name: str, view: Mapping[str, Any]) -> list[Any]:
    measure = view["measures"][name]
    value = _round(measure["value"])
    if value is None and measure["low"] is not None:
        value = f">= {_round(measure['low']):,}"
    return [name.replace("_", " "), value, measure["unit"], measure["why"] or ""]


def _round(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
