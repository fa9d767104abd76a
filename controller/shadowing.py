"""What a candidate would have done at a step: asked about the same, limited as if it had its way.

The candidate sees the observation of the policy that decides, to the byte; at its first step with
the rates before it, as that one was told them when it began. What the guards are told
differs in two things: its own targets stand where the pool's do, and cooldowns count from its own
changes. So it goes at the pace that it would have gone at, without touching anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from controller import codec, ledger
from controller.codec import Given
from controller.ledger import Checked, Making
from controller.observation import Observation
from controller.policy import Policy
from controller.step import Proposed, Step, concluded, propose
from store.errors import ControllerError
from store.queries import candidates as queries
from store.reader import Reader

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Own:
    """Where a candidate would stand, had it decided.

    Attributes:
        targets: replicas by pool; a pool that is not there stands where it really does.
        changed_at: unix seconds of its own last change of each pool.
        history: rates before its first step, by pool, as a policy that remembers nothing is told.
    """

    targets: Mapping[str, int] = field(default_factory=dict)
    changed_at: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def after(self, step: Step, at: float) -> Own:
        """Where it would stand after a step at a time (unix seconds)."""
        targets, changed = dict(self.targets), dict(self.changed_at)
        for pool, final in step.passed.targets.items():
            if pool in targets and targets[pool] != final:
                changed[pool] = at
            targets[pool] = final
        return Own(targets, changed)

    def beside(self, given: Given) -> Own:
        """With what is not known yet taken from how the pools really stand."""
        targets, changed = dict(self.targets), dict(self.changed_at)
        for view in given.observation.pools:
            if view.name not in targets:
                targets[view.name] = view.target
                if view.name in given.standing.changed_at:
                    changed[view.name] = given.standing.changed_at[view.name]
        return Own(targets, changed, self.history)

    def sees(self, observation: Observation) -> Observation:
        """What it is asked about: the same, at its first step with what was before."""
        if not self.history:
            return observation
        pools = (
            replace(view, history=tuple(self.history.get(view.name, view.history)))
            for view in observation.pools
        )
        return replace(observation, pools=tuple(pools))


def applied(given: Given, own: Own, failure: str = "") -> Given:
    """What the guards are told: the same, with the candidate's own targets and changes."""
    pools = tuple(
        replace(view, target=own.targets.get(view.name, view.target))
        for view in given.observation.pools
    )
    observation = replace(given.observation, pools=pools)
    standing = replace(given.standing, changed_at=own.changed_at)
    return Given(observation, given.rules, standing, failure)


def asked(policy: Policy, given: Given, own: Own, memory: str) -> Step:
    """A step of a candidate.

    Args:
        policy: of the candidate.
        given: what the policy that decides was given.
        own: where the candidate would stand.
        memory: canonical JSON of what it remembers.
    """
    proposed = propose(policy, own.sees(given.observation), memory)
    return concluded(applied(given, own), proposed)


def unheard(given: Given, own: Own, memory: str, failure: str) -> Step:
    """A step of a candidate that gave no answer."""
    return concluded(applied(given, own, failure), Proposed(None, memory, failure))


def given_text(own: Own, failure: str) -> str:
    """For the record: what differs from the step of the policy that decides."""
    return codec.canonical({"own": own, "failure": failure}).decode()


def given_of(text: str) -> tuple[Own, str]:
    """What `given_text` wrote."""
    told = json.loads(text)
    return Own(**told["own"]), str(told["failure"])


def again(record: Record, policy: Policy, memory: str) -> Step:
    """A step of a candidate, made again.

    Args:
        record: a row of `store.queries.candidates.chain`.
        policy: made of its name and parameters.
        memory: canonical JSON of what it remembered before.
    """
    given = codec.given_of(record["content"])
    own, failure = given_of(record["given"])
    if failure:
        return unheard(given, own, memory, failure)
    return asked(policy, given, own, memory)


def walked(chain: Sequence[Record], policy: Policy) -> Iterator[tuple[Record, Step]]:
    """Every step of a chain made again.

    Raises:
        ControllerError: the beginning of the chain, or what was seen, is not there any more.
    """
    if not chain or chain[0]["memory"] is None:
        raise ControllerError("what the candidate remembered then was deleted")
    memory = ""
    for record in chain:
        if record["content"] is None:
            raise ControllerError("what was seen then was deleted")
        memory = memory if record["memory"] is None else str(record["memory"])
        step = again(record, policy, memory)
        yield record, step
        memory = step.memory


def resumed(chain: Sequence[Record], policy: Policy) -> tuple[str, Own]:
    """What a candidate remembers after its last step, and where it would stand.

    Where its steps do not come out the same any more it begins anew, from how the pools stand.
    """
    try:
        found = list(walked(chain, policy))
    except ControllerError:
        return "{}", Own()
    record, step = found[-1]
    if json.loads(record["result"])["memory"] != codec.digest(step.memory):
        return str(chain[0]["memory"]), Own()
    at = codec.given_of(record["content"]).observation.at
    return step.memory, given_of(record["given"])[0].after(step, at)


def verified(reader: Reader, making: Making, last: int) -> Iterator[Checked]:
    """Make the newest steps of candidates again and compare bytes; the newest first.

    Args:
        reader: the store.
        making: makes policies.
        last: how many.
    """
    left = dict(queries.newest_steps(reader, last))
    while left:
        newest = max(left)
        chain = queries.chain(reader, newest)
        name = f"candidate {left[newest]}"
        found = {one.observation_id: one for one in _checked(chain, name, making)}
        for number in sorted(found, reverse=True):
            if left.pop(number, None) is not None:
                yield found[number]
        left.pop(newest, None)


def _checked(chain: Sequence[Record], name: str, making: Making) -> Iterator[Checked]:
    newest = chain[-1]
    try:
        policy = making(newest["policy"], json.loads(newest["parameters"]))
        for record, step in walked(chain, policy):
            yield ledger.compared(record["step_id"], name, record, step)
    except (ControllerError, TypeError, ValueError) as error:
        is_gone = chain[0]["memory"] is None or any(one["content"] is None for one in chain)
        yield Checked(newest["step_id"], name, "not there" if is_gone else "differs", str(error))
