"""Desired replicas as a gauge and as JSON: an HPA, KEDA or WVA-style chain does the rest.

Nothing here has a right to write anything: HPA bounds stay the hard fence. "Applied" therefore
means published; whether somebody follows is seen in the replicas themselves.

Until a first decision there is no number, not 0: whoever reads it then holds what it has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.actuators.base import Scale
from controller.actuators.published import Board
from store.clock import Clock

METRIC = "servescope_desired_replicas"
ABOUT = "Replicas that the controller wants, by pool; absent until something was decided."
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class GaugePool:
    """One number.

    Attributes:
        labels: labels of the gauge besides `pool`, such as a namespace and a deployment.
    """

    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse names that cannot be.

        Raises:
            ValueError: naming the label.
        """
        for name in self.labels:
            if not _LABEL.fullmatch(name) or name.startswith("__") or name == "pool":
                raise ValueError(f"'{name}' is no name of a label here")


@dataclass(frozen=True, slots=True)
class GaugeSettings:
    """Desired replicas that others read.

    Attributes:
        pools: by name.
        file: keeps the numbers over a restart; "" forgets them, and there is no number until the
            next decision.
    """

    pools: Mapping[str, GaugePool] = field(default_factory=dict)
    file: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """One point of the gauge.

    Attributes:
        labels: `pool` first.
        replicas: wanted.
    """

    labels: Mapping[str, str]
    replicas: int


class DesiredGauge:
    """Publishes; the server shows `published` at /metrics and `document` as JSON.

    Args:
        settings: of the pools.
        clock: the time.
    """

    def __init__(self, settings: GaugeSettings, clock: Clock) -> None:
        self._settings = settings
        file = Path(settings.file).expanduser() if settings.file else None
        self._board = Board(tuple(settings.pools), clock, file)

    @property
    def name(self) -> str:
        """For people and records."""
        return f"gauge {METRIC}"

    @property
    def pools(self) -> tuple[str, ...]:
        """Of the settings."""
        return self._board.pools

    async def read(self, pool: str) -> Scale:
        """What is published."""
        return self._board.scale(pool)

    async def write(self, pool: str, replicas: int, seen: Scale, decision_id: str) -> str:
        """Publish another number."""
        self._board.put(pool, replicas, decision_id)
        return "published; whoever reads it does the scaling"

    async def aclose(self) -> None:
        """Nothing to close."""

    def published(self) -> tuple[Published, ...]:
        """Points of the gauge `METRIC`; none for pools that nothing was decided for.

        Raises:
            NoAnswer: the file cannot be read.
        """
        return tuple(Published(self.labels(one.pool), one.replicas) for one in self._board.all())

    def labels(self, pool: str) -> dict[str, str]:
        """Labels of a pool's point of the gauge, `pool` first."""
        return {"pool": pool, **self._settings.pools[pool].labels}

    def document(self) -> dict[str, Any]:
        """For KEDA's metrics-api: `valueLocation: pools.NAME.desired_replicas`.

        Raises:
            NoAnswer: the file cannot be read.
        """
        return {
            "pools": {
                one.pool: {
                    "desired_replicas": one.replicas,
                    "decision_id": one.decision_id,
                    "published_at": one.published_at.isoformat(),
                }
                for one in self._board.all()
            }
        }
