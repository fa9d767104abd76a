"""The trial itself: requests, the real gate, simulated replicas, in virtual time.

    from controller.gateway.trial.requests import Requests, predicted
    from controller.gateway.trial.trial import Clients, ReplicaPlan, trial

    requests = Requests.of(arrived, tenant, prompt, output, expected=predicted(output, 0.5))
    policies = Policies(line, way, rules, places)
    result = trial(requests, policies, [ReplicaPlan("a", profile, seats=32)])
    np.nanquantile(result.ttft, 0.99); result.tokens_per_second(); result.refused

Everything happens in this order when times are equal: steps end, replicas come and go, requests
arrive, requests are handed out, steps begin. The same arguments give the same result.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from controller.gateway.admission.base import Refusal
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance, Pace, Sight, Starting
from controller.gateway.gate import Gate, GateLimits, Policies
from controller.gateway.paces import Paces
from controller.gateway.retry_after import RetryAfter as Promising
from controller.gateway.trial.requests import MODEL, Requests
from controller.gateway.trial.result import Refused, TrialResult
from controller.gateway.trial.runner import Runner
from controller.profile import Profile
from controller.simulator.fine import BLOCK_TOKENS, Job
from store.errors import ControllerError

RetryAfter = Callable[[Refusal, Sight], float | None]
Watch = Callable[[Gate, float], None]
# Clients of OpenAI's and Anthropic's kind: waits longer than this are not honoured.
LONGEST_HONOURED_SECONDS = 60.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, JITTER_RATIO = 0.5, 8.0, 0.25
_COMES, _READY, _LEAVES, _ARRIVES, _TIRED, _LOOKS = range(6)
_MOST_LOOKS = 1_000_000


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """A replica and its time.

    Attributes:
        name: unique.
        profile: what it can do.
        seats: requests it is given at once; None is as many as its profile decodes.
        announced_at: when the gate hears that it starts, seconds.
        ready_at: when it serves.
        leaves_at: when it gets no more requests; what it has, it ends.
        said_ready_at: when it was said to be ready, at the announcement; None is the truth.
        said_late_at: by when nine times in ten; None is the same.
        knows_pace: whether the gate is told how fast it is.
        knows_cache: whether the gate is told how much it holds.
    """

    name: str
    profile: Profile
    seats: int | None = None
    announced_at: float = 0.0
    ready_at: float = 0.0
    leaves_at: float = math.inf
    said_ready_at: float | None = None
    said_late_at: float | None = None
    knows_pace: bool = True
    knows_cache: bool = True

    @property
    def all_seats(self) -> int:
        """Seats, told or by the profile."""
        return self.profile.sequences if self.seats is None else self.seats

    def starting(self) -> Starting:
        """As the gate hears of it."""
        said = self.ready_at if self.said_ready_at is None else self.said_ready_at
        return Starting(
            said, said if self.said_late_at is None else self.said_late_at, self.all_seats
        )

    def instance(self) -> Instance:
        """As it joins the gate."""
        step = self.profile.step
        known = Pace(
            step.prompt_token_seconds, step.fixed_seconds + step.decoding_seconds,
            step.sequence_seconds,
        )  # fmt: skip
        return Instance(
            self.name, f"http://{self.name}", ready_since=self.ready_at, seats=self.all_seats,
            cache_tokens=self.profile.cache_tokens if self.knows_cache else None,
            pace=known if self.knows_pace else None,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clients:
    """What a client does that is told no.

    Attributes:
        most_retries: 0 gives up at once; SDKs have 2.
        honours: whether it waits as long as it is told (up to a minute); else, and where nothing
            was told, 0.5 s and twice as long each time, up to 8 s, less up to a quarter.
        seed: of that quarter.
    """

    most_retries: int = 0
    honours: bool = True
    seed: int = 0


def trial(
    requests: Requests,
    policies: Policies,
    replicas: Sequence[ReplicaPlan],
    *,
    clients: Clients | None = None,
    limits: GateLimits | None = None,
    retry_after: RetryAfter | None = None,
    promises: Promising | None = None,
    paces: Paces | None = None,
    watch: Watch | None = None,
    told_every_seconds: float = 0.0,
    look_every_seconds: float = 0.1,
) -> TrialResult:
    """Replay requests through the gate.

    Args:
        requests: who asks for what, when.
        policies: fresh ones: they keep what they learnt.
        replicas: at least one that is ready some time.
        clients: what refused ones do; by default they give up.
        limits: of the gate's queue; by default 1,000,000 requests each, as a trial looks at lines.
        retry_after: what a refused client is told, seconds; by default what the gate tells.
        promises: the gate's own; a fresh one by default.
        paces: learns how fast replicas are; by default nobody does.
        watch: called after everything that happened at one time, with the gate and the time.
        told_every_seconds: 0 tells the gate of every token before anything is decided; more tells
            of the tokens of other replicas at most so often, which is faster with many.
        look_every_seconds: how often it is tried again where a replica has room and requests wait,
            but the line or the way wants to wait.

    Raises:
        ControllerError: a request fits no replica, or no replica ever comes.
    """
    for plan in replicas:
        _fits(requests, plan)
    if not replicas:
        raise ControllerError("a trial needs a replica")
    most = 1_000_000
    gate = Gate(policies, limits or GateLimits(most, most), promises, paces)
    run = _Run(
        requests, gate, replicas, clients or Clients(), retry_after, watch,
        told_every_seconds, look_every_seconds,
    )  # fmt: skip
    return run.all()


def _fits(requests: Requests, plan: ReplicaPlan) -> None:
    longest = int((requests.prompt + requests.output).max(initial=0))
    if longest + 2 * BLOCK_TOKENS > plan.profile.cache_tokens:
        raise ControllerError(
            f"a request of {longest:,} tokens fits no cache of {plan.profile.cache_tokens:,}",
            hint=f"give replica {plan.name} a larger cache_tokens, or leave such requests out",
        )


class _Run:
    """One trial on its way."""

    def __init__(
        self,
        requests: Requests,
        gate: Gate,
        plans: Sequence[ReplicaPlan],
        clients: Clients,
        retry_after: RetryAfter | None,
        watch: Watch | None,
        told_every: float,
        look_every: float,
    ) -> None:
        n = len(requests)
        self.requests, self.gate, self.clients = requests, gate, clients
        self.retry_after, self.watch = retry_after, watch
        self.told_every, self.look_every, self.told_at = told_every, look_every, -math.inf
        self.dice = np.random.default_rng(clients.seed)
        self.plans = {plan.name: plan for plan in plans}
        self.runners: dict[str, Runner] = {}
        self.events: list[tuple[float, int, int, str, int]] = []
        self.looks, self.looks_at = 0, math.inf
        self.asks: dict[int, Ask] = {}
        self.entered, self.started, self.first, self.end, self.gap = np.full((5, n), np.nan)
        self.replica = [""] * n
        self.cached, self.tries = np.zeros((2, n), np.int64)
        self.gave_up, self.left = np.zeros((2, n), np.bool_)
        self.refused: list[Refused] = []
        self.last = 0.0

    def all(self) -> TrialResult:
        for plan in self.plans.values():
            if plan.announced_at < plan.ready_at:
                self._later(plan.announced_at, _COMES, plan.name)
            self._later(plan.ready_at, _READY, plan.name)
            if not math.isinf(plan.leaves_at):
                self._later(max(plan.leaves_at, plan.ready_at), _LEAVES, plan.name)
        for number, at in enumerate(self.requests.arrived):
            self._later(float(at), _ARRIVES, "", number)
        while True:
            at = min((one.ends_at for one in self.runners.values()), default=math.inf)
            if self.events:
                at = min(at, self.events[0][0])
            if math.isinf(at):
                return self._told()
            self._at(at)

    def _at(self, at: float) -> None:
        """Everything that happens at one time."""
        for runner in list(self.runners.values()):
            if runner.ends_at <= at:
                self._ended(runner, at)
        is_told = at - self.told_at < self.told_every
        while self.events and self.events[0][0] <= at:
            _, kind, number, name, attempt = heapq.heappop(self.events)
            if kind == _ARRIVES and not is_told:
                self._tell(at)
                is_told = True
            self._happens(kind, at, number, name, attempt)
        self._hand_out(at)
        for runner in self.runners.values():
            runner.begin(at)
        if self.watch is not None:
            self.watch(self.gate, at)

    def _tell(self, at: float) -> None:
        self.told_at = at
        for runner in self.runners.values():
            runner.tell(self.gate, at)

    def _ended(self, runner: Runner, at: float) -> None:
        for ask, job in runner.end(self.gate):
            number = ask.number
            del self.asks[number]
            self.first[number], self.end[number] = job.first, job.last
            self.gap[number], self.cached[number] = job.longest_gap, job.cached
            self.last = max(self.last, at)
        if not runner.has_work and runner.name not in self.gate.instances:
            del self.runners[runner.name]

    def _happens(self, kind: int, at: float, number: int, name: str, attempt: int) -> None:
        if kind == _ARRIVES:
            self._arrives(number, at, attempt)
        elif kind == _TIRED:
            ask = self.asks.get(number)
            if ask is not None and self.gate.left(ask, at):
                self.left[number] = True
                del self.asks[number]
        elif kind == _READY:
            plan = self.plans[name]
            self.gate.join(plan.instance())
            self.runners[name] = Runner(name, plan.profile)
            self._announce(at)
        elif kind == _COMES:
            self._announce(at)
        elif kind == _LEAVES:
            self.gate.leave(name)
            if not self.runners[name].has_work:
                del self.runners[name]
        else:
            self.looks_at = math.inf

    def _announce(self, at: float) -> None:
        self.gate.starting = tuple(
            plan.starting()
            for plan in self.plans.values()
            if plan.announced_at <= at < plan.ready_at
        )

    def _arrives(self, number: int, at: float, attempt: int) -> None:
        ask = self.requests.ask(number, at)
        self.tries[number] = attempt
        refusal = self.gate.arrive(ask, at)
        if refusal is not None:
            self._refuse(number, at, attempt, refusal)
            return
        self.asks[number] = ask
        self.entered[number] = at
        if not math.isinf(ask.deadline):
            self._later(max(ask.deadline, at), _TIRED, "", number)

    def _refuse(self, number: int, at: float, attempt: int, refusal: Refusal) -> None:
        told = refusal.wait_seconds
        if self.retry_after is not None:
            told = self.retry_after(refusal, self.gate.sight(MODEL, at))
        again = None
        if attempt <= self.clients.most_retries:
            again = at + self._wait(told, attempt)
            self._later(again, _ARRIVES, "", number, attempt + 1)
        else:
            self.gave_up[number] = True
        self.refused.append(Refused(number, at, refusal.code, told, attempt, again))

    def _wait(self, told: float | None, attempt: int) -> float:
        if self.clients.honours and told is not None and 0 < told <= LONGEST_HONOURED_SECONDS:
            return told
        wait = min(FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1), LONGEST_WAIT_SECONDS)
        return wait * (1 - JITTER_RATIO * float(self.dice.random()))

    def _hand_out(self, at: float) -> None:
        if not self.gate.waiting:
            return
        for ask, instance in self.gate.starts(at):
            number = ask.number
            self.started[number], self.replica[number] = at, instance.name
            job: Job = self.requests.job(number, at)
            self.runners[instance.name].hand(ask, job, at)
        is_open = any(one.free_seats for one in self.gate.instances.values())
        if self.gate.waiting and is_open and math.isinf(self.looks_at):
            self._look_again(at)

    def _look_again(self, at: float) -> None:
        self.looks += 1
        if self.looks > _MOST_LOOKS:
            raise ControllerError(
                f"at {at:.0f} s requests wait and replicas are free, but nobody is handed out",
                hint="the line, a place or the way waits for ever",
            )
        self.looks_at = at + self.look_every
        self._later(self.looks_at, _LOOKS)

    def _later(
        self, at: float, kind: int, name: str = "", number: int = 0, attempt: int = 1
    ) -> None:
        heapq.heappush(self.events, (at, kind, number, name, attempt))

    def _told(self) -> TrialResult:
        if self.gate.waiting:
            raise ControllerError(
                f"{len(self.gate.waiting):,} requests wait and no replica is left to serve them",
                hint="let one stay (leaves_at), or give the requests patience_seconds",
            )
        return TrialResult(
            self.requests, self.entered, self.started, self.first, self.end, self.gap,
            tuple(self.replica), self.cached, self.tries, self.gave_up, self.left,
            tuple(self.refused), self.gate.counted, self.last,
        )  # fmt: skip
