"""Knows every future rate and size, and the cheapest fleet for each: replay only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from controller import observation as seen
from controller.comparison.fleets import FleetPool, kinds_of
from controller.comparison.sizing import Kind, ladder, served
from controller.numbers import Floats
from controller.observation import Observation, PoolView
from controller.policies.clairvoyant import BIN_SECONDS, SPEC
from controller.policies.parts import bounded, in_range, told
from controller.policy import Memory, PolicySpec, Proposal, Reason
from controller.simulator.workload import Workload

# Sizes change slowly; a mean over less is ruled by chance.
SIZES_SECONDS = 300.0
# So long a fleet is kept, about: a start must pay for itself in it.
KEPT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Known:
    """Of a workload: arrivals of each bin, and (bins, 2) mean sizes of wider ones."""

    counts: Floats
    sizes: Floats


@dataclass(frozen=True, slots=True)
class FleetClairvoyant:
    """The cheapest fleet for the highest rate until a replica asked for now would be ready.

    Args:
        workload: that is replayed.
        pools: of the fleet.
        margin: on the rate.
        only: the one whole pool that is used beyond the least; "" all.
    """

    workload: Workload
    pools: tuple[FleetPool, ...]
    margin: float = 1.0
    only: str = ""
    spec: PolicySpec = field(default=replace(SPEC, title="Clairvoyant rate, whole fleet"))
    _known: _Known = field(init=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be asked for."""
        in_range(SPEC.name, "margin", self.margin, 0.01, 100)
        object.__setattr__(self, "_known", _known(self.workload))

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        lead = max(_lead(pool) for pool in observation.pools)
        rate = self.margin * self._highest(observation.at, observation.at + lead)
        kinds = self._kinds(observation, lead)
        targets = ladder(kinds).serving(rate)
        left = [min(targets[pool.name], pool.ready) for pool in observation.pools]
        soon = self.margin * self._highest(observation.at, observation.at + SPEC.period_seconds)
        if served(kinds, np.array([left]))[0] < soon:
            # What is to take over is not ready yet: nothing goes before it is.
            targets = {
                pool.name: max(targets[pool.name], pool.target) for pool in observation.pools
            }
        text = f"{rate:.2f} requests/s are to be served within {lead:.0f} s"
        reasons = tuple(
            Reason(pool.name, "future", text, {"rate": rate}) for pool in observation.pools
        )
        within = {pool.name: bounded(pool, targets[pool.name]) for pool in observation.pools}
        return Proposal(within, reasons), {}

    def _highest(self, start: float, end: float) -> float:
        first, last = int(max(start - BIN_SECONDS, 0.0) / BIN_SECONDS), int(end / BIN_SECONDS) + 1
        return float(self._known.counts[first : last + 1].max(initial=0.0)) / BIN_SECONDS

    def _is_left_out(self, kind: Kind) -> bool:
        return bool(self.only) and kind.role == "whole" and kind.name != self.only

    def _kinds(self, observation: Observation, lead: float) -> list[Kind]:
        """The pools for the sizes that come; what would have to start costs its start, too."""
        place = int((observation.at + lead) / SIZES_SECONDS)
        sizes = self._known.sizes[min(place, len(self._known.sizes) - 1)]
        views = {pool.name: pool for pool in observation.pools}
        hits = {name: min(told(one, seen.PREFIX_HIT_RATIO) or 0.0, 1.0)
                for name, one in views.items()}  # fmt: skip
        made = kinds_of(self.pools, observation.objective, (float(sizes[0]), float(sizes[1])), hits)
        return [
            replace(
                kind, there=views[kind.name].target,
                start=_lead(views[kind.name]) / KEPT_SECONDS,
                most=kind.least if self._is_left_out(kind) else kind.most,
            )
            for kind in made
        ]  # fmt: skip


def _lead(pool: PoolView) -> float:
    """Until a replica that is asked for now is ready, and one decision on."""
    return (pool.startup.quantile(0.99) if pool.startup else 0.0) + SPEC.period_seconds


def _known(workload: Workload) -> _Known:
    """Rates in bins of a few seconds, three of them together; mean sizes of some minutes."""
    edges = np.arange(0.0, workload.seconds + 3 * BIN_SECONDS, BIN_SECONDS)
    counts = np.histogram(workload.arrived, edges)[0].astype(np.float64)
    smooth = np.convolve(counts, np.ones(3) / 3, mode="same") if len(counts) > 2 else counts
    place = (workload.arrived / SIZES_SECONDS).astype(np.int64)
    many = int(place.max(initial=0)) + 1
    each = np.maximum(np.bincount(place, minlength=many), 1)
    sizes = np.stack(
        [np.bincount(place, of, many) / each for of in (workload.prompt, workload.output)], axis=1
    )
    # Minutes in which nobody came are like all others.
    mean = np.array([workload.prompt.mean(), workload.output.mean()])
    return _Known(smooth, np.where(sizes >= 1, sizes, mean))
