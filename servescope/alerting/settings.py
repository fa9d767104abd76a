"""Settings of alerts: the table `[alerts]` with `[[alerts.rule]]` and `[[alerts.receiver]]`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast
from urllib.parse import urlsplit

from analysis.alerts.grouping import Timing
from analysis.alerts.matchers import Matcher, parse_matcher
from analysis.alerts.model import SEVERITIES, Severity
from analysis.alerts.rules import RULES, Rule
from store.errors import InputError
from store.nearest import nearest_hint

KINDS = ("webhook", "alertmanager")
MOST_RECEIVERS = 20
_ABOVE_ZERO = ("evaluate_seconds", "group_interval_seconds", "repeat_interval_seconds",
               "resend_seconds", "send_limit_seconds")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Receiver:
    """One table `[[alerts.receiver]]`: who is told.

    Attributes:
        name: unique.
        kind: webhook (Alertmanager's webhook format) or alertmanager (its own API).
        url: where; for an Alertmanager its root, without /api/v2.
        url_file: file with the address, where the address itself is a secret.
        bearer_token_file: file with a token.
        username: for basic authentication.
        password_file: file with the password.
        match: matchers that an alert must fit; empty takes all.
        send_resolved: whether the end of an alert is told; an Alertmanager is always told.
        most_alerts: in one message; more are counted in `truncatedAlerts`.
    """

    name: str
    kind: str = "webhook"
    url: str = ""
    url_file: str = ""
    bearer_token_file: str = ""
    username: str = ""
    password_file: str = ""
    match: tuple[str, ...] = ()
    send_resolved: bool = True
    most_alerts: int = 100

    def matchers(self) -> tuple[Matcher, ...]:
        """What an alert must fit."""
        return tuple(parse_matcher(text) for text in self.match)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A rule with the settings that are in force for it."""

    rule: Rule
    severity: Severity
    for_seconds: float
    keep_seconds: float
    limits: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Table `[alerts]`: which rules there are, how patient they are, and who is told.

    Attributes:
        enabled: whether the server asks its rules at all.
        off: names of rules that are switched off.
        rule: tables `[[alerts.rule]]`: name, and what is to be otherwise: severity, for_seconds,
            keep_seconds, the rule's own limits; see docs/alerts.md.
        receiver: tables `[[alerts.receiver]]`: who is told.
        evaluate_seconds: how often rules are asked.
        external_url: where people reach this server, for links; empty takes its own address.
        runbook_root: where the runbooks lie; a rule's name and `.md` are added.
        group_by: labels that alerts of one message share; "..." puts each alert in its own.
        group_wait_seconds: before a new group is told first.
        group_interval_seconds: before news of a group that was told are told.
        repeat_interval_seconds: after which what still fires is told again.
        resend_seconds: how often an Alertmanager is told what fires.
        send_limit_seconds: a receiver that takes longer has not answered.
        most_open: alerts that are held at the same time; more are counted and left out.
        accept: whether alerts of an Alertmanager are taken in (POST /api/v1/alerts/in).
        retention_days: what is over for longer is forgotten; unset keeps all.
    """

    enabled: bool = True
    off: tuple[str, ...] = ()
    rule: tuple[dict[str, Any], ...] = ()
    receiver: tuple[dict[str, Any], ...] = ()
    evaluate_seconds: float = 15.0
    external_url: str = ""
    runbook_root: str = "https://github.com/servescope/servescope/blob/main/docs/runbooks/"
    group_by: tuple[str, ...] = ("alertname",)
    group_wait_seconds: float = 10.0
    group_interval_seconds: float = 60.0
    repeat_interval_seconds: float = 14_400.0
    resend_seconds: float = 60.0
    send_limit_seconds: float = 10.0
    most_open: int = 2_000
    accept: bool = True
    retention_days: float | None = 180.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work, all the rules' and receivers' too.

        Raises:
            ValueError: naming the setting.
        """
        for name in _ABOVE_ZERO:
            if not getattr(self, name) > 0:
                raise ValueError(f"alerts.{name} must be above 0")
        if self.group_wait_seconds < 0 or self.most_open < 1:
            raise ValueError("alerts.group_wait_seconds must not be negative, most_open at least 1")
        if self.external_url and not _is_url(self.external_url):
            raise ValueError(f"alerts.external_url is no http address: {self.external_url}")
        self._check_names()
        self.chosen()
        self.receivers()

    def _check_names(self) -> None:
        named = [str(table.get("name", "")) for table in self.rule]
        for name in (*self.off, *named):
            if name not in RULES:
                raise ValueError(f"alerts: no rule is called '{name}'; {nearest_hint(name, RULES)}")
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"alerts.rule: two tables are called '{twice}'")

    def chosen(self) -> tuple[Chosen, ...]:
        """The rules that are on.

        Raises:
            ValueError: naming what of a rule cannot be.
        """
        tables = {table["name"]: table for table in self.rule}
        return tuple(
            _chosen(rule, tables.get(name, {}))
            for name, rule in RULES.items()
            if name not in self.off
        )

    def receivers(self) -> tuple[Receiver, ...]:
        """Who is told.

        Raises:
            ValueError: naming what of a receiver cannot be.
        """
        made = tuple(_receiver(index, table) for index, table in enumerate(self.receiver))
        names = [one.name for one in made]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"alerts.receiver: two are called '{twice}'")
        if len(made) > MOST_RECEIVERS:
            raise ValueError(f"alerts.receiver: more than {MOST_RECEIVERS}")
        return made

    @property
    def timing(self) -> Timing:
        """How groups are told."""
        return Timing(
            self.group_wait_seconds, self.group_interval_seconds, self.repeat_interval_seconds
        )


