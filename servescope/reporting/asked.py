"""What somebody asks for when they ask for a report, and which period and sources that means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from analysis.reports import periods
from analysis.reports.periods import Period
from analysis.reports.template import Template
from store.errors import InputError
from store.queries.scope import SourceInfo, parse_time, resolve


@dataclass(frozen=True, slots=True)
class Asked:
    """One report that is wanted.

    Attributes:
        template: name of a template.
        period: "2026-W46", "2026-11-20", "2026-11"; "" is the last complete one.
        from_time: start of an incident, as `store.queries.scope.parse_time` reads it.
        to_time: its end.
        zone: IANA name of the zone in which days begin; a trace without one has its own clock.
        params: source and labels; they beat those of the template.
        forms: of `dashboard.report.FORMS`.
    """

    template: str
    period: str = ""
    from_time: str = ""
    to_time: str = ""
    zone: str = "UTC"
    params: Mapping[str, str] = field(default_factory=dict)
    forms: tuple[str, ...] = ("html",)


def sources_of(
    documents: Sequence[Mapping[str, Any]], params: Mapping[str, str], now: datetime
) -> list[SourceInfo]:
    """The sources that parameters mean.

    Raises:
        InputError: an unknown source, or several that do not share a clock.
    """
    catalog = [_source(document) for document in documents]
    chosen = resolve({k: v for k, v in params.items() if k == "source"}, catalog, now).source_ids
    return [source for source in catalog if source.source_id in chosen]


def _source(document: Mapping[str, Any]) -> SourceInfo:
    times = {name: _aware(document[name]) for name in ("first_at", "last_at")}
    return SourceInfo(**{**document, **times})


def _aware(text: Any) -> datetime | None:
    if text is None:
        return None
    at = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def period_of(
    asked: Asked, template: Template, sources: Sequence[SourceInfo], now: datetime
) -> Period:
    """The period that is meant.

    Of a trace that is the one that holds its last record: the trace is over, so it is complete.

    Raises:
        InputError: the text is no period of this kind, or the zone is unknown.
    """
    zone = _zone(asked.zone, sources)
    if template.kind == "incident" or asked.from_time or asked.to_time:
        return _incident(asked, template, zone, now)
    if asked.period:
        return periods.read(template.kind, asked.period, zone)
    ends = [source.last_at for source in sources if source.last_at is not None]
    if ends and all(source.kind == "trace" for source in sources):
        last = max(ends).astimezone(periods.zone_named(zone))
        return periods.calendar(template.kind, last.date(), zone)
    return periods.last_complete(template.kind, now, zone)


def _zone(zone: str, sources: Sequence[SourceInfo]) -> str:
    periods.zone_named(zone)
    clocks = {source.clock for source in sources}
    if "relative" in clocks or ("local_unknown" in clocks and _has_no_date(sources)):
        return periods.TRACE_TIME
    return periods.TRACE_CLOCK if "local_unknown" in clocks else zone


def _has_no_date(sources: Sequence[SourceInfo]) -> bool:
    """Whether times count from a midnight without a date, which is kept as 1970-01-01."""
    firsts = [source.first_at for source in sources if source.first_at is not None]
    return bool(firsts) and min(firsts).year == 1970


def _incident(asked: Asked, template: Template, zone: str, now: datetime) -> Period:
    if template.kind != "incident":
        raise InputError(
            f"a {template.kind} report is of a calendar period, not of any two times",
            hint="--period, or the template incident",
        )
    if not asked.from_time or not asked.to_time or asked.period:
        raise InputError(
            "an incident is named by its start and its end",
            hint="--from 2026-11-20T14:00 --to 2026-11-20T15:30",
        )
    return periods.incident(parse_time(asked.from_time, now), parse_time(asked.to_time, now), zone)
