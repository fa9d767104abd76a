"""Remembers in the store which objectives were in force."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from concurrent.futures import Future

from analysis.slo_model import Slo
from store import slo_history
from store.database import Database
from store.errors import StoreError

log = logging.getLogger("servescope.slo")


def definition(slo: Slo) -> str:
    """What an objective demands, as JSON; not where it stands nor how it is described."""
    told = dataclasses.asdict(slo)
    del told["where"], told["description"]
    if slo.calendar is None:  # as definitions were kept before there were calendars
        del told["calendar"]
    return json.dumps(told, sort_keys=True)


def keep(database: Database, slos: Sequence[Slo]) -> None:
    """Record definitions that are new; a store that refuses them stops nobody."""
    if not slos:
        return
    texts = {slo.name: definition(slo) for slo in slos}
    try:
        recorded = slo_history.record(database.writer, texts, database.clock.now())
    except StoreError as error:
        _lost(error)
        return
    recorded.add_done_callback(_settle)


def _settle(recorded: Future[int]) -> None:
    error = recorded.exception()
    if error is not None:
        _lost(error)


def _lost(error: BaseException) -> None:
    log.warning("slo_history_lost", extra={"error": str(error)})
