"""What a policy is: a function from what was seen and what it remembers to how many replicas.

No input, no output, no clock, no randomness of its own. Its memory is JSON and is kept with every
decision, so that each can be made again to the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from controller.observation import Observation
from store.errors import ControllerError

Memory = Mapping[str, Any]
MOST_REPLICAS = 100_000
MOST_MEMORY_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a pool's target is what it is.

    Attributes:
        pool: whose.
        code: one word of the policy's own list, like "queue" or "forecast".
        text: one sentence for people.
        numbers: what it went by.
    """

    pool: str
    code: str
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a policy wants.

    Attributes:
        targets: replicas by pool; a pool that is not named stays as it is.
        reasons: why.
        advice: what people should know beside it, like "autoscaling cannot help here: keep 9 warm".
    """

    targets: Mapping[str, int]
    reasons: tuple[Reason, ...] = ()
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """What a policy is called and where it comes from.

    Attributes:
        name: unique, lower case with dashes.
        title: for tables.
        period_seconds: how often it decides, as documented by its source.
        source: project and file, paper, or "ours".
        needs_future: whether it looks at what has not happened: allowed in replay alone.
        parameters: name -> value as documented by its source.
        knob: the parameter that trades cost against attainment.
        knob_values: what a sweep of it tries.
    """

    name: str
    title: str
    period_seconds: float
    source: str
    needs_future: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    knob: str = ""
    knob_values: tuple[float, ...] = ()


@runtime_checkable
class Policy(Protocol):
    """Decides; see the head of this module."""

    @property
    def spec(self) -> PolicySpec:
        """Name, period, source, parameters."""
        ...

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """What the fleet should be, and what to remember.

        Args:
            observation: what was seen.
            memory: what the last call gave; {} at first.
        """
        ...


def checked(proposal: Proposal, observation: Observation) -> Proposal:
    """A proposal that can be acted on.

    Raises:
        ControllerError: a target is no whole number of replicas, or of a pool that is not there.
    """
    known = {pool.name for pool in observation.pools}
    for pool, target in proposal.targets.items():
        if pool not in known:
            raise ControllerError(f"the policy names pool '{pool}', which is not observed")
        is_number = isinstance(target, int | float) and not isinstance(target, bool)
        if not is_number or not math.isfinite(target) or target != int(target):
            raise ControllerError(f"the policy wants {target!r} replicas of {pool}")
        if not 0 <= target <= MOST_REPLICAS:
            raise ControllerError(f"the policy wants {target} replicas of {pool}")
    targets = {pool: int(target) for pool, target in proposal.targets.items()}
    return Proposal(targets, proposal.reasons, proposal.advice)


def remembered(memory: Memory) -> str:
    """A memory as it is kept: canonical JSON.

    Raises:
        ControllerError: it is no JSON, or larger than 1 MB.
    """
    try:
        text = json.dumps(memory, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ControllerError(f"the policy's memory cannot be kept: {error}") from error
    if len(text) > MOST_MEMORY_BYTES:
        raise ControllerError(
            f"the policy remembers {len(text):,} bytes; at most {MOST_MEMORY_BYTES:,} are kept"
        )
    return text
