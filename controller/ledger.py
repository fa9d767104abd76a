"""Steps made again from their records: the same inputs, the same code, the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller import codec
from controller.policy import Policy
from controller.step import Step, stepped
from store.errors import ControllerError
from store.queries import decisions as queries
from store.reader import Reader

Record = Mapping[str, Any]
Making = Callable[[str, Mapping[str, Any]], Policy]
"""Name and parameters -> a policy."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of making a step again.

    Attributes:
        observation_id: which; of a candidate the number of its step.
        fleet: its pools, or "candidate N".
        verdict: "same", "differs", "other code" (made by another release, and differs) or
            "not there" (a step that it hangs on was deleted).
        text: where it differs.
    """

    observation_id: int
    fleet: str
    verdict: str
    text: str = ""


def again(record: Record, policy: Policy, memory: str) -> Step:
    """A step, made again.

    Args:
        record: a row of `observation`.
        policy: made of its name and parameters.
        memory: canonical JSON of what it remembered before.
    """
    return stepped(policy, codec.given_of(record["content"]), memory)


def walked(chain: Sequence[Record], policy: Policy) -> Iterator[tuple[Record, str, Step]]:
    """Every step of a chain made again: record, memory before, step.

    Raises:
        ControllerError: the beginning of the chain is not there any more.
    """
    if not chain or chain[0]["memory"] is None:
        raise ControllerError(
            "what the policy remembered then was deleted",
            hint="controller.retention_days says how long steps are kept",
        )
    memory = str(chain[0]["memory"])
    for record in chain:
        memory = memory if record["memory"] is None else str(record["memory"])
        step = again(record, policy, memory)
        yield record, memory, step
        memory = step.memory


def memory_after(chain: Sequence[Record], policy: Policy) -> str:
    """What the policy remembers after the last step of a chain.

    Where steps do not come out the same (another release), what it remembered at the beginning.
    """
    try:
        found = list(walked(chain, policy))
    except ControllerError:
        return "{}"
    record, _, step = found[-1]
    if json.loads(record["result"])["memory"] == codec.digest(step.memory):
        return step.memory
    return str(chain[0]["memory"])


def verified(reader: Reader, making: Making, last: int) -> Iterator[Checked]:
    """Make the newest steps again and compare bytes; the newest first.

    Args:
        reader: the store.
        making: makes policies.
        last: how many.
    """
    left = dict(queries.newest_steps(reader, last))
    while left:
        newest = max(left)
        chain = queries.chain(reader, newest)
        fleet = left[newest]
        found = {one.observation_id: one for one in _checked(chain, fleet, making)}
        for number in sorted(found, reverse=True):
            if left.pop(number, None) is not None:
                yield found[number]
        left.pop(newest, None)


def _checked(chain: Sequence[Record], fleet: str, making: Making) -> Iterator[Checked]:
    newest = chain[-1]
    try:
        policy = making(newest["policy"], json.loads(newest["parameters"]))
        for record, _, step in walked(chain, policy):
            yield compared(int(record["observation_id"]), fleet, record, step)
    except ControllerError as error:
        verdict = "not there" if not chain or chain[0]["memory"] is None else "differs"
        yield Checked(newest["observation_id"], fleet, verdict, str(error))


def compared(number: int, fleet: str, record: Record, step: Step) -> Checked:
    """What a step made again is beside its record."""
    made, kept = step.result(), record["result"].encode()
    if made == kept:
        return Checked(number, fleet, "same")
    verdict = "differs" if record["code"] == codec.code_version() else "other code"
    return Checked(number, fleet, verdict, _difference(kept, made))


def _difference(kept: bytes, made: bytes) -> str:
    before, after = json.loads(kept), json.loads(made)
    parts = [name for name in before if before[name] != after.get(name)]
    return f"{', '.join(parts) or 'the text'} came out otherwise"
