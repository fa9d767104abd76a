"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Store = Annotated[
    Path | None, typer.Option("--store", help="Store file.", show_default="data folder")
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration file (TOML).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Plain = Annotated[bool, typer.Option("--plain", help="No progress bar, no colours.")]
Source = Annotated[str | None, typer.Option("--source", help="Source names, separated by commas.")]
From = Annotated[str | None, typer.Option("--from", help="Start: now-24h or an ISO 8601 time.")]
To = Annotated[str | None, typer.Option("--to", help="End: now or an ISO 8601 time.")]
Model = Annotated[str | None, typer.Option("--model", help="Only these models.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Only these tenants.")]
SloFile = Annotated[Path | None, typer.Option("--file", help="File with the objectives.")]


def scope_of(
    source: str | None, from_: str | None, to: str | None, **labels: Any
) -> dict[str, str]:
    """What a question is about, as the API's query parameters; what was not given is left out."""
    named = {"source": source, "from": from_, "to": to, **labels}
    return {key: value for key, value in named.items() if value}
