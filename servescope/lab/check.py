"""Whether this host can be a laboratory now: what it tells, what can run, how quiet it is."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collector.lab.sampler import Groups, Row, Sampler, absent
from servescope.lab.aggressors import AGGRESSORS
from servescope.lab.settings import LabSettings
from servescope.lab.victims import VICTIMS
from store.clock import Clock
from store.errors import ConfigError

_LEAST_VICTIMS, _LEAST_AGGRESSORS = 12, 10


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found.

    Attributes:
        victims: name -> why it cannot run; None when it can.
        aggressors: likewise.
        metrics: that this host has.
        absent: metrics it does not have, with the reason.
        background_ratio: of the cores, used by others just now.
        steal_ticks_per_second: taken by the hypervisor just now; None when not told.
        troubles: what stands in the way, in words.
    """

    victims: Mapping[str, str | None]
    aggressors: Mapping[str, str | None]
    metrics: tuple[str, ...]
    absent: Mapping[str, str]
    background_ratio: float
    steal_ticks_per_second: float | None
    troubles: tuple[str, ...]

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def check(clock: Clock, settings: LabSettings, seconds: float = 3.0) -> Readiness:
    """Look at this host for a few seconds.

    Raises:
        ConfigError: it is no Linux.
    """
    if not sys.platform.startswith("linux"):
        raise ConfigError(
            f"the laboratory reads the files of a Linux kernel, this is {sys.platform}",
            hint="run it on a node of the fleet",
        )
    row = _looked(clock, seconds)
    steal = None if row.steal_seconds is None else row.steal_seconds * 100 / (row.end - row.start)
    victims = {name: one.missing() for name, one in VICTIMS.items()}
    aggressors = {name: one.missing() for name, one in AGGRESSORS.items()}
    return Readiness(
        victims=victims,
        aggressors=aggressors,
        metrics=tuple(sorted(row.values)),
        absent=absent(row),
        background_ratio=row.background_ratio,
        steal_ticks_per_second=steal,
        troubles=tuple(_troubles(row, steal, settings, victims, aggressors)),
    )


def _looked(clock: Clock, seconds: float) -> Row:
    sampler = Sampler(clock, Groups([os.getpid()]))
    sampler.step()
    threading.Event().wait(seconds)
    row = sampler.step()
    sampler.close()
    if row is None:
        raise ConfigError("the clock of this host stands still")
    return row


def _troubles(
    row: Row,
    steal: float | None,
    settings: LabSettings,
    victims: Mapping[str, str | None],
    aggressors: Mapping[str, str | None],
) -> list[str]:
    found = []
    if row.background_ratio > settings.most_background_ratio:
        found.append(
            f"others use {row.background_ratio:.0%} of the cores; above "
            f"{settings.most_background_ratio:.0%} all runs count as noisy"
        )
    if steal is not None and steal > settings.most_steal_ticks_per_second:
        found.append(f"the hypervisor takes {steal:.1f} ticks a second, runs will count as noisy")
    if len(os.sched_getaffinity(0)) == 1:
        found.append("one core only: every neighbour shares the victim's core")
    for kind, all_, least in (
        ("victims", victims, _LEAST_VICTIMS),
        ("aggressors", aggressors, _LEAST_AGGRESSORS),
    ):
        there = sum(why is None for why in all_.values())
        if there < least:
            found.append(f"{there} {kind} can run, {least} make a data set that generalises")
    return found
