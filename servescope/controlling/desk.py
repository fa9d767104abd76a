"""What pages are handed of the controller: documents, asked for and changed from any thread."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from controller.modes import PoolState
from controller.refusals import Who
from servescope.controlling.candidate_desk import CandidateDesk
from servescope.controlling.service import Controlling, refused_modes, state_document
from servescope.documents import plain
from store.clock import Clock

Document = dict[str, Any]
DASHBOARD = "dashboard"


class Desk:
    """Never call it on the server's event loop: every change waits for that.

    All changes raise `NotAllowed` (403: nothing is controlled, not rehearsed), `Missing` (404)
    or `Conflict` (409, with `state`, how it stands now) of `controller.refusals`; each is a
    `ServescopeError` with a hint.

    Args:
        controlling: the control loop.
        clock: the time.
    """

    def __init__(self, controlling: Controlling, clock: Clock) -> None:
        self._controlling, self._clock = controlling, clock
        self.candidates = CandidateDesk(controlling, clock)
        """Of policies that are watched beside those that decide."""

    def status(self) -> Document:
        """As GET /controller/status."""
        return self._plain(self._controlling.status())

    def refused_modes(self) -> Document:
        """As GET /controller/modes."""
        return self._plain(refused_modes(self._controlling.orders))

    def explain(self, decision_id: int) -> Document:
        """As GET /controller/decisions/N; takes up to 3 s to find what would flip it."""
        return self._plain(self._controlling.decision(decision_id))

    def rollback_of(self, decision_id: int) -> Document:
        """What a rollback would do."""
        return self._plain(self._controlling.running().rollback_of(decision_id))

    def mode(
        self, pools: Sequence[str], mode: str, by: str, comment: str, expected: int | None = None,
        override: str = "",
    ) -> list[Document]:  # fmt: skip
        """Set the mode of pools; () is all."""
        orders = self._controlling.running()
        who = Who(by, DASHBOARD, comment)
        return self._states(orders.mode(pools, mode, who, expected, override))

    def freeze(
        self, pools: Sequence[str], seconds: float | None, by: str, comment: str = "",
        expected: int | None = None,
    ) -> list[Document]:  # fmt: skip
        """Hold pools as they are; () is all, None is until resumed."""
        orders = self._controlling.running()
        return self._states(orders.freeze(pools, seconds, Who(by, DASHBOARD, comment), expected))

    def resume(
        self, pools: Sequence[str], by: str, comment: str, expected: int | None = None
    ) -> list[Document]:
        """End freezes, and accept what others set; needs a comment."""
        orders = self._controlling.running()
        return self._states(orders.resume(pools, Who(by, DASHBOARD, comment), expected))

    def approve(self, decision_id: int, by: str, comment: str = "") -> Document:
        """Do a decision that waits."""
        orders = self._controlling.running()
        return self._done(orders.approve(decision_id, Who(by, DASHBOARD, comment)))

    def reject(self, decision_id: int, by: str, comment: str = "") -> Document:
        """Do not do a decision that waits."""
        orders = self._controlling.running()
        return self._done(orders.reject(decision_id, Who(by, DASHBOARD, comment)))

    def rollback(
        self, decision_id: int, by: str, comment: str, expected: int | None = None
    ) -> Document:
        """Return a pool to what it was before a decision, and freeze it for 15 minutes."""
        orders = self._controlling.running()
        return self._done(orders.rollback(decision_id, Who(by, DASHBOARD, comment), expected))

    def _states(self, order: Coroutine[Any, Any, list[PoolState]]) -> list[Document]:
        at = self._clock.now().replace(tzinfo=None)
        return [self._plain(state_document(one, at)) for one in self._controlling.tell(order)]

    def _done(self, order: Coroutine[Any, Any, Document]) -> Document:
        return self._plain(self._controlling.tell(order))

    def _plain(self, value: Document) -> Document:
        found: Document = plain(value)
        return found
