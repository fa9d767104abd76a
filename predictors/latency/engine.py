"""An engine with continuous batching, as six numbers.

One step takes `base + per_sequence n + per_prefill_token p + per_context_token c` seconds, for n
sequences, p prompt tokens and c tokens in the cache; it puts out a token for each sequence and has
room for `budget` tokens, so that p <= budget - n. At most `slots` sequences run; who waits enters
in the order of arrival when there is room in the budget and a slot.

The wait for the first token is therefore the longer of two: until the prompt tokens ahead have
passed through the budget, and until as many running requests have ended as slots are missing. How
long running requests go on is a matter of chance, which gives the wait its spread.

Sources: step times linear in batch terms as in HyGen (2025) and TimeBill (2025); budgeted mixed
steps: Agrawal et al. (2024), Sarathi-Serve, OSDI; slots, ages and limits: our own derivation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats
from predictors.latency.features import REPRESENTATIVES, State
from predictors.latency.life import Lives, ended_within

Groups = npt.NDArray[np.int64]

NAMES = ("overhead", "base", "per_sequence", "per_prefill_token", "per_context_token", "budget")
OVERHEAD, BASE, PER_SEQUENCE, PER_PREFILL, PER_CONTEXT, BUDGET = range(6)
# Of an engine that says nothing: vLLM's limit before it grew with the card.
DEFAULT_SLOTS = 256.0
# Normal quantile at 0.9: spreads of waits are told as those of the 0.1 and the 0.9 quantile.
Z90 = 1.2816
# Logarithms of steps: first every octave up to 32 768, then around what was found.
_COARSE = np.arange(16) * np.log(2)
_FINE = np.linspace(-0.35, 0.35, 6)
_SEGMENTS = 8
# The mean over fewer requests says little about the next.
_FEW = 4


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is known of g groups of like engines.

    Attributes:
        logs: (g, 6) natural logarithms of `NAMES`.
        slots: (g,) where no row says.
        capacities: (g,) tokens that the cache holds where no row says; infinite unknown.
        prompts: (g,) mean prompt tokens.
        lives: survival of output lengths.
    """

    logs: Floats
    slots: Floats
    capacities: Floats
    prompts: Floats
    lives: Lives


@dataclass(frozen=True, slots=True)
class Wait:
    """Of n questions, each (n,).

    Attributes:
        seconds: to the first token, expected.
        low: log of the 0.1 quantile over it, <= 0: the chance in when slots come free alone.
        high: log of the 0.9 quantile over it, >= 0.
        budget_steps: until the prompts ahead have passed.
        slot_steps: until enough slots are free.
        missing: slots that have to come free first.
    """

    seconds: Floats
    low: Floats
    high: Floats
    budget_steps: Floats
    slot_steps: Floats
    missing: Floats


def completed(state: State, fleet: Fleet, group: Groups) -> State:
    """The state with its unknown parts filled by what is usual."""
    prompts = fleet.prompts[group]
    ages = fleet.lives.ages(group, REPRESENTATIVES)
    generated = np.where(np.isnan(state.generated), ages, state.generated)
    used = state.usage * state.capacity
    each = prompts + generated.mean(axis=1)
    context = _known(state.context, _known(used, state.running * each))
    capacity = _known(state.capacity, fleet.capacities[group])
    slots = _known(state.slots, fleet.slots[group])
    # A cache that is full before the slots are is the tighter limit.
    mean = np.where(state.running > _FEW, context / np.maximum(state.running, 1.0), each)
    slots = np.minimum(slots, capacity / np.maximum(mean, 1.0))
    return replace(
        state,
        generated=generated,
        # The limit of an engine that has more in its batch is not that limit.
        slots=np.maximum(slots, np.maximum(state.running, 1.0)),
        ahead=np.where(np.isnan(state.ahead), state.waiting * prompts, state.ahead),
        context=context,
    )


