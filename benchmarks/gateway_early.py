"""Early rejection beside queues of a fixed depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gateway_requests import (
    SEATS,
    TOLD_EVERY,
    Row,
    at_full_load,
    mean,
    plans,
    policies,
    ratio,
    requests,
)

from controller.gateway.admission.registry import make_rule
from controller.gateway.ask import SloClass
from controller.gateway.trial.result import TrialResult
from controller.gateway.trial.trial import trial

RULES: dict[str, tuple[str, dict[str, float]]] = {
    "always": ("always", {}),
    "queue-depth, 256": ("queue-depth", {"requests": 256}),
    "queue-depth, 48": ("queue-depth", {"requests": 48}),
    "queue-depth, 16": ("queue-depth", {"requests": 16}),
    "early-rejection": ("early-rejection", {}),
}


def early(name: str, load: float, full: float, seed: int) -> Row:
    rule, parameters = RULES[name]
    asked = requests(lambda _: load * full, 120.0, seed, SloClass("online", 2.0, 0.06))
    result: TrialResult = trial(
        asked, policies([make_rule(rule, **parameters)]), plans(SEATS),
        told_every_seconds=TOLD_EVERY,
    )  # fmt: skip
    good = (result.ttft <= 2.0) & (np.nan_to_num(result.tpot, nan=0.0) <= 0.06)
    served = result.is_served
    return {
        "goodput": float(good.sum() / 120.0),
        "attainment": float(good.mean()),
        "served": float(good[served].mean()),
        "refused": float(result.gave_up.mean()),
    }


def table(seeds: Sequence[int]) -> str:
    lines = [
        "| load | rule | goodput | kept both bounds, of all | of those served | refused |",
        "|---|---|---|---|---|---|",
    ]
    full, _ = at_full_load(SEATS)
    for load in (0.8, 1.1, 1.5, 3.0):
        for name in RULES:
            row = mean([early(name, load, full, seed) for seed in seeds])
            lines.append(
                f"| {load:g} times | {name} | {row['goodput']:.1f}/s | {ratio(row['attainment'])} |"
                f" {ratio(row['served'])} | {ratio(row['refused'])} |"
            )
    return "\n".join(lines)
