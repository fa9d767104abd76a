"""What only the running process knows, for the views that show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from analysis.admin_view import DISCOVERY_SCHEMA
from analysis.clocks import clock_table
from analysis.measure import Measure
from servescope import backups
from store.queries import agents, telemetry

if TYPE_CHECKING:
    from servescope.runtime import Runtime


def measures(runtime: Runtime, view: str) -> Mapping[str, Measure]:
    """Numbers that take the place of the view's own; none for most views."""
    if view == "server":
        return {"shared_ratio": runtime.answers.shared(), **runtime.loop_lag.measures()}
    return _of_the_store(runtime) if view == "admin" else {}


def frames(runtime: Runtime, view: str) -> Mapping[str, pl.DataFrame]:
    """Tables that take the place of the view's own; none for most views."""
    if view == "server":
        return {"pages": runtime.answers.frame()}
    if view != "admin":
        return {}
    return {"discovery": _discovery(runtime), "clocks": _clocks(runtime)}


def _of_the_store(runtime: Runtime) -> dict[str, Measure]:
    size = runtime.database.size_bytes()
    why = "the store is in memory" if size is None else None
    return {
        "write_lag_seconds": Measure(runtime.database.writer.stats().oldest_wait_seconds, "s"),
        "store_bytes": Measure(size, "bytes", why=why),
        "backup_age_seconds": _backup_age(runtime),
    }


def _backup_age(runtime: Runtime) -> Measure:
    settings = runtime.config.store
    if not settings.backup_folder:
        return Measure(None, "s", why="store.backup_folder is not set: nobody backs up")
    age = backups.age_seconds(settings, runtime.clock.now())
    return Measure(age, "s", why=None if age is not None else "there is no backup yet")


def _clocks(runtime: Runtime) -> pl.DataFrame:
    """Clocks beside ours; those of targets as this process measured them."""
    reader = runtime.database.reader
    found = telemetry.targets(reader, runtime.clock.now())
    return clock_table(agents.agents(reader), found, runtime.clocks.known())


def _discovery(runtime: Runtime) -> pl.DataFrame:
    """How the sources of discovery stand, which is kept nowhere."""
    states = runtime.beside.collecting.discovered() if runtime.beside else ()
    rows = [(state.name, state.target_count, state.problem) for state in states]
    return pl.DataFrame(rows, schema=DISCOVERY_SCHEMA, orient="row")