def _chosen(rule: Rule, table: Mapping[str, Any]) -> Chosen:
    known = ("name", "severity", "for_seconds", "keep_seconds", *rule.limits)
    for key in table:
        if key not in known:
            raise ValueError(f"alerts.rule '{rule.name}': no setting '{key}'; "
                             f"{nearest_hint(key, known)}")  # fmt: skip
    severity = table.get("severity", rule.severity)
    if severity not in SEVERITIES:
        raise ValueError(f"alerts.rule '{rule.name}': severity must be page or ticket")
    durations = [
        _number(rule, name, table.get(name, getattr(rule, name)), 0.0, 604_800.0)
        for name in ("for_seconds", "keep_seconds")
    ]
    limits = {
        name: _number(rule, name, table.get(name, limit.value), limit.least, limit.most)
        for name, limit in rule.limits.items()
    }
    return Chosen(rule, cast("Severity", severity), durations[0], durations[1], limits)


def _number(rule: Rule, name: str, value: Any, least: float, most: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not least <= value <= most:
        raise ValueError(
            f"alerts.rule '{rule.name}': {name} must be a number from {least:g} to {most:g}"
        )
    return float(value)


def _receiver(index: int, table: Mapping[str, Any]) -> Receiver:
    where = f"alerts.receiver[{index}]"
    names = [one.name for one in fields(Receiver)]
    for key in table:
        if key not in names:
            raise ValueError(f"{where}: no setting '{key}'; {nearest_hint(key, names)}")
    if not isinstance(table.get("name"), str) or not table["name"]:
        raise ValueError(f"{where} needs a name")
    where = f"alerts.receiver '{table['name']}'"
    made = Receiver(**{**table, "match": _texts(where, table.get("match", ()))})
    try:
        made.matchers()
    except InputError as error:
        raise ValueError(f"{where}: {error.message}") from error
    problem = next((text for is_wrong, text in _faults(made) if is_wrong), None)
    if problem is not None:
        raise ValueError(f"{where}: {problem}")
    return made


def _faults(made: Receiver) -> tuple[tuple[bool, str], ...]:
    """What can be wrong with a receiver, and whether it is."""
    has_login = bool(made.username)
    return (
        (made.kind not in KINDS, f"kind must be one of {', '.join(KINDS)}"),
        (bool(made.url) == bool(made.url_file), "needs url or url_file, one of the two"),
        (bool(made.url) and not _is_url(made.url), "url is no http address"),
        (made.most_alerts < 1, "most_alerts must be at least 1"),
        (
            has_login != bool(made.password_file),
            "basic authentication needs username and password_file",
        ),
        (
            bool(made.bearer_token_file) and has_login,
            "bearer_token_file and username are both set; keep one",
        ),
    )


def _texts(where: str, value: Any) -> tuple[str, ...]:
    values: Sequence[Any] = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(one, str) for one in values):
        raise ValueError(f"{where}: match is a list of texts such as 'severity=\"page\"'")
    return tuple(values)


def _is_url(text: str) -> bool:
    found = urlsplit(text)
    return found.scheme in ("http", "https") and bool(found.hostname)
