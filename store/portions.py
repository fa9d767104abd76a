"""How much of a backlog is worked off at a time: appends wait for the end of each portion."""

from __future__ import annotations

PORTION_SECONDS = 1.0
"""A portion that takes longer keeps appends waiting; the next ones are half as large."""
HELPED_SHARE = 0.75
"""Of the time before: a half that takes more of it is slow for another reason than its rows."""


class PortionSize:
    """The size of the next portion, by how long the ones before took.

    Half as large after a slow one. Where that does not help, because each portion costs much
    whatever is in it (on a lake each statement asks a database), smaller ones would only be more of
    them: then it goes back, and stays.

    Args:
        most: of the first, and of any.
        least: of any.
    """

    def __init__(self, most: int, least: int) -> None:
        self.now = most
        self._least = least
        self._before: tuple[int, float] | None = None
        self._is_settled = False

    def took(self, seconds: float) -> None:
        """A portion of this size took so long."""
        before, self._before = self._before, None
        if self._is_settled or seconds <= PORTION_SECONDS:
            return
        if before is not None and seconds > before[1] * HELPED_SHARE:
            self.now, self._is_settled = before[0], True
            return
        self._before = (self.now, seconds)
        self.now = max(self._least, self.now // 2)
