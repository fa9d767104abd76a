"""What each receiver is to be told now, and when it is asked again after it failed.

Nothing waits in a queue: what a receiver should know and what it was told are compared each time,
so that one that was away hears how it stands now, and memory is bounded by what is open.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from analysis.alerts.grouping import Key, Notice, Sent, Timing, first_at, key_of, key_text, notice
from analysis.alerts.matchers import Matcher
from analysis.alerts.model import Alert

FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 300.0


def wait_after(failures: int) -> timedelta:
    """How long a receiver that failed so often in a row is left alone: 5 s, 10 s, … 5 min."""
    seconds = FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 10)
    return timedelta(seconds=min(seconds, LONGEST_WAIT_SECONDS))


@dataclass(slots=True)
class Outbox:
    """The groups of one receiver.

    Attributes:
        name: of the receiver.
        matchers: what an alert must fit.
        group_by: labels of a group.
        timing: when it is told.
        next_at: group -> when it is looked at again.
        failures: group -> failures in a row.
    """

    name: str
    matchers: Sequence[Matcher]
    group_by: Sequence[str]
    timing: Timing
    next_at: dict[Key, datetime] = field(default_factory=dict)
    failures: Counter[Key] = field(default_factory=Counter)

    def due(
        self,
        held: Mapping[str, Alert],
        ended: Mapping[str, Alert],
        muted: Mapping[str, str],
        sent: Mapping[tuple[str, str], Sent],
        now: datetime,
    ) -> list[Notice]:
        """What is to be told now.

        Args:
            held: alerts by fingerprint.
            ended: episode -> an alert that is resolved.
            muted: fingerprints nobody is told of.
            sent: what receivers know, by name and group.
            now: aware UTC.
        """
        firing: dict[Key, list[Alert]] = defaultdict(list)
        over: dict[Key, dict[str, Alert]] = defaultdict(dict)
        for alert in held.values():
            if alert.state == "firing" and self._wants(alert):
                firing[key_of(alert.labels, self.group_by)].append(alert)
        for episode, alert in ended.items():
            if self._wants(alert):
                over[key_of(alert.labels, self.group_by)][episode] = alert
        found = []
        for key in sorted({*firing, *over}):
            quiet = frozenset(a.episode for a in firing[key] if a.fingerprint in muted)
            known = sent.get((self.name, key_text(key)))
            made = notice(key, firing[key], over[key], quiet, known, self.timing, now)
            if self._is_due(key, made, firing[key], now) and made is not None:
                found.append(made)
        self._forget({*firing, *over})
        return found

    def _is_due(
        self, key: Key, made: Notice | None, firing: Sequence[Alert], now: datetime
    ) -> bool:
        if key not in self.next_at:
            if made is None:
                return False
            alerts = [*firing, *made.resolved]
            self.next_at[key] = first_at(alerts, now, self.timing)
        return self.next_at[key] <= now

    def done(self, key: Key, now: datetime) -> None:
        """A group was told."""
        del self.failures[key]
        self.next_at[key] = now + timedelta(seconds=self.timing.interval_seconds)

    def failed(self, key: Key, now: datetime) -> int:
        """It could not be told; gives how often in a row."""
        self.failures[key] += 1
        self.next_at[key] = now + wait_after(self.failures[key])
        return self.failures[key]

    def _wants(self, alert: Alert) -> bool:
        return all(matcher.matches(alert.labels) for matcher in self.matchers)

    def _forget(self, present: set[Key]) -> None:
        for key in [key for key in self.next_at if key not in present]:
            del self.next_at[key]
            del self.failures[key]
