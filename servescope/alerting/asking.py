"""Asks the rules: each by itself, so that one that fails leaves the others alone."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from analysis.alerts.model import Asked, Reading
from analysis.alerts.rules import Told, Watch
from analysis.slo_model import Slo
from servescope.alerting.settings import Chosen
from store.database import Database

log = logging.getLogger("servescope.alerts")

_DISK_EVERY = timedelta(seconds=60)
_DISK_KEPT = 360
"""Readings of the disk, so that its pace is that of the last six hours."""


class Asking:
    """What the rules say now.

    Args:
        database: the store.
        chosen: rules that are on.
        free_bytes: free space beside the store; None where it is in memory.
        named: what a tenant is called; None is its name.
    """

    def __init__(
        self,
        database: Database,
        chosen: Sequence[Chosen],
        free_bytes: Callable[[], float] | None,
        reserve_bytes: float,
        named: Callable[[str], str] | None = None,
    ) -> None:
        self._database = database
        self._chosen = chosen
        self._free_bytes = free_bytes
        self._reserve = reserve_bytes
        self._named = named
        self._disk: deque[tuple[datetime, float]] = deque(maxlen=_DISK_KEPT)
        self._answers: dict[str, tuple[datetime, Asked]] = {}
        self.failures: Counter[str] = Counter()
        self.failing: dict[str, str] = {}

    def ask(self, slos: Sequence[Slo], now: datetime) -> dict[str, Asked]:
        """Rule -> its answer; a rule that fails answers with nothing, which is unknown."""
        self._look_at_disk(now)
        told = Told(tuple(self._disk), self._reserve)
        whole = Watch(self._database.reader, now, slos, {}, told, {})
        return {chosen.rule.name: self._answer(chosen, whole) for chosen in self._chosen}

    def _answer(self, chosen: Chosen, whole: Watch) -> Asked:
        rule, now = chosen.rule, whole.now
        last = self._answers.get(rule.name)
        if last is not None and now - last[0] < timedelta(seconds=rule.every_seconds):
            return last[1]
        answer = self._asked(chosen, whole)
        if rule.every_seconds:
            self._answers[rule.name] = now, answer
        return answer

    def _asked(self, chosen: Chosen, whole: Watch) -> Asked:
        rule = chosen.rule
        watch = replace(whole, limits=chosen.limits)
        readings: Sequence[Reading] | None = None
        try:
            readings = [self._veiled(one) for one in rule.ask(watch)]
            self.failing.pop(rule.name, None)
        except Exception as error:  # noqa: BLE001 - what cannot be asked is unknown, and is told
            self.failures[rule.name] += 1
            self.failing[rule.name] = f"{type(error).__name__}: {error}"
            log.warning("rule_failed", extra={"rule": rule.name, "error": self.failing[rule.name]})
        return Asked(
            chosen.severity, chosen.for_seconds, chosen.keep_seconds, readings, rule.is_whole
        )

    def _veiled(self, reading: Reading) -> Reading:
        """Tenants by the name they may have outside."""
        tenant = reading.labels.get("tenant")
        if tenant is None or self._named is None:
            return reading
        shown = self._named(tenant)
        params: Mapping[str, str] = {
            name: shown if name == "tenant" else value
            for name, value in reading.link.params.items()
        }
        return replace(
            reading,
            labels={**reading.labels, "tenant": shown},
            summary=reading.summary.replace(tenant, shown),
            link=replace(reading.link, params=params),
        )

    def _look_at_disk(self, now: datetime) -> None:
        if self._free_bytes is None:
            return
        if not self._disk or now - self._disk[-1][0] >= _DISK_EVERY:
            self._disk.append((now, float(self._free_bytes())))