def wait(logs: Floats, state: State, lives: Lives, group: Groups) -> Wait:
    """The time to the first token.

    Args:
        logs: (n, 6) parameters of each row.
        state: n completed rows.
        lives: survival of output lengths.
        group: (n,) curve of each row.
    """
    overhead, base, per_sequence, per_prefill, per_context, budget = np.exp(logs).T
    free = np.maximum(state.slots - state.running, 0.0)
    entering = np.minimum(state.waiting, free)
    missing = np.maximum(state.waiting + 1 - free, 0.0)
    budget_steps, room = _budget_steps(state, entering, budget)
    taken = entering, budget_steps / 2
    slot_steps, low, high = _slot_steps(state, lives, group, missing, taken)
    steps = np.maximum(np.maximum(budget_steps, slot_steps) + state.own / room, 1.0)

    def seconds(steps: Floats) -> Floats:
        half = state.running + entering / 2
        first = np.minimum(budget_steps, steps)
        batch = np.where(missing > 0, (first * half + (steps - first) * state.slots) / steps, half)
        # Running requests grow until they end and give their tokens back.
        grown = batch * steps / 2 * np.exp(-steps / lives.means[group])
        cache = state.context + state.ahead / 2 + grown
        step = base + per_sequence * batch + per_context * cache
        return np.asarray(
            overhead + steps * step + per_prefill * (state.ahead + state.own), dtype=np.float64
        )

    middle = seconds(steps)
    if not (missing > 0).any():
        even = np.zeros(len(middle))
        return Wait(middle, even, even, budget_steps, slot_steps, missing)

    def over(other: Floats) -> Floats:
        most = np.maximum(np.maximum(budget_steps, other) + state.own / room, 1.0)
        return np.asarray(np.log(seconds(most) / middle), dtype=np.float64)

    return Wait(middle, over(low), over(high), budget_steps, slot_steps, missing)


def step_seconds(logs: Floats, running: Floats, prefill: Floats, context: Floats) -> Floats:
    """Length of a step with a batch: (n,) seconds."""
    _, base, per_sequence, per_prefill, per_context, _ = np.exp(logs).T
    return np.asarray(
        base + per_sequence * running + per_prefill * prefill + per_context * context,
        dtype=np.float64,
    )


def mean_step_seconds(
    logs: Floats, state: State, fleet: Fleet, group: Groups, tokens: Floats
) -> Floats:
    """Mean seconds between tokens over the next `tokens` steps, arrivals going on as lately.

    Args:
        logs: (n, 6) parameters of each row.
        state: n completed rows.
        fleet: what is usual.
        group: (n,) of each row.
        tokens: (n,) output tokens of the request asked about, > 0.
    """
    lives, prompts = fleet.lives, fleet.prompts[group]
    total = state.running + state.waiting + 1
    running = np.minimum(total, state.slots)
    context = state.context + state.own
    arrivals = np.nan_to_num(state.arrivals)
    ended_before = later = seconds = np.zeros(len(state))
    edges = np.linspace(0.0, 1.0, _SEGMENTS + 1) ** 1.5
    for start, end in pairwise(edges.tolist()):
        steps = tokens * (end - start)
        took = steps * step_seconds(logs, running, np.zeros(len(state)), context)
        come = arrivals * took
        seconds = seconds + took + np.exp(logs[:, PER_PREFILL]) * come * prompts
        until = (tokens * end)[:, None]
        share = ended_within(lives, group, state.generated, state.left, until)[0][:, 0]
        of_later = later * (1 - np.exp(-steps / lives.means[group]))
        gone = state.running * share - ended_before + of_later
        ended_before = state.running * share
        total = np.maximum(total + come - gone, 1.0)
        next_running = np.minimum(total, state.slots)
        later = later - of_later + np.maximum(next_running - (running - gone), 0.0)
        context = context + running * steps - gone * (prompts + lives.means[group])
        context = np.clip(context, next_running * prompts / 2, next_running * (prompts + tokens))
        running = next_running
    return np.asarray(seconds / tokens, dtype=np.float64)


def _budget_steps(state: State, entering: Floats, budget: Floats) -> tuple[Floats, Floats]:
    """(steps until the prompts ahead have passed, room for prompt tokens in a step then)."""
    before = np.maximum(budget - state.running, 1.0)
    after = np.maximum(budget - state.running - entering, 1.0)
    mean = state.ahead / np.maximum(state.waiting, 1.0)
    # Each that enters takes one token of the budget from then on: a sum of 1 / room.
    rising = mean * np.log(before / after)
    steps = np.where(entering > 0.5, rising, 0.0)
    # Prompts with no slot yet follow at the room that is left then.
    return steps + np.maximum(state.ahead - mean * entering * (entering > 0.5), 0.0) / after, after


