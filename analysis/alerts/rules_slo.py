"""Burn of error budgets: the numbers of the SLO pages, asked again and again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from analysis.alerts.model import Link, Reading, Severity
from analysis.alerts.rules import Watch
from analysis.burn import AlertRule
from analysis.slo import rule_state
from analysis.slo_counting import applicable, count
from analysis.slo_counts import Counted
from analysis.slo_model import Slo, short_window
from store.queries.scope import LIVE_SOURCE_ID, Scope

# What a link shows before an alert: at least this much of the past.
_LEAST_BACK_SECONDS = 6 * 3600.0


def burns_fast(watch: Watch) -> Sequence[Reading]:
    """A reading for each objective about live traffic: do its paging burn rates fire?"""
    return _readings(watch, "page")


def burns_slowly(watch: Watch) -> Sequence[Reading]:
    """A reading for each objective about live traffic: do its ticket burn rates fire?"""
    return _readings(watch, "ticket")


def _readings(watch: Watch, severity: Severity) -> list[Reading]:
    return [
        judged(slo, found, severity)
        for slo, found in _counted(watch)
        if any(rule.severity == severity for rule in slo.alerts)
    ]


def _counted(watch: Watch) -> list[tuple[Slo, Counted]]:
    """Objectives about live traffic with their counts, read once for both severities."""
    if "slos" not in watch.shared:
        scope = Scope((LIVE_SOURCE_ID,), watch.now - timedelta(hours=6), watch.now)
        chosen = [slo for slo in applicable(watch.reader, watch.slos, scope) if slo.alerts]
        counted = count(watch.reader, chosen, scope)
        watch.shared["slos"] = list(zip(chosen, counted, strict=True))
    found: list[tuple[Slo, Counted]] = watch.shared["slos"]
    return found


def judged(slo: Slo, counted: Counted, severity: Severity) -> Reading:
    """What the burn rules of one severity say of one objective.

    It is active where a rule fires, unknown where none does and one has a window without requests
    or no numbers at all.
    """
    rules = [rule for rule in slo.alerts if rule.severity == severity]
    told = [(rule, *rule_state(slo, counted, rule)) for rule in rules]
    firing = [one for one in told if one[3]]
    active: bool | None = bool(firing)
    if not firing and any(_unknown(rule, long, short) for rule, long, short, _ in told):
        active = None
    # The rule with most above its threshold speaks.
    rule, long, short, _ = max(firing or told, key=lambda one: (one[1] or 0.0) / one[0].burn)
    labels = {"slo": slo.name}
    link = _link(slo, rule)
    for name, values in (("model", slo.match.models), ("tenant", slo.match.tenants)):
        if len(values) == 1:
            labels[name] = values[0]
    return Reading(labels, active, _words(slo, counted, rule, long, short), long, link)


def _unknown(rule: AlertRule, long: float | None, short: float | None) -> bool:
    """Whether it can be neither said that this rule fires nor that it does not."""
    below = any(burn is not None and burn <= rule.burn for burn in (long, short))
    return not below and (long is None or short is None)


def _words(
    slo: Slo, counted: Counted, rule: AlertRule, long: float | None, short: float | None
) -> str:
    tally = counted.window(rule.long_seconds)
    over = short_window(rule.long_seconds)
    if counted.is_uncounted:
        return f"{slo.name}: {counted.note}."
    if long is None or short is None:
        which = over if long is None else short_window(rule.short_seconds)
        return f"{slo.name}: no request that counts in the last {which}."
    whole = f"its budget of {short_window(slo.window_seconds)}"
    if slo.calendar is not None:
        whole = f"the whole budget of a calendar {slo.calendar.unit}"
    pace = f" At this pace {whole} lasts"
    lasts = f"{pace} {short_window(slo.window_seconds / long)}." if long > 0 else ""
    return (
        f"{slo.name} burns its error budget {long:.3g} times too fast over {over} and"
        f" {short:.3g} times over {short_window(rule.short_seconds)} (limit {rule.burn:g}):"
        f" {tally.bad_low:,.0f} of {tally.attempted:,.0f} requests were bad.{lasts}"
    )


def _link(slo: Slo, rule: AlertRule) -> Link:
    params = {"source": "live"}
    return Link(f"slo/{slo.name}", params, max(rule.long_seconds, _LEAST_BACK_SECONDS))
