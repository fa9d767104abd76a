"""Two classes: what best effort costs those who have objectives, and what it makes of the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from gateway_requests import (
    REPLICAS,
    TOLD_EVERY,
    Row,
    arrivals,
    at_full_load,
    lengths,
    mean,
    plans,
    policies,
    ratio,
    spread,
)

from controller.gateway.admission.base import Place
from controller.gateway.admission.leftover import Leftover
from controller.gateway.admission.registry import make_place
from controller.gateway.ask import SloClass
from controller.gateway.trial.requests import Requests, predicted
from controller.gateway.trial.result import TrialResult
from controller.gateway.trial.trial import trial

TTFT, TPOT, CLASS_SEATS, CLASS_SECONDS, WARM = 1.0, 0.05, 48, 240.0, 30.0
ONE = SloClass("all", TTFT, TPOT)
ONLINE = SloClass("online", TTFT, TPOT)
BATCH = SloClass("batch", priority=-1, is_best_effort=True)
BURSTS = (0.8, 1.0)
ALONE = "online alone"
ORACLE, FORESEEN_SECONDS = "priority, leftover that knows the future", 8.0
CLASSES: dict[str, tuple[SloClass, SloClass, tuple[str, ...]]] = {
    ALONE: (ONLINE, BATCH, ()),
    "first come, first served": (ONE, ONE, ()),
    "priority": (ONLINE, BATCH, ()),
    "priority, pace-limit": (ONLINE, BATCH, ("pace-limit",)),
    "priority, leftover": (ONLINE, BATCH, ("leftover",)),
    ORACLE: (ONLINE, BATCH, ()),
}


def two_classes(
    full: float, burst: float, online: SloClass, batch: SloClass, seed: int, alone: bool
) -> Requests:
    """Three times what the fleet serves: online 0.45, and more for 10 s of every 50; the rest."""
    dice = np.random.default_rng(seed)
    first = arrivals(lambda at: full * (burst if at % 50 > 40 else 0.45), CLASS_SECONDS, dice)
    second = arrivals(lambda _: 2.44 * full, CLASS_SECONDS, dice)[: 0 if alone else None]
    at = np.concatenate([first, second])
    prompt, output = lengths(len(at), seed + 3)
    return Requests.of(
        at, ["online"] * len(first) + ["batch"] * len(second), prompt, output,
        expected=predicted(output, 0.5, seed),
        slo=(online,) * len(first) + (batch,) * len(second),
        patience_seconds=CLASS_SECONDS - at + 1e-6,
    )  # fmt: skip


class Foreknown(Leftover):
    """`leftover` that knows how many of online will run when, had they the fleet to themselves.

    So it lets best effort end in time before a burst. Beside it all lengths are known.
    """

    def __init__(self, alone: TrialResult) -> None:
        super().__init__(pace_slack=0.8)
        times = np.arange(0.0, CLASS_SECONDS + FORESEEN_SECONDS, TOLD_EVERY)
        begun = np.searchsorted(np.sort(alone.started), times)
        self._running = begun - np.searchsorted(np.sort(alone.end), times)

    def kept_seats(self, now: float) -> float:
        """For as many more as will run before one that starts now has ended, likely."""
        first = min(int(now / TOLD_EVERY), len(self._running) - 1)
        ahead = self._running[first : first + int(FORESEEN_SECONDS / TOLD_EVERY)]
        return math.ceil((ahead.max() - ahead[0]) / REPLICAS)


def classes(name: str, burst: float, full: tuple[float, float], seed: int) -> Row:
    online, batch, places = CLASSES[name]
    asked = two_classes(full[0], burst, online, batch, seed, name == ALONE)
    made: list[Place] = [make_place(one) for one in places]
    if name == ORACLE:
        asked = replace(asked, expected=asked.output.astype(float))
        online_alone = two_classes(full[0], burst, online, batch, seed, alone=True)
        made = [Foreknown(trial(online_alone, policies(), plans(CLASS_SEATS)))]
    done = trial(asked, policies((), made), plans(CLASS_SEATS), told_every_seconds=TOLD_EVERY)
    is_online = np.array(asked.tenant) == "online"
    judged = is_online & (asked.arrived > WARM) & (asked.arrived < CLASS_SECONDS - 20)
    good = (done.ttft <= TTFT) & (np.nan_to_num(done.tpot, nan=0.0) <= TPOT)
    counted = (done.end > WARM) & (done.end <= CLASS_SECONDS)
    tokens = (asked.prompt + asked.output) / (CLASS_SECONDS - WARM)
    mine, rest = tokens[counted & is_online].sum(), tokens[counted & ~is_online].sum()
    return {
        "attainment": float(good[judged].mean()),
        "ttft": float(np.nanquantile(done.ttft[judged], 0.99)),
        "tpot": float(np.nanquantile(done.tpot[judged], 0.99)),
        "online": float(mine / full[1]),
        "fill": float(rest / (full[1] - mine)),
    }


def table(seeds: Sequence[int]) -> str:
    lines = [
        "| online in bursts | who may start | online kept both bounds | TTFT p99 | TPOT p99 |"
        " online, of the fleet | best effort, of what online leaves |",
        "|---|---|---|---|---|---|---|",
    ]
    full = at_full_load(CLASS_SEATS)
    for burst in BURSTS:
        for name in CLASSES:
            rows = [classes(name, burst, full, seed) for seed in seeds]
            row = mean(rows)
            fill = "-" if name == ALONE else spread(rows, "fill", min)
            lines.append(
                f"| {burst:g} of the fleet | {name} | {spread(rows, 'attainment', min)} |"
                f" {row['ttft']:.2f} s | {1000 * row['tpot']:.0f} ms | {ratio(row['online'])} |"
                f" {fill} |"
            )
    return "\n".join(lines)
