"""One engine under two addresses: its work would be counted twice.

Two targets are one process when they name the same start time and the CPU seconds of one always lie
between two readings of the other. Start times alone may coincide.
"""

from __future__ import annotations

from dataclasses import dataclass

from collector.model import Scrape
from collector.trust.grades import Verdict

_CONFIRMED = 3
_ADVICE = "Remove one of the two targets: their requests and tokens are counted twice."


@dataclass(slots=True)
class _Process:
    start_seconds: float
    cpu_seconds: float
    before_seconds: float


class Duplicates:
    """Watches all targets for entries of the same process."""

    def __init__(self) -> None:
        self._seen: dict[int, _Process] = {}
        self._by_start: dict[float, set[int]] = {}
        self._agreed: dict[tuple[int, int], int] = {}

    def look(self, scrape: Scrape) -> int | None:
        """The target with a smaller id that is the same process; None when there is none."""
        told = {sample.signal: sample.value for sample in scrape.samples}
        start = told.get("engine_start_unix_seconds")
        cpu = told.get("process_cpu_seconds_total")
        if start is None or cpu is None:
            return None
        mine = scrape.target_id
        self._remember(mine, start, cpu)
        for other in sorted(self._by_start[start]):
            if other < mine and self._same(mine, other):
                return other
        return None

    def forget(self, target_id: int) -> None:
        """Drop a target that is gone."""
        gone = self._seen.pop(target_id, None)
        if gone is not None:
            self._by_start[gone.start_seconds].discard(target_id)
            if not self._by_start[gone.start_seconds]:
                del self._by_start[gone.start_seconds]
        self._agreed = {
            pair: count for pair, count in self._agreed.items() if target_id not in pair
        }

    def _remember(self, target_id: int, start: float, cpu: float) -> None:
        known = self._seen.get(target_id)
        if known is None or known.start_seconds != start:
            self.forget(target_id)
            self._seen[target_id] = _Process(start, cpu, cpu)
            self._by_start.setdefault(start, set()).add(target_id)
        else:
            known.before_seconds, known.cpu_seconds = known.cpu_seconds, cpu

    def _same(self, mine: int, other: int) -> bool:
        here, there = self._seen[mine], self._seen[other]
        # Scraped in turns: each reading of one process lies between two of the other.
        between = here.before_seconds <= there.cpu_seconds <= here.cpu_seconds
        moved = here.before_seconds < here.cpu_seconds
        agreed = self._agreed.get((mine, other), 0)
        agreed = (agreed + moved) if between else 0
        self._agreed[mine, other] = agreed
        return agreed >= _CONFIRMED


def duplicate(other: str) -> Verdict:
    """The verdict on a second entry of the process behind the target `other`."""
    return Verdict(
        "two_scrapers",
        f"It is the same process as {other}: same start, same CPU time.",
        _ADVICE,
        "duplicate",
    )
