"""`servescope why`: the Fleet page's verdict and its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from servescope.cli.options import ConfigFile, Json, Model, Source, Store, Tenant, scope_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("why")(why)


def why(
    at: Annotated[
        str | None, typer.Option("--at", help="Look from this time: now-2h or an ISO 8601 time.")
    ] = None,
    source: Source = None, model: Model = None, tenant: Tenant = None, store: Store = None,
    config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """What is wrong, since when, who and in which phase; exit 3 when an objective is in trouble."""
    scope = scope_of(source, None, at, model=model, tenant=tenant)
    run_why(scope, store, config, as_json=as_json)


def run_why(
    params: Mapping[str, str], store: Path | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Print the verdict and what it stands on.

    Args:
        params: the scope.
        store: which file.
        config_file: settings.
        as_json: print one document.

    Raises:
        Exit: 3, an objective is in trouble.
    """
    from servescope.cli import access
    from servescope.cli.data import configured
    from servescope.cli.output import ExitCode, Output

    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        view = way.view("why", params)
    out.document("why", view)
    if view.get("empty"):
        out.line(view["empty"]["text"])
        return
    _print(out, view)
    if view["measures"]["burning"]["value"]:
        raise typer.Exit(int(ExitCode.FINDING))


def _print(out: Any, view: Mapping[str, Any]) -> None:
    from servescope.cli.output import cell_text
    from servescope.documents import frame_rows

    for sentence in view["sentences"]:
        out.line(sentence)
    for frame, title, columns in TABLES:
        rows = frame_rows(view, frame)
        if frame == "contributors":
            rows = sorted(rows, key=lambda row: -(row["bad_share_ratio"] or 0.0))[:MOST_TOLD]
        shown = {head: key for head, key in columns.items() if any(_known(r, key) for r in rows)}
        if rows:
            out.line()
            out.line(f"{title}:")
            out.table(list(shown), [[_cell(row, key) for key in shown.values()] for row in rows])
    out.line()
    for row in frame_rows(view, "next"):
        out.line(f"next: {row['title']}: {cell_text(row['command'])}")


MOST_TOLD = 6
TABLES: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (
        "objectives",
        "Objectives",
        {
            "name": "name", "status": "status", "burn short": "burn_short",
            "burn long": "burn_long", "since": "since_at", "budget left": "budget_left_ratio",
            "attempted": "attempted", "why": "why",
        },
    ),
    (
        "contributors",
        "Who the bad requests are",
        {
            "dimension": "dimension", "value": "value", "bad": "bad",
            "share of bad": "bad_share_ratio", "share of traffic": "traffic_share_ratio",
            "times": "over_representation",
        },
    ),
    (
        "phases",
        "What of them takes too long (beyond the median of good requests)",
        {
            "phase": "phase", "typical s": "typical_seconds", "bad mean s": "bad_mean_seconds",
            "excess s": "excess_seconds", "share of excess": "excess_share_ratio", "bad": "bad",
            "good": "good",
        },
    ),
    ("events", "What happened near the onset", {"at": "at", "kind": "kind", "what": "text"}),
    ("suspects", "Suspects", {"instance": "instance", "": "kind", "evidence": "text"}),
)  # fmt: skip


def _known(row: Mapping[str, Any], key: str) -> bool:
    return row.get(key) is not None


def _cell(row: Mapping[str, Any], key: str) -> Any:
    value = row.get(key)
    if isinstance(value, float):
        return float(f"{value:.3g}")
    if key == "since_at" and value and row.get("is_older"):
        return f"before {value}"
    return value
