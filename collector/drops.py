"""What the doors refused or left out: counted by door and reason, so that nothing goes unseen.

Every part that takes data from outside adds here; the process that holds the store takes the counts
from time to time and keeps them (`store.drops`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

MOST_REASONS = 1_000
MOST_CHARACTERS = 200
OTHER = "another reason (too many different ones to list)"


@dataclass(frozen=True, slots=True)
class Drop:
    """Things that one door did not take, for one reason.

    Args:
        door: where they came in: `scrape`, `otlp`, `remote_write`, `requests`, `agent`.
        reason: one line for people; a fixed text, never the sender's own words.
        count: how many, > 0.
        example: one of them, shortened; empty when there is nothing to show.
    """

    door: str
    reason: str
    count: int
    example: str = ""


class Drops:
    """Counts of what was not taken; any thread may add.

    Args:
        most_reasons: different (door, reason) pairs that are told apart; the rest are counted
            under one reason of their door.
    """

    def __init__(self, most_reasons: int = MOST_REASONS) -> None:
        self._most_reasons = most_reasons
        self._lock = Lock()
        self._waiting: dict[tuple[str, str], tuple[int, str]] = {}
        self._totals: dict[tuple[str, str], int] = {}

    def add(self, door: str, reason: str, count: int = 1, example: str = "") -> None:
        """Count things that were not taken; a count below 1 changes nothing."""
        if count < 1:
            return
        with self._lock:
            key = (door, reason[:MOST_CHARACTERS])
            if key not in self._totals and len(self._totals) >= self._most_reasons:
                key = (door, OTHER)
            self._totals[key] = self._totals.get(key, 0) + count
            self._wait(key, count, example)

    def take(self) -> list[Drop]:
        """What was counted since the last time, handed over once; sorted."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        return [Drop(*key, *told) for key, told in sorted(waiting.items())]

    def put_back(self, drops: Iterable[Drop]) -> None:
        """Return what was taken and could not be kept; the totals stay as they are."""
        with self._lock:
            for drop in drops:
                self._wait((drop.door, drop.reason), drop.count, drop.example)

    def totals(self) -> dict[tuple[str, str], int]:
        """(door, reason) -> how many since the start."""
        with self._lock:
            return dict(self._totals)

    def _wait(self, key: tuple[str, str], count: int, example: str) -> None:
        known, shown = self._waiting.get(key, (0, ""))
        self._waiting[key] = (known + count, shown or _plain(example))


def _plain(text: str) -> str:
    """One short line that can be shown and stored, whatever came in."""
    line = "".join(sign if sign.isprintable() else " " for sign in text[:MOST_CHARACTERS])
    return line.encode("utf-8", "replace").decode()
