"""Where to go on from a verdict: the command and the page for each thing it names."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import polars as pl

from analysis.verdict import Verdict
from store.queries.scope import Scope, join_values

NEXT_SCHEMA: dict[str, Any] = {"title": pl.String, "command": pl.String, "page": pl.String}
_LABELS = ("model", "tenant", "route", "instance")


def next_steps(found: Verdict, scope: Scope) -> pl.DataFrame:
    """title, command and page (path and query below the dashboard's root) of each next look.

    Nothing is in trouble: the objectives and the workload.
    """
    if found.worst is None or found.causes is None:
        rows = [
            ("Every objective with its budget", "servescope slo list", "slo"),
            ("What is worth knowing of the traffic", "servescope analyze", "workload/findings"),
        ]
        return pl.DataFrame(rows, schema=NEXT_SCHEMA, orient="row")
    name = found.worst.status.slo.name
    start, end = (f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (found.causes.start, scope.end))
    span, query = f"--from {start} --to {end}", f"from={start}&to={end}"
    rows = [("The objective, its burn and who spent it", f"servescope slo check {name}",
             f"slo/{quote(name, safe='')}?{query}")]  # fmt: skip
    largest = found.causes.largest
    flag, part = "", ""
    if largest is not None and largest["dimension"] in _LABELS:
        label, value = str(largest["dimension"]), join_values([str(largest["value"])])
        # Names of tenants are hidden in texts where that is wished, in addresses they cannot be.
        part = "" if label == "tenant" else f"&{label}={quote(value, safe=',')}"
        if label in ("model", "tenant"):
            flag = f" --{label} {_shell(value)}"
    rows.append(("Where the time of these requests goes", f"servescope latency {span}{flag}",
                 f"latency?{query}{part}"))  # fmt: skip
    if scope.is_live:
        rows.append(("Which instance slowed down, and by what", "servescope degradation",
                     f"degradation?{query}"))  # fmt: skip
        rows.append(("How far the signals can be trusted", "servescope trust", "admin"))
        rows.append(("What the controller did", "servescope controller decisions", "controller"))
    return pl.DataFrame(rows, schema=NEXT_SCHEMA, orient="row")


def _shell(value: str) -> str:
    plain = all(letter.isalnum() or letter in "-_./:" for letter in value)
    return value if plain else "'" + value.replace("'", "'\\''") + "'"
