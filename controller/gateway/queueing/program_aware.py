"""Least attained service by program: a conversation or agent that had little lately goes first.

    score = 0.8 (1 - service / most service) + 0.2 (wait of its first request / longest wait)

Service fades by half every `half_life_seconds`. A request without session counts for its tenant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT, LineSpec, Room
from controller.gateway.queueing.by_tenant import ByTenant
from controller.gateway.queueing.fifo import Fifo, arrival
from controller.gateway.queueing.lanes import Lanes
from controller.gateway.queueing.ranking import Key
from store.errors import ControllerError

SOURCE = "llm-d/llm-d-inference-scheduler, program-aware scorer"
LOOKED_AT = 64
MOST_DOUBLED = 200.0


def program_of(ask: Ask) -> str:
    """Tenant and session: nobody names another's session."""
    return f"{ask.tenant}\0{ask.session}"


class Attained:
    """Service by program that fades. Kept as it would be later, so that fading moves nobody."""

    def __init__(self, half_life_seconds: float) -> None:
        self._half_life, self._since = half_life_seconds, math.nan
        self._value: dict[str, float] = {}

    def __call__(self, program: str) -> float:
        """Comparable with those of other programs, not with those of another time."""
        return self._value.get(program, 0.0)

    def add(self, program: str, service: float, now: float) -> bool:
        """It had more; tells whether all values were made anew, in the same order."""
        if math.isnan(self._since):
            self._since = now
        doubled = (now - self._since) / self._half_life
        is_anew = doubled > MOST_DOUBLED
        if is_anew:
            # What is left of it after so long is nothing: it is forgotten.
            scale = 2.0 ** -min(doubled, 1000.0)
            faded = {name: value * scale for name, value in self._value.items()}
            self._value = {name: value for name, value in faded.items() if value > 1.0}
            self._since, doubled = now, 0.0
        self._value[program] = self._value.get(program, 0.0) + service * 2.0**doubled
        return is_anew


class _Lane:
    """Programs by service, and by the wait of their first request."""

    def __init__(self, attained: Attained, service_share: float) -> None:
        self._attained, self._service_share = attained, service_share
        self.by_service = ByTenant(Fifo, attained, program_of)
        self._by_wait = ByTenant(Fifo, lambda program: 0.0, program_of)

    def __len__(self) -> int:
        return len(self.by_service)

    def put(self, ask: Ask, now: float) -> None:
        self.by_service.put(ask)
        self._by_wait.put(ask)

    def drop(self, ask: Ask) -> bool:
        return self.by_service.drop(ask) and self._by_wait.drop(ask)

    def key(self, ask: Ask) -> Key:
        return (self._attained(program_of(ask)), *arrival(ask))

    def candidates(self, room: Room, now: float) -> Iterator[Ask]:
        """The best score; read from both ends of what is sorted until nobody can be better."""
        waits, served = self._by_wait.ranking, self.by_service.ranking
        first = waits.first()
        if first is None:
            return iter(())
        longest = max(now - self._by_wait.head(first).arrived, 1e-9)
        most = max(self._attained(served.last() or ""), 1e-9)

        def score(name: str) -> float:
            wait = (now - self._by_wait.head(name).arrived) / longest
            less = 1 - self._attained(name) / most
            return self._service_share * less + (1 - self._service_share) * wait

        best, best_score = first, -math.inf
        for depth, (a, b) in enumerate(zip_longest(served, waits, fillvalue=first)):
            for name in (a, b):
                if (found := score(name)) > best_score + 1e-12:
                    best, best_score = name, found
            least, late = self._attained(a) / most, self._by_wait.head(b).arrived
            hope = self._service_share * (1 - least)
            hope += (1 - self._service_share) * (now - late) / longest
            if best_score >= hope or depth >= LOOKED_AT:
                break
        return iter((self.by_service.head(best),))


class ProgramAware:
    """See the head of this module."""

    def __init__(self, half_life_seconds: float = 60.0, service_share: float = 0.8) -> None:
        """Set how service fades.

        Args:
            half_life_seconds: after which half of it is forgotten.
            service_share: of the score; the rest is the wait.

        Raises:
            ControllerError: a value out of range.
        """
        if not 0 < half_life_seconds < float("inf"):
            raise ControllerError(f"half_life_seconds must be above 0, not {half_life_seconds}")
        if not 0 <= service_share <= 1:
            raise ControllerError(f"service_share must be 0 to 1, not {service_share}")
        self.spec = LineSpec(
            "program-aware", "Least attained service by program", SOURCE,
            {"half_life_seconds": half_life_seconds, "service_share": service_share},
        )  # fmt: skip
        self._attained = Attained(half_life_seconds)
        self._lanes = Lanes(lambda: _Lane(self._attained, service_share))

    def put(self, ask: Ask, now: float) -> None:
        """Behind those of its program."""
        self._lanes.put(ask, now)

    def take(self, room: Room, now: float) -> Ask | None:
        """Of the program with the best score, the first."""
        ask = self._lanes.take(room, now)
        if ask is not None:
            self._add(ask, INPUT_WEIGHT * ask.input_tokens, now)
        return ask

    def drop(self, ask: Ask) -> bool:
        """Forget it."""
        return self._lanes.drop(ask)

    def served(self, ask: Ask, output_tokens: int, *, is_over: bool, now: float) -> None:
        """Count what came."""
        if output_tokens:
            self._add(ask, OUTPUT_WEIGHT * output_tokens, now)

    def _add(self, ask: Ask, service: float, now: float) -> None:
        program = program_of(ask)
        is_anew = self._attained.add(program, service / ask.weight, now)
        for lane in self._lanes:
            ranking = lane.by_service.ranking
            for name in list(ranking) if is_anew else (program,):
                ranking.touch(name)
