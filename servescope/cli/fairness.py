"""`servescope fairness`: who gets which part of the service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.output import Output
from servescope.documents import frame_rows

_COLUMNS = {
    "tenant": "tenant",
    "asked": "demand_tokens",
    "got": "service_tokens",
    "share": "service_share_ratio",
    "of fair share": "of_fair_share",
    "waiting": "waiting_ratio",
    "requests": "requests",
    "refused": "refused",
    "TTFT p50 s": "ttft_p50_seconds",
    "TTFT p95 s": "ttft_p95_seconds",
    "attainment": "attainment_ratio",
}


def run_fairness(
    params: Mapping[str, str],
    options: Mapping[str, str | None],
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print the verdict, the measures and the tenants.

    Args:
        params: the scope.
        options: of the view; those that were not given are None.
        store: which file.
        config_file: settings.
        as_json: print one document.
    """
    out = Output(as_json=as_json)
    given = {name: value for name, value in options.items() if value}
    with access.opened(configured(store, config_file)) as way:
        view = way.view("fairness", params, given)
    out.document("fairness", view)
    if view.get("empty"):
        out.line(view["empty"]["text"])
        return
    for sentence in view["sentences"]:
        out.line(sentence)
    out.line()
    rows = frame_rows(view, "tenants")
    out.table(list(_COLUMNS), [[_cell(row.get(key)) for key in _COLUMNS.values()] for row in rows])


def _cell(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
