"""The finer mode: every step of every replica taken one by one, with paged caches.

Slow and plain, after vLLM's scheduler: first everything that runs gets its next token, a block at a
time, and the newest is thrown out when no block is left; then what is left of the token budget goes
to prompts in the order of their arrival. It checks the fast mode, and knows what that one rounds
off: blocks, the prefix cache's true order, and every gap between tokens.

Source: vllm-project/vllm, vllm/v1/core/sched/scheduler.py, as of 0.32.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from controller.numbers import Floats
from controller.profile import Profile
from controller.simulator.state import NOBODY
from controller.simulator.workload import Workload

BLOCK_TOKENS = 16


@dataclass(slots=True)
class Job:
    """One request on its way.

    Attributes:
        number: in the workload.
        arrived: seconds.
        prompt: tokens.
        output: tokens it will have.
        out: tokens it has.
        computed: tokens whose keys and values are in the cache.
        blocks: it holds.
        group: NOBODY shares no beginning.
        shared: tokens of that beginning.
    """

    number: int
    arrived: float
    prompt: int
    output: int
    group: int
    shared: int
    out: int = 0
    computed: int = 0
    blocks: int = 0
    first: float = math.nan
    last: float = math.nan
    longest_gap: float = 0.0
    preempted: int = 0
    cached: int = 0


@dataclass(slots=True)
class Replica:
    """One replica; `clock` is when its next step may begin."""

    profile: Profile
    clock: float = 0.0
    waiting: deque[Job] = field(default_factory=deque)
    running: list[Job] = field(default_factory=list)
    prefixes: OrderedDict[int, int] = field(default_factory=OrderedDict)
    cached_blocks: int = 0
    leaving: int = 0

    @property
    def has_work(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self.waiting or self.running)

    def outstanding(self, at: float) -> int:
        """Requests a router counts: what the step that goes on ends has not ended yet."""
        leaving = self.leaving if self.clock > at else 0
        return len(self.waiting) + len(self.running) + leaving

    @property
    def free_blocks(self) -> int:
        """Blocks that nobody needs; those of the prefix cache give way."""
        whole = self.profile.cache_tokens // BLOCK_TOKENS
        return whole - sum(one.blocks for one in self.running)

    def step(self) -> list[Job]:
        """Take one step; gives those that ended with it."""
        decoding = self._decoding()
        budget = self.profile.token_budget - len(decoding)
        work = self._prompts(budget, shares=self.profile.is_chunked or not decoding)
        if work and not self.profile.is_chunked:
            decoding = []
        tokens = sum(work.values())
        cached = sum(one.computed for one in decoding)
        entering = sum(
            one.computed + work[one.number] >= one.prompt + one.out
            for one in self.running
            if one.number in work
        )
        seconds = self.profile.step.seconds(tokens, len(decoding), cached)
        self.clock += seconds + self.profile.request_seconds * entering
        ended = self._book(decoding, work)
        self.leaving = len(ended)
        return ended

    def _decoding(self) -> list[Job]:
        """What decodes in this step, after the cache gave everybody a place for one more token."""
        chosen: list[Job] = []
        for one in list(self.running):
            if one not in self.running or one.computed < one.prompt + one.out - 1 or not one.out:
                continue
            while not self._placed(one, one.prompt + one.out):
                self._throw_out(self.running[-1])
                if one not in self.running:
                    break
            else:
                chosen.append(one)
        return [one for one in chosen if one in self.running]

    def _prompts(self, budget: int, *, shares: bool) -> dict[int, int]:
        """Prompt tokens of this step by request."""
        if not shares and not self._has_prompts():
            return {}
        work: dict[int, int] = {}
        for one in self.running:
            left = one.prompt + one.out - one.computed
            if left > 1 or (left == 1 and one.out == 0):
                take = min(left, budget)
                if take > 0:
                    work[one.number] = take
                    budget -= take
        while self.waiting and budget > 0 and len(self.running) < self.profile.sequences:
            one = self.waiting[0]
            hit = self._hit(one)
            left = one.prompt + one.out - hit
            if not self.profile.is_chunked and work and left > budget:
                break
            if not self._placed(one, one.prompt + one.out + 1):
                break
            self.waiting.popleft()
            self.running.append(one)
            one.computed = one.cached = hit
            self._remember(one)
            take = left if not self.profile.is_chunked else min(left, budget)
            work[one.number] = take
            budget -= take
        return work

    def _has_prompts(self) -> bool:
        return bool(self.waiting) or any(
            one.prompt + one.out - one.computed > 1 for one in self.running
        )

    def _book(self, decoding: list[Job], work: dict[int, int]) -> list[Job]:
        ended = []
        for one in list(self.running):
            take = work.get(one.number, 0)
            if take:
                one.computed += take
                if one.computed < one.prompt + one.out:
                    continue
            elif one in decoding:
                one.computed += 1
            else:
                continue
            one.out += 1
            if math.isnan(one.first):
                one.first = self.clock
            else:
                one.longest_gap = max(one.longest_gap, self.clock - one.last)
            one.last = self.clock
            if one.out >= one.output:
                self.running.remove(one)
                one.blocks = 0
                ended.append(one)
        return ended

    def _placed(self, one: Job, tokens: int) -> bool:
        """Whether the cache has blocks for so many tokens of a request; takes them."""
        more = -(-tokens // BLOCK_TOKENS) - one.blocks
        if more <= 0:
            return True
        if more > self.free_blocks:
            return False
        one.blocks += more
        self._shrink_prefixes()
        return True

    def _throw_out(self, one: Job) -> None:
        self.running.remove(one)
        one.blocks, one.computed = 0, 0
        one.preempted += 1
        self.waiting.appendleft(one)

    def _hit(self, one: Job) -> int:
        """Tokens of its beginning in the prefix cache: whole blocks, never the last token."""
        if one.group == NOBODY or one.group not in self.prefixes:
            return 0
        tokens = min(one.shared, self.prefixes[one.group] * BLOCK_TOKENS, one.prompt - 1)
        return tokens // BLOCK_TOKENS * BLOCK_TOKENS

    def _remember(self, one: Job) -> None:
        if one.group == NOBODY:
            return
        blocks = one.prompt // BLOCK_TOKENS
        self.cached_blocks += blocks - self.prefixes.pop(one.group, 0)
        self.prefixes[one.group] = blocks
        self._shrink_prefixes()

    def _shrink_prefixes(self) -> None:
        while self.prefixes and self.cached_blocks > max(self.free_blocks, 0):
            _, blocks = self.prefixes.popitem(last=False)
            self.cached_blocks -= blocks


@dataclass(frozen=True, slots=True)
class Fine:
    """What became of n requests; seconds, NaN where one never got there.

    Attributes:
        ttft: (n,).
        tpot: (n,) mean time per output token after the first.
        e2e: (n,).
        longest_gap: (n,) between two of its tokens.
        preempted: (n,) times.
        cached: (n,) prompt tokens that were not computed.
    """

    ttft: Floats
    tpot: Floats
    e2e: Floats
    longest_gap: Floats
    preempted: Floats
    cached: Floats


def simulate(workload: Workload, profile: Profile, replicas: int) -> Fine:
    """A fixed fleet, each request to the replica with the fewest."""
    fleet = [Replica(profile) for _ in range(replicas)]
    sequences = [
        Job(number, float(at), int(prompt), int(output), int(group), int(shared))
        for number, (at, prompt, output, group, shared) in enumerate(
            zip(
                workload.arrived, workload.prompt, workload.output, workload.group,
                workload.shared, strict=True,
            )
        )
    ]  # fmt: skip
    for one in sequences:
        for replica in fleet:
            _catch_up(replica, one.arrived)
        least = min(fleet, key=lambda replica: replica.outstanding(one.arrived))
        if not least.has_work:
            least.clock = max(least.clock, one.arrived)
        least.waiting.append(one)
    for replica in fleet:
        _catch_up(replica, math.inf)
    return _told(sequences)


def _catch_up(replica: Replica, until: float) -> None:
    while replica.has_work and replica.clock <= until:
        replica.step()


def _told(sequences: Sequence[Job]) -> Fine:
    def read(name: str) -> Floats:
        return np.array([getattr(one, name) for one in sequences], np.float64)

    arrived, first, last, out = read("arrived"), read("first"), read("last"), read("out")
    return Fine(
        ttft=first - arrived,
        tpot=np.where(out > 1, (last - first) / np.maximum(out - 1, 1), np.nan),
        e2e=last - arrived,
        longest_gap=read("longest_gap"),
        preempted=read("preempted"),
        cached=read("cached"),
    )
