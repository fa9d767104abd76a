"""What the boosted residual looks at: physics' own terms, and what physics does not know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats
from predictors.latency.engine import Fleet, Groups, Wait, mean_step_seconds, step_seconds, wait
from predictors.latency.features import State
from predictors.latency.residual import FREE, QUEUED, SLOTTED

# Older gauges are all alike: they say what was, not what is.
_MOST_AGE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Physics:
    """Answers of the engine model to n rows, and what the residual reads.

    Attributes:
        seconds: (n,) expected.
        low: (n,) log of the 0.1 quantile over it, <= 0.
        high: (n,) log of the 0.9 quantile over it, >= 0.
        regime: (n,) free, queued behind prompts, or short of slots.
        design: (n, f).
    """

    seconds: Floats
    low: Floats
    high: Floats
    regime: npt.NDArray[np.int64]
    design: Floats


def ttft_physics(logs: Floats, state: State, fleet: Fleet, group: Groups) -> Physics:
    """Time to the first token of completed rows."""
    told = wait(logs, state, fleet.lives, group)
    return Physics(
        told.seconds,
        told.low,
        told.high,
        regime_of(state, told),
        np.column_stack(_common(logs, state, told, told.seconds)),
    )


def tpot_physics(
    logs: Floats, state: State, fleet: Fleet, group: Groups, tokens: Floats
) -> Physics:
    """Time per output token of completed rows, over `tokens` of them."""
    told = wait(logs, state, fleet.lives, group)
    seconds = mean_step_seconds(logs, state, fleet, group, tokens)
    now = step_seconds(logs, state.running, np.zeros(len(state)), state.context)
    columns = [
        *_common(logs, state, told, seconds),
        np.log(now / seconds),
        np.log1p(state.arrivals),
        np.log(tokens),
    ]
    even = np.zeros(len(state))
    return Physics(seconds, even, even, regime_of(state, told), np.column_stack(columns))


def regime_of(state: State, told: Wait) -> npt.NDArray[np.int64]:
    """Free, queued behind prompts, or short of slots."""
    queued = np.where(state.waiting > 0, QUEUED, FREE)
    return np.where(told.missing > 0, SLOTTED, queued).astype(np.int64)


def _common(logs: Floats, state: State, told: Wait, seconds: Floats) -> list[Floats]:
    used = state.usage * state.capacity
    context = np.where(np.isnan(used), state.context, used)
    there = np.where(state.scraped_running > 0, state.scraped_running, np.nan)
    modelled = step_seconds(logs, there, np.zeros(len(state)), context)
    return [
        np.log(seconds),
        np.log1p(state.running),
        np.log1p(state.waiting),
        np.log1p(state.ahead),
        np.log(state.own),
        np.log1p(state.context),
        np.log1p(told.budget_steps),
        np.log1p(told.slot_steps),
        told.missing,
        np.log(state.step / modelled),
        np.log1p(state.prompt_rate),
        np.minimum(state.scraped_age, _MOST_AGE_SECONDS),
        np.log(state.last_ttft / seconds),
        state.firsts,
        state.oldest / seconds,
        state.scraped_waiting - state.waiting,
        state.scraped_running - state.running,
    ]