@dataclass(frozen=True, slots=True)
class _Slots:
    """How slots come free in rows that wait for one; all but `lives` are (m,) or (m, k)."""

    lives: Lives
    group: Groups
    running: Floats
    generated: Floats
    left: Floats
    entering: Floats
    entered: Floats

    def freed(self, steps: Floats) -> tuple[Floats, Floats]:
        """(expected slots free within `steps`, variance): (m, g) each."""
        count, group = self.running[:, None], self.group[:, None]
        share, spread = ended_within(self.lives, self.group, self.generated, self.left, steps)
        # Those who take a freed slot may end soon as well, and free it again.
        soon = np.minimum(1 - self.lives.reached(group, steps / 2), 0.8)
        since = np.maximum(steps - self.entered[:, None], 0.0)
        new = self.entering[:, None] * (1 - self.lives.reached(group, since))
        return count * share / (1 - soon) + new, count * spread

    def steps(self, wanted: Floats) -> tuple[Floats, Floats, Floats]:
        """Steps until `wanted` slots are free: expected, 0.1 and 0.9 quantile."""
        m = len(wanted)
        coarse = np.tile(_COARSE, (m, 1))
        freed, variance = self.freed(np.exp(coarse))
        middle = _crossing(coarse, freed, wanted)
        place = np.clip(np.searchsorted(_COARSE, middle), 0, len(_COARSE) - 1)
        deviation = Z90 * np.sqrt(variance[np.arange(m), place])
        # Within an octave the curve is looked at again, for all three at once.
        edges = np.stack([wanted, wanted - deviation, wanted + deviation], axis=1)
        edges = np.clip(edges, 0.5, np.maximum(self.running[:, None], 0.5))
        roughly = np.stack([_crossing(coarse, freed, edge) for edge in edges.T], axis=1)
        fine = roughly[:, :, None] + _FINE
        freed = self.freed(np.exp(fine.reshape(m, -1)))[0].reshape(fine.shape)
        middle, low, high = (
            np.exp(_crossing(fine[:, at], freed[:, at], edges[:, at])) for at in range(3)
        )
        return middle, low, high


def _crossing(at: Floats, level: Floats, wanted: Floats) -> Floats:
    """(m,) where each row's rising `level`, known at `at` (m, g), reaches `wanted`."""
    level = np.maximum.accumulate(level, axis=1)
    above = np.clip((level < wanted[:, None]).sum(axis=1), 1, level.shape[1] - 1)
    row = np.arange(len(wanted))
    before, after = level[row, above - 1], level[row, above]
    share = np.clip((wanted - before) / np.maximum(after - before, 1e-9), 0.0, 1.0)
    return np.asarray(at[row, above - 1] * (1 - share) + at[row, above] * share, dtype=np.float64)


def _slot_steps(
    state: State, lives: Lives, group: Groups, missing: Floats, entering: tuple[Floats, Floats]
) -> tuple[Floats, Floats, Floats]:
    """Steps until the missing slots are free: expected, 0.1 and 0.9 quantile.

    `entering` is how many take a slot without waiting for one, and after how many steps.
    """
    n = len(state)
    answers = np.zeros(n), np.zeros(n), np.zeros(n)
    bound = np.flatnonzero(missing > 0)
    if not len(bound):
        return answers
    state, group, missing = state.take(bound), group[bound], missing[bound]
    slots = _Slots(
        lives,
        group,
        state.running,
        state.generated,
        state.left,
        *[part[bound] for part in entering],
    )
    # Whole generations pass at the pace of the slots; the rest is solved for.
    within = np.minimum(missing, 0.9 * state.running)
    beyond = (missing - within) / np.maximum(state.running, 1.0) * lives.means[group]
    for answer, steps in zip(answers, slots.steps(within), strict=True):
        answer[bound] = steps + beyond
    return answers


def _known(one: Floats, other: Floats) -> Floats:
    return np.where(np.isnan(one), other, one)
