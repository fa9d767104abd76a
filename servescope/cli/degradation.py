"""`servescope degradation`: who is slower than it used to be, since when, and by what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from servescope.cli.options import ConfigFile, From, Json, Model, Store, scope_of

_INSTANCES = {
    "instance": "instance",
    "state": "state",
    "slowdown": "slowdown_factor",
    "low": "slowdown_factor_low",
    "high": "slowdown_factor_high",
    "to peers": "to_peers_factor",
    "since": "since",
    "resource": "resource",
    "why": "why",
}
_SUSPECTS = {
    "#": "rank",
    "resource": "resource",
    "place": "place",
    "strength": "strength",
    "trust": "trust",
    "evidence": "reason",
}
_SIMILAR = {
    "incident": "incident",
    "similarity": "similarity",
    "slowdown": "slowdown_factor",
    "resource": "resource",
    "how it ended": "ending",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("degradation")(degradation)


def degradation(
    at: Annotated[
        str | None, typer.Option(help="As of when: now-2h or an ISO 8601 time; now by default.")
    ] = None,
    from_: From = None,
    model: Model = None,
    instance: Annotated[str | None, typer.Option(help="Only these instances.")] = None,
    incident: Annotated[
        str | None, typer.Option(help="Suspects of this incident; the newest by default.")
    ] = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Instances slower than they used to be at their load: how much, since when, and by what."""
    params = scope_of("live", from_, at, model=model, instance=instance)
    run_degradation(params, incident, store, config, as_json=as_json)


def run_degradation(
    params: dict[str, str],
    incident: str | None,
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print the verdict, instances, and the suspects of the incident shown.

    Args:
        params: the scope.
        incident: key of an incident; None takes the newest.
        store: which file.
        config_file: settings.
        as_json: print one document.
    """
    from servescope.cli import access
    from servescope.cli.data import configured
    from servescope.cli.output import Output
    from servescope.documents import frame_rows

    out = Output(as_json=as_json)
    options = {"incident": incident} if incident else {}
    with access.opened(configured(store, config_file)) as way:
        view = way.view("degradation", params, options)
    out.document("degradation", view)
    if view.get("empty"):
        out.line(view["empty"]["text"])
        return
    for sentence in view["sentences"]:
        out.line(sentence)
    parts = (("instances", _INSTANCES, ""), ("suspects", _SUSPECTS, "Suspects of"),
             ("similar", _SIMILAR, "Similar to"))  # fmt: skip
    shown = frame_rows(view, "shown")
    for name, columns, title in parts:
        rows = frame_rows(view, name)
        if not rows:
            continue
        out.line()
        if title:
            out.line(f"{title} {shown[0]['incident']} (association, not cause):")
        out.table(
            list(columns), [[_cell(row.get(key)) for key in columns.values()] for row in rows]
        )


def _cell(value: Any) -> Any:
    return float(f"{value:.3g}") if isinstance(value, float) else value
