"""One step of deciding, as a pure function, live and in simulation alike.

`again` in `controller.ledger` calls the same function with what was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller import codec
from controller.codec import Given
from controller.guards import Passed, guarded
from controller.observation import Observation, PoolView
from controller.policy import Memory, Policy, Proposal, Reason, checked, remembered

HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Proposed:
    """What came of asking the policy.

    Attributes:
        proposal: None when nothing usable came.
        memory: canonical JSON of what it remembers; as before when nothing usable came.
        error: why nothing came, for people; "" otherwise.
    """

    proposal: Proposal | None
    memory: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a step.

    Attributes:
        proposal: of the policy; None when nothing usable came.
        passed: what may be applied.
        memory: canonical JSON of what the policy remembers.
        error: why nothing came of the policy.
    """

    proposal: Proposal | None
    passed: Passed
    memory: str
    error: str = ""

    def result(self) -> bytes:
        """The record: the same for the same inputs, to the byte."""
        return codec.canonical(
            {
                "proposal": codec.proposal_json(self.proposal),
                "targets": dict(self.passed.targets),
                "clips": codec.clips_json(self.passed.clips),
                "memory": codec.digest(self.memory),
                "error": self.error,
            }
        )

    def reason(self, pool: str) -> Reason:
        """Why the policy wants what it wants of a pool."""
        if self.proposal is None:
            return Reason(pool, "policy_failed", self.error)
        for reason in self.proposal.reasons:
            if reason.pool == pool:
                return reason
        return Reason(pool, "unsaid", "the policy gave no reason")


def propose(policy: Policy, observation: Observation, memory: str) -> Proposed:
    """Ask the policy; whatever it does wrong becomes an error in words.

    Args:
        policy: decides.
        observation: sanitised.
        memory: canonical JSON.
    """
    try:
        kept: Memory = json.loads(memory)
        proposal, after = policy.decide(observation, kept)
        made = checked(_plain(proposal), observation)
        codec.canonical(codec.proposal_json(made))
        return Proposed(made, remembered(after))
    except Exception as error:  # noqa: BLE001 - a policy may do anything; it holds and is recorded
        text = str(error).splitlines()[0] if str(error) else ""
        return Proposed(None, memory, f"{type(error).__name__}: {text}"[:500])


def _plain(proposal: Proposal) -> Proposal:
    """Built-in numbers, so that the record and the proposal agree."""
    reasons = tuple(
        Reason(
            str(one.pool),
            str(one.code),
            str(one.text),
            {str(name): float(value) for name, value in one.numbers.items()},
        )
        for one in proposal.reasons
    )
    return Proposal(dict(proposal.targets), reasons, tuple(map(str, proposal.advice)))


def concluded(given: Given, proposed: Proposed) -> Step:
    """What may be applied of what was proposed."""
    targets: Mapping[str, Any] = {} if proposed.proposal is None else proposed.proposal.targets
    passed = guarded(given.observation, given.rules, given.standing, targets)
    return Step(proposed.proposal, passed, proposed.memory, proposed.error)


def stepped(policy: Policy, given: Given, memory: str) -> Step:
    """A whole step.

    Args:
        policy: decides.
        given: what is known; with a `failure` the policy is not asked.
        memory: canonical JSON of what it remembers.
    """
    if given.failure:
        return concluded(given, Proposed(None, memory, given.failure))
    return concluded(given, propose(policy, given.observation, memory))


def kind_of(pool: PoolView, final: int) -> str:
    """Up, down or hold."""
    if final == pool.target:
        return HOLD
    return "up" if final > pool.target else "down"
