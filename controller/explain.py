"""Why a decision is what it is, from its record: what was seen, clipped, would flip it, came."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from controller import codec, ledger
from controller.flips import flips
from controller.ledger import Making
from controller.observation import SIGNALS, Objective, PoolView
from controller.outlook import capacity_of, outlook
from controller.step import Step
from store.errors import ControllerError
from store.queries import decisions as queries
from store.reader import Reader

_LEVELS = (0.1, 0.5, 0.9)


def explained(
    reader: Reader,
    decision_id: int,
    making: Making,
    settle_seconds: float,
    has_time: Callable[[], bool],
) -> dict[str, Any] | None:
    """Everything that is known of a decision; None when there is none.

    Args:
        reader: the store.
        decision_id: which.
        making: makes policies.
        settle_seconds: over which what was expected is counted.
        has_time: False stops the search for what would flip it.

    Returns:
        decision, inputs, forecasts, startup, clips, numbers, expected (and unchanged: what if
        nothing changed), candidates, flips, notes, advice, actions, outcomes, replays (whether
        made again it comes out the same), why_not.
    """
    found = queries.decision(reader, decision_id)
    if found is None:
        return None
    numbers = json.loads(found.pop("numbers"))
    told: dict[str, Any] = {
        "decision": found,
        "clips": json.loads(found.pop("clips")),
        "numbers": numbers.get("policy", {}),
        "expected": numbers.get("expected", {}),
        "unchanged": numbers.get("unchanged", {}),
        "actions": queries.actions(reader, found["repeats"] or decision_id),
        "outcomes": queries.outcomes(reader, [decision_id]).drop("decision_id").to_dicts(),
        "inputs": [],
        "forecasts": [],
        "startup": None,
        "candidates": [],
        "flips": [],
        "notes": [],
        "advice": [],
        "replays": None,
        "why_not": "made by hand: there is nothing to make again",
    }
    if found["observation_id"] is not None:
        told |= _again(reader, found, making, settle_seconds, has_time)
    return told


def _again(
    reader: Reader,
    decision: Mapping[str, Any],
    making: Making,
    settle_seconds: float,
    has_time: Callable[[], bool],
) -> dict[str, Any]:
    chain = queries.chain(reader, decision["observation_id"])
    if not chain:
        return {"why_not": "what was seen then was deleted"}
    record = chain[-1]
    given = codec.given_of(record["content"])
    view = given.observation.pool(decision["pool"])
    told = _seen(view, given.observation.objective, decision, settle_seconds)
    told["notes"] = list(record["notes"])
    told["advice"] = (json.loads(record["result"])["proposal"] or {}).get("advice", [])
    try:
        policy = making(record["policy"], json.loads(record["parameters"]))
        last: tuple[str, Step] | None = None
        for _, memory, step in ledger.walked(chain, policy):
            last = (memory, step)
    except ControllerError as error:
        return {**told, "why_not": str(error)}
    assert last is not None  # noqa: S101 - a chain has at least one step
    memory, step = last
    told["replays"] = step.result() == record["result"].encode()
    told["why_not"] = "" if told["replays"] else "made again it comes out otherwise"
    if not given.failure:
        found = flips(policy, given, memory, decision["pool"], has_time)
        told["flips"] = [asdict(flip) for flip in found]
    return told


def _seen(
    view: PoolView, objective: Objective, decision: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    inputs = [
        {
            "signal": name,
            "value": one.value,
            "grade": one.grade.value,
            "age_seconds": one.age_seconds,
            "share_ratio": one.share,
            "meaning": SIGNALS.get(name, ""),
        }
        for name, one in sorted(view.signals.items())
    ]
    counts = {
        decision[name]
        for name in ("before_replicas", "proposed_replicas", "final_replicas")
        if decision[name] is not None
    }
    return {
        "inputs": inputs,
        "forecasts": [asdict(one) for one in view.forecasts],
        "startup": view.startup
        and {f"p{round(level * 100)}": view.startup.quantile(level) for level in _LEVELS},
        "capacity_per_second": capacity_of(view, objective),
        "candidates": [
            {"replicas": count, **outlook(view, objective, count, seconds)}
            for count in sorted(counts)
        ],
    }
