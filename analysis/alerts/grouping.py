"""Who is told of what, and when: groups with a wait, an interval and a repeat, as Alertmanager has.

What was told is a set of episodes, so that a new firing of the same alert is news, and one that is
sent again after a restart is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from analysis.alerts.model import Alert

Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """How groups are told.

    Attributes:
        wait_seconds: before a new group is told first, so that what comes together goes together.
        interval_seconds: before news of a group that was told are told.
        repeat_seconds: after which what still fires is told again.
    """

    wait_seconds: float = 10.0
    interval_seconds: float = 60.0
    repeat_seconds: float = 14_400.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What a receiver was told of a group last.

    Attributes:
        at: when; aware UTC.
        firing: episodes that it believes to fire.
    """

    at: datetime
    firing: frozenset[str]


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be told of a group.

    Attributes:
        key: labels and values of the group.
        firing: alerts that fire.
        resolved: alerts that were told to fire and do not any more.
        known: what the receiver believes afterwards to fire.
    """

    key: Key
    firing: tuple[Alert, ...]
    resolved: tuple[Alert, ...]
    known: frozenset[str]


def key_of(labels: Mapping[str, str], group_by: Sequence[str]) -> Key:
    """The group of an alert; "..." in `group_by` takes every label."""
    names = sorted(labels) if "..." in group_by else group_by
    return tuple((name, labels.get(name, "")) for name in names)


def key_text(key: Key) -> str:
    """A group as Alertmanager writes its key: `{}:{alertname="outage"}`."""
    inside = ", ".join(f'{name}="{value}"' for name, value in key)
    return f"{{}}:{{{inside}}}"


def first_at(alerts: Iterable[Alert], now: datetime, timing: Timing) -> datetime:
    """When a group that was not there is told: at once if its oldest alert has waited already."""
    oldest = min(alert.fired_at or alert.changed_at for alert in alerts)
    return max(now, oldest + timedelta(seconds=timing.wait_seconds))


def notice(
    key: Key,
    firing: Sequence[Alert],
    ended: Mapping[str, Alert],
    muted: frozenset[str],
    sent: Sent | None,
    timing: Timing,
    now: datetime,
) -> Notice | None:
    """What a receiver must be told of a group now; None when it knows all.

    Args:
        key: of the group.
        firing: all its alerts that fire.
        ended: episode -> an alert that is resolved.
        muted: episodes nobody is to be told of now, silenced or explained.
        sent: what it was told last.
        timing: when it is told again.
        now: aware UTC.
    """
    believed = sent.firing if sent is not None else frozenset[str]()
    there = {alert.episode: alert for alert in firing}
    told = {name: alert for name, alert in there.items() if name not in muted}
    over = {name: ended[name] for name in believed if name in ended and name not in muted}
    is_news = not told.keys() <= believed or bool(over)
    again = sent is not None and now - sent.at >= timedelta(seconds=timing.repeat_seconds)
    if not is_news and not (told and again):
        return None
    # What it heard of and is silenced now it goes on to believe, until that is over.
    known = frozenset(told) | (believed & (there.keys() | muted))
    by_age = sorted(told.values(), key=lambda alert: (alert.changed_at, alert.fingerprint))
    gone = sorted(over.values(), key=lambda alert: (alert.changed_at, alert.fingerprint))
    return Notice(key, tuple(by_age), tuple(gone), known - over.keys())
