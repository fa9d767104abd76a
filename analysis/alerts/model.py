"""The nouns of alerts: what a rule says of one thing now, and how an alert about it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Severity = Literal["page", "ticket"]
State = Literal["inactive", "pending", "firing", "resolved"]
SEVERITIES: tuple[Severity, ...] = ("page", "ticket")
OPEN_STATES = ("pending", "firing")
NAME_LABEL = "alertname"
SEVERITY_LABEL = "severity"

_FNV_OFFSET = 14_695_981_039_346_656_037
_FNV_PRIME = 1_099_511_628_211
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Link:
    """A page that shows what an alert means.

    Attributes:
        page: its path below the dashboard, such as "slo/chat-ttft".
        params: filters in its address, without times.
        back_seconds: how long before the alert its time range begins.
    """

    page: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    back_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule says of one thing now.

    Attributes:
        labels: which thing, beside the rule's own labels; values are never empty.
        active: whether the condition holds; None when that cannot be told.
        summary: one sentence with numbers.
        value: the number that was compared.
        link: where it can be seen.
    """

    labels: Mapping[str, str]
    active: bool | None
    summary: str
    value: float | None = None
    link: Link = field(default_factory=Link)


@dataclass(frozen=True, slots=True)
class Asked:
    """What one rule answered.

    Attributes:
        severity: of its alerts.
        for_seconds: how long a condition must hold before it fires.
        keep_seconds: how long it must be over before the alert is resolved.
        readings: one a thing; None when the rule could not be asked, so that all is unknown.
        is_whole: whether a thing that is not among them is gone; else nothing is known of it.
    """

    severity: Severity
    for_seconds: float
    keep_seconds: float
    readings: Sequence[Reading] | None
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Alert:
    """How an alert stands.

    Attributes:
        fingerprint: of its labels, as Alertmanager makes it.
        rule: name.
        severity: who is called.
        labels: all of them, with `alertname` and `severity`.
        state: pending, firing; or, as a change, inactive or resolved.
        changed_at: when it came into this state; aware UTC like all times here.
        active_at: since when the condition holds, without time in which nothing was known.
        fired_at: when it fired; None while pending.
        summary: what was said last.
        value: the number that was said last.
        link: where it can be seen.
        why: of a change, one line.
        clear_at: since when the condition holds no more, while it still fires.
        blind_at: since when nothing is known of it.
    """

    fingerprint: str
    rule: str
    severity: Severity
    labels: Mapping[str, str]
    state: State
    changed_at: datetime
    active_at: datetime
    fired_at: datetime | None
    summary: str
    value: float | None = None
    link: Link = field(default_factory=Link)
    why: str = ""
    clear_at: datetime | None = None
    blind_at: datetime | None = None

    @property
    def episode(self) -> str:
        """This firing of the alert, told from earlier and later ones."""
        at = self.fired_at or self.active_at
        return f"{self.fingerprint}@{at.timestamp():.3f}"


def all_labels(rule: str, severity: Severity, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of an alert, by name."""
    whole = {**labels, NAME_LABEL: rule, SEVERITY_LABEL: severity}
    return dict(sorted((name, value) for name, value in whole.items() if value))


def fingerprint(labels: Mapping[str, str]) -> str:
    """The identity of a set of labels: FNV-1a of names and values, sixteen hex digits.

    The same that Prometheus and Alertmanager make, so that both sides speak of one alert.
    """
    told = _FNV_OFFSET
    for name, value in sorted(labels.items()):
        for part in (name, value):
            for byte in (*part.encode(), 0xFF):
                told = ((told ^ byte) * _FNV_PRIME) & _MASK
    return f"{told:016x}"
