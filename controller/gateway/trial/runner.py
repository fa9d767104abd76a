"""A replica of the fine simulator that jumps over steps in which nothing changes.

While everybody in it decodes, each step takes a little longer than the one before, by the same
amount: when the n-th ends is known without taking the others. Everything else is `fine.Replica`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.gateway.ask import Ask
from controller.gateway.gate import Gate
from controller.profile import Profile
from controller.simulator.fine import BLOCK_TOKENS, Job, Replica


@dataclass(slots=True)
class Stretch:
    """Steps that only decode, the j-th ending at `start + j first + j (j - 1) / 2 growth`."""

    start: float
    first: float
    growth: float
    steps: int
    done: int = 0

    def end(self, steps: int) -> float:
        """When so many are over."""
        return self.start + steps * self.first + steps * (steps - 1) / 2 * self.growth

    def over(self, at: float) -> int:
        """How many are over by then."""
        if at >= self.end(self.steps):
            return self.steps
        passed, half = max(at - self.start, 0.0), self.growth / 2
        slope = self.first - half
        if half * passed < 1e-12 * slope * slope:
            guess = passed / slope
        else:
            guess = (math.sqrt(slope * slope + 4 * half * passed) - slope) / (2 * half)
        steps = min(max(int(guess), self.done), self.steps)
        while steps > self.done and self.end(steps) > at:
            steps -= 1
        while steps < self.steps and self.end(steps + 1) <= at:
            steps += 1
        return steps


class Runner:
    """One replica behind the gate; `ends_at` is when it has to be looked at, inf while idle."""

    def __init__(self, name: str, profile: Profile) -> None:
        self.name = name
        self.replica = Replica(profile)
        self.ends_at = math.inf
        self._asks: dict[int, Ask] = {}
        self._told: dict[int, int] = {}
        self._ended: list[Job] = []
        self._stretch: Stretch | None = None

    @property
    def has_work(self) -> bool:
        """Whether it was handed anything that has not ended."""
        return bool(self._asks)

    def hand(self, ask: Ask, job: Job, now: float) -> None:
        """Give it a request; a step that goes on is finished first."""
        self._asks[job.number], self._told[job.number] = ask, 0
        self.replica.waiting.append(job)
        stretch = self._stretch
        if stretch is not None:
            over = stretch.over(now)
            is_between = over > 0 and stretch.end(over) >= now
            stretch.steps = min(stretch.steps, over if is_between else over + 1)
            self.ends_at = stretch.end(stretch.steps)

    def begin(self, now: float) -> None:
        """Start the next step, or as many as are alike."""
        if not math.isinf(self.ends_at) or not self.replica.has_work:
            return
        self.replica.clock = now
        self._stretch = self._alike()
        if self._stretch is not None:
            self.ends_at = self._stretch.end(self._stretch.steps)
        else:
            self._ended = self.replica.step()
            self.ends_at = self.replica.clock

    def tell(self, gate: Gate, at: float) -> None:
        """Tell the gate of the tokens that came until then, in the middle of a stretch."""
        stretch = self._stretch
        if stretch is None:
            return
        over = stretch.over(at)
        if over > stretch.done:
            self._decode(stretch, over)
            self._produce(gate, self.replica.running, stretch.end(over))

    def end(self, gate: Gate) -> list[tuple[Ask, Job]]:
        """It is `ends_at`: tell of tokens, and of those that ended; gives the latter."""
        at, stretch = self.ends_at, self._stretch
        self.ends_at, self._stretch = math.inf, None
        running = list(self.replica.running)
        if stretch is not None:
            if stretch.steps > stretch.done:
                self._decode(stretch, stretch.steps)
            self._ended = [one for one in running if one.out >= one.output]
            self.replica.running = [one for one in running if one.out < one.output]
        else:
            running += self._ended
        self._produce(gate, running, at)
        over = [(self._asks.pop(one.number), one) for one in self._ended]
        for ask, one in over:
            one.blocks = 0
            del self._told[one.number]
            gate.ended(ask, at)
        self._ended = []
        return over

    def _produce(self, gate: Gate, jobs: list[Job], at: float) -> None:
        told = self._told
        for one in jobs:
            more = one.out - told[one.number]
            if more:
                told[one.number] = one.out
                gate.produced(self._asks[one.number], more, at)

    def _alike(self) -> Stretch | None:
        """The steps until the first ends, if all decode and the cache has blocks for them."""
        replica = self.replica
        if replica.waiting:
            return None
        steps, blocks = min(one.output - one.out for one in replica.running), 0
        cached = 0
        for one in replica.running:
            if not one.out or one.computed != one.prompt + one.out - 1:
                return None
            cached += one.computed
            blocks += -(-(one.computed + steps) // BLOCK_TOKENS)
        if steps < 2 or blocks > replica.profile.cache_tokens // BLOCK_TOKENS:
            return None
        count, times = len(replica.running), replica.profile.step
        growth = times.cached_token_seconds * count
        return Stretch(replica.clock, times.seconds(0, count, cached), growth, steps)

    def _decode(self, stretch: Stretch, over: int) -> None:
        """Book the steps up to the `over`-th in every sequence."""
        replica, more = self.replica, over - stretch.done
        next_at, last_at = stretch.end(stretch.done + 1), stretch.end(over)
        longest = stretch.first + (over - 1) * stretch.growth if more > 1 else 0.0
        for one in replica.running:
            one.computed += more
            one.out += more
            one.blocks = max(one.blocks, -(-one.computed // BLOCK_TOKENS))
            one.longest_gap = max(one.longest_gap, next_at - one.last, longest)
            one.last = last_at
        stretch.done = over
        replica.clock = last_at
        replica._shrink_prefixes()
