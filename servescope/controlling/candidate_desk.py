"""What pages are handed of candidates: documents, asked for and changed from any thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from controller.refusals import Who
from servescope.documents import plain
from store.clock import Clock

if TYPE_CHECKING:
    from servescope.controlling.service import Controlling

Document = dict[str, Any]
DASHBOARD = "dashboard"


class CandidateDesk:
    """Never call it on the server's event loop; refusals are those of `Desk`.

    Args:
        controlling: the control loop.
        clock: the time.
    """

    def __init__(self, controlling: Controlling, clock: Clock) -> None:
        self._controlling, self._clock = controlling, clock

    def listed(self) -> Document:
        """As GET /controller/candidates: see `servescope.controlling.candidates`."""
        found: Document = plain(self._controlling.candidates.listed())
        return found

    def compared(self, candidate_id: int, hours: float | None = None) -> Document:
        """As GET /controller/candidates/N; hours None is as long as it was watched."""
        found: Document = plain(self._controlling.candidates.compared(candidate_id, hours))
        return found

    def withdraw(
        self, candidate_id: int, by: str, comment: str = "", expected: int | None = None
    ) -> Document:
        """Do not watch a candidate any more; gives it."""
        candidates, who = self._controlling.candidates, Who(by, DASHBOARD, comment)
        order = candidates.orders().withdraw(candidate_id, who, expected)
        found: Document = plain(self._controlling.tell(candidates.chosen(order)))
        return found

    def adopt(
        self, candidate_id: int, by: str, comment: str, expected: int | None = None,
        override: str = "",
    ) -> Document:  # fmt: skip
        """Let a candidate decide its pools; needs a comment; gives the candidate.

        `expected` is its `version`. Where a pool is active and the candidate was not watched for
        `rehearse_hours`, `override` must be the pool's name.
        """
        candidates, who = self._controlling.candidates, Who(by, DASHBOARD, comment)
        order = candidates.orders().adopt(candidate_id, who, expected, override)
        found: Document = plain(self._controlling.tell(candidates.chosen(order)))
        return found

    def restore_policy(
        self, pools: Sequence[str], by: str, comment: str, expected: int | None = None
    ) -> list[Document]:
        """Let what the configuration names decide again; needs a comment; gives the pools."""
        from servescope.controlling.service import state_document

        candidates, who = self._controlling.candidates, Who(by, DASHBOARD, comment)
        at = self._clock.now().replace(tzinfo=None)
        states = self._controlling.tell(candidates.orders().restore(pools, who, expected))
        return [plain(state_document(one, at)) for one in states]
