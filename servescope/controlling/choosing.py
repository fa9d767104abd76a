"""Candidates of a server's control loop: read from any thread, told what people want."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from controller.refusals import NotAllowed
from servescope.config import Config
from servescope.controlling.candidates import (
    candidate_told,
    candidates_document,
    compare_document,
)
from store.clock import Clock
from store.database import Database

if TYPE_CHECKING:
    from controller.adopting import CandidateOrders
    from controller.loop import Loop

NO_POOLS = "configure [[controller.pool]] and start `servescope up`; see docs/controller.md"


class Choosing:
    """Which policy decides, and which are watched beside it.

    Args:
        database: the store.
        clock: the time.
        config: the whole configuration.
    """

    def __init__(self, database: Database, clock: Clock, config: Config) -> None:
        self._database, self._clock, self._config = database, clock, config
        self._loop: Loop | None = None
        self._orders: CandidateOrders | None = None

    def begin(self, loop: Loop, orders: CandidateOrders) -> None:
        """A control loop runs now, and takes orders."""
        self._loop, self._orders = loop, orders

    def orders(self) -> CandidateOrders:
        """What takes orders about candidates, on the loop's own event loop.

        Raises:
            NotAllowed: no pool is configured, or this process does not control any.
        """
        if self._orders is None:
            raise NotAllowed("nothing is controlled here", hint=NO_POOLS)
        return self._orders

    async def chosen(self, order: Coroutine[Any, Any, Mapping[str, Any]]) -> dict[str, Any]:
        """What an order about a candidate gives, as people are told of candidates."""
        return candidate_told(await order, self._loop)

    def listed(self) -> dict[str, Any]:
        """All candidates: see `candidates_document`."""
        return candidates_document(self._database.reader, self._loop)

    def compared(self, candidate_id: int, hours: float | None = None) -> dict[str, Any]:
        """A candidate beside the policy that decides: see `compare_document`.

        With adopt_refused: why, hint and override (what is typed to adopt it all the same, "" where
        nothing helps); None where it may be adopted, or cannot be here for other reasons.

        Raises:
            Missing: there is none.
        """
        from servescope.controlling import assembly

        reader, scrape = self._database.reader, self._config.collector.scrape_interval_seconds
        eyes = assembly.eyes_of(self._config.controller, reader, self._clock, scrape)
        found = compare_document(reader, self._clock, self._loop, candidate_id, hours, eyes)
        return {**found, "adopt_refused": self._refused(candidate_id)}

    def _refused(self, candidate_id: int) -> dict[str, str] | None:
        refusal = None if self._orders is None else self._orders.refusal(candidate_id)
        if refusal is None:
            return None
        error, override = refusal
        return {"why": error.message, "hint": error.hint or "", "override": override}
