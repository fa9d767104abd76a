"""What a step of a candidate leaves behind, beside what the policy that decides would have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from controller import codec
from controller import observation as seen
from controller.codec import Given
from controller.observation import PoolView
from controller.pools import Fleet
from controller.shadowing import Own
from controller.step import HOLD, Step
from store.candidates import ShadowDecisionRow, ShadowStepRow

BETWEEN = "between"


@dataclass(frozen=True, slots=True)
class Followed:
    """A step of the policy that decides, written down.

    Attributes:
        fleet: its pools.
        given: to that step.
        step: what came of it.
        observation_id: its number.
        at: when, naive UTC.
    """

    fleet: Fleet
    given: Given
    step: Step
    observation_id: int
    at: datetime


def step_row(
    number: int,
    candidate_id: int,
    followed: Followed,
    previous_id: int | None,
    memory: str | None,
    given: str,
    step: Step,
    seconds: float,
) -> ShadowStepRow:
    """What makes the step again, with the observation that it followed."""
    return ShadowStepRow(
        number, candidate_id, followed.observation_id, followed.at, codec.code_version(),
        previous_id, memory, given, step.result().decode(), seconds,
    )  # fmt: skip


def decision_rows(
    candidate_id: int,
    step_id: int | None,
    followed: Followed,
    own: Own,
    step: Step | None,
    lives: Mapping[str, int],
) -> list[ShadowDecisionRow]:
    """One row a pool.

    Args:
        candidate_id: whose.
        step_id: of its step; None between two of them.
        followed: the step of the policy that decides.
        own: where it would have stood before.
        step: what came of asking it; None between.
        lives: where the policy that decides would stand.
    """
    return [
        _row(candidate_id, step_id, followed, view, own.targets[view.name], step, lives[view.name])
        for view in followed.given.observation.pools
    ]


def _row(
    candidate_id: int,
    step_id: int | None,
    followed: Followed,
    view: PoolView,
    before: int,
    step: Step | None,
    live: int,
) -> ShadowDecisionRow:
    pool = view.name
    load = (view.reading(seen.REQUESTS_PER_SECOND).value, *_tokens(view))
    told = (candidate_id, followed.observation_id, followed.at, pool, step_id)
    if step is None:
        text = "it was not its turn to be asked"
        return ShadowDecisionRow(
            *told, HOLD, before, None, before, live, view.target, "", BETWEEN, text, *load
        )
    final, reason = step.passed.targets[pool], step.reason(pool)
    kind = HOLD if final == before else "up" if final > before else "down"
    clips = [clip for clip in step.passed.clips if clip.pool == pool]
    proposed = None if step.proposal is None else step.proposal.targets.get(pool, before)
    return ShadowDecisionRow(
        *told, kind, before, proposed, final, live, view.target, step.passed.binding(pool),
        reason.code, clips[-1].text if clips and kind == HOLD and step.proposal else reason.text,
        *load,
    )  # fmt: skip


def _tokens(view: PoolView) -> tuple[float | None, float | None]:
    """Prompt tokens that have to be computed and output tokens, of a request."""
    inputs, hit = view.reading(seen.INPUT_TOKENS).value, view.reading(seen.PREFIX_HIT_RATIO).value
    outputs = view.reading(seen.OUTPUT_TOKENS).value
    return None if inputs is None else inputs * (1 - min(hit or 0.0, 1.0)), outputs
