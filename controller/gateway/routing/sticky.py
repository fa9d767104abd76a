"""Around any way: a conversation stays where it is, while that replica is not overloaded."""

from __future__ import annotations

from collections import OrderedDict

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import Choice, Way, WaySpec
from controller.gateway.routing.turns import mean_running
from store.errors import ControllerError

SPEC = WaySpec(
    "sticky",
    "Sessions stay",
    "session affinity of AIBrix, kthena and the vLLM production-stack",
    {"idle_seconds": 600.0, "most_sessions": 20_000, "most_load_ratio": 1.5},
)
SLACK = 2
"""Requests above the mean that are no overload however small the mean is."""


class Sticky:
    """Sends a session where its last request went; else asks the inner way.

    Args:
        inner: chooses for everybody else.
        idle_seconds: after which a session is forgotten.
        most_sessions: remembered; beyond them the one that was quiet the longest is forgotten.
        most_load_ratio: requests, times the mean of the fleet, at which its replica is overloaded.

    Raises:
        ControllerError: a value is out of range.
    """

    def __init__(
        self,
        inner: Way,
        idle_seconds: float = 600.0,
        most_sessions: int = 20_000,
        most_load_ratio: float = 1.5,
    ) -> None:
        if not (idle_seconds > 0 and most_sessions >= 1 and most_load_ratio >= 1):
            raise ControllerError(
                "sticky: a parameter is out of range",
                hint="idle_seconds > 0, most_sessions >= 1, most_load_ratio >= 1",
            )
        own = {
            "idle_seconds": idle_seconds,
            "most_sessions": most_sessions,
            "most_load_ratio": most_load_ratio,
        }
        self.spec = WaySpec(
            f"{SPEC.name}({inner.spec.name})",
            f"{inner.spec.title}; sessions stay",
            f"{SPEC.source}; {inner.spec.source}",
            {**inner.spec.parameters, SPEC.name: own},
            inner.spec.may_starve,
        )
        self.inner = inner
        self._idle, self._most, self._ratio = idle_seconds, most_sessions, most_load_ratio
        self._homes: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """Where its session is, if there is a place and no overload."""
        name, at = self._homes.get(_session(ask), ("", 0.0))
        if name and choice.now - at <= self._idle:
            most = self._ratio * mean_running(choice.fleet, without=name) + SLACK
            for one in choice.free:
                if one.name == name and len(one.running) < most:
                    return one
        return self.inner.choose(ask, choice)

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """The session lives there now."""
        if ask.session:
            self._homes[_session(ask)] = (instance.name, now)
            self._homes.move_to_end(_session(ask))
        self._forget(now)
        self.inner.sent(ask, instance, now)

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """After a failure the session may go elsewhere."""
        if is_failed and self._homes.get(_session(ask), ("", 0.0))[0] == instance.name:
            del self._homes[_session(ask)]
        self.inner.ended(ask, instance, now, is_failed=is_failed)

    def gone(self, name: str) -> None:
        """Its sessions find another home with their next request."""
        for session in [key for key, (home, _) in self._homes.items() if home == name]:
            del self._homes[session]
        self.inner.gone(name)

    def _forget(self, now: float) -> None:
        while self._homes:
            oldest = next(iter(self._homes))
            if len(self._homes) <= self._most and now - self._homes[oldest][1] <= self._idle:
                return
            del self._homes[oldest]


def _session(ask: Ask) -> tuple[str, str]:
    """Two tenants may use the same word."""
    return (ask.tenant, ask.session) if ask.session else ("", "")
