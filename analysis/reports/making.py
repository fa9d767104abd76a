"""A document from a template and the answers of views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from analysis.reports import coverage, periods
from analysis.reports.asking import Asking
from analysis.reports.document import Covered, Document, Number, Point, Section
from analysis.reports.parts import sentence
from analysis.reports.sections import SECTIONS
from analysis.reports.template import Template
from store.errors import ServescopeError

MOST_FINDINGS = 3
MOST_NUMBERS = 6
Progress = Callable[[float, str], None]
"""How far it is, 0 to 1, and with what."""


@dataclass(frozen=True, slots=True)
class Making:
    """What a document is stamped with.

    Attributes:
        made_at: now (aware UTC).
        version: of servescope.
        link: address of the dashboard; None where none is known.
    """

    made_at: datetime
    version: str
    link: str | None = None


def make(template: Template, asking: Asking, making: Making, progress: Progress) -> Document:
    """The document of a period.

    A section that cannot be computed says so and leaves the others alone.

    Args:
        template: what it contains.
        asking: where numbers come from.
        making: what it is stamped with.
        progress: told before each section.
    """
    names = [name for name in template.sections if _is_there(name, asking)]
    sections = []
    for place, name in enumerate(names):
        progress(place / len(names), SECTIONS[name].title)
        sections.append(_built(name, asking))
    progress(1.0, "")
    return _whole(template, asking, making, tuple(sections))


def _is_there(name: str, asking: Asking) -> bool:
    needed = SECTIONS[name].needs_view
    return not needed or needed in asking.views


def _built(name: str, asking: Asking) -> Section:
    try:
        found = SECTIONS[name].build(asking)
    except ServescopeError as error:
        text = f"This could not be computed: {error}"
        found = Section(name, "", empty=text, problem=str(error))
    told = tuple(sentence(text) for text in found.verdict if text)
    return replace(found, key=name, title=SECTIONS[name].title, verdict=told)


def _whole(
    template: Template, asking: Asking, making: Making, sections: tuple[Section, ...]
) -> Document:
    period = asking.period
    first, last = coverage.within(asking.sources, period)
    covered = Covered(
        period.kind, period.key, period.start, period.end, period.zone, period.words,
        tuple(str(source["name"]) for source in asking.sources),
        {key: text for key, text in asking.params.items() if key != "source"}, first, last,
    )  # fmt: skip
    skipped = all(section.empty is not None for section in sections)
    return Document(
        template.name, template.title, covered, making.made_at, making.version,
        verdict=_verdict(sections),
        findings=_best(point for section in sections for point in section.findings),
        advice=_best(point for section in sections for point in section.advice),
        numbers=_headline(sections),
        sections=sections,
        notes=tuple(text for text in (coverage.words(first, last, period),) if text),
        outcome="skipped" if skipped else "made",
        reason=_why_skipped(sections, period) if skipped else "",
        link=making.link,
    )  # fmt: skip


def _best(points: Iterable[Point]) -> tuple[str, ...]:
    """The texts that matter most, each once."""
    ranked = sorted(points, key=lambda point: -point.weight)
    return tuple(dict.fromkeys(point.text for point in ranked))[:MOST_FINDINGS]


def _verdict(sections: Sequence[Section]) -> str:
    """What was promised, then what came; where promises were not judged, that comes last."""
    told = {section.key: section.verdict[0] for section in sections if section.verdict}
    told |= {one.key: one.empty for one in sections if one.key == "traffic" and one.empty}
    first = [told[key] for key in ("slo", "traffic") if key in told]
    first = first or list(told.values())[:1]
    unknown = [
        f"Whether objectives were met is not known: {section.empty[:1].lower()}{section.empty[1:]}"
        for section in sections
        if section.key == "slo" and section.empty is not None
    ]
    return " ".join([*first, *unknown])


def _headline(sections: Sequence[Section]) -> tuple[Number, ...]:
    """The numbers that everybody looks for, as far as they are known."""
    by_key = {section.key: section.numbers for section in sections}
    wanted = [
        *by_key.get("slo", ())[:2],
        *_named(by_key.get("traffic", ()), "requests", "requests_per_second"),
        *_named(by_key.get("latency", ()), "ttft_p95_seconds", "tpot_p95_seconds"),
        *_named(by_key.get("traffic", ()), "error_ratio", "input_tokens_per_second",
                "output_tokens_per_second", "peak_to_mean_60s"),
    ]  # fmt: skip
    return tuple(wanted[:MOST_NUMBERS])


def _named(numbers: Sequence[Number], *keys: str) -> list[Number]:
    known = {number.key: number for number in numbers}
    return [known[key] for key in keys if key in known]


def _why_skipped(sections: Sequence[Section], period: periods.Period) -> str:
    reasons = {section.key: section.empty for section in sections if section.empty}
    usual = next(iter(reasons.values()), "the template names no section")
    first = reasons.get("traffic", usual)
    return f"no section has anything to say about {period.words}: {first}"
