"""A report as one HTML file that needs nothing beside itself: no network, no script, no font."""

from __future__ import annotations

from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from analysis.reports.document import Chart, Document
from analysis.reports.periods import TRACE_TIME, zone_named
from dashboard.report import svg, words
from dashboard.report.svg import Look


def rendered(document: Document) -> bytes:
    """The page."""
    return page(document, Look()).encode()


def page(document: Document, look: Look) -> str:
    """The page as text.

    Args:
        document: what it says.
        look: colours of its charts: variables of the page, or values where those do not reach.
    """
    covered = document.covered
    zone, dated = zone_named(covered.zone), covered.zone != TRACE_TIME

    def draw(chart: Chart) -> Markup:
        # Drawn by ourselves; every text in it is escaped there.
        return Markup(svg.drawn(chart, zone, look, dated=dated))  # noqa: S704

    text = _template().render(
        document=document, covered=covered, words=words, draw=draw, style=Markup(_style()),  # noqa: S704
        told=[section for section in document.sections if section.empty is None],
        silent=[section for section in document.sections if section.empty is not None],
    )  # fmt: skip
    # A number and its sign are never torn apart.
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("report.html.j2"))


@cache
def _style() -> str:
    return _asset("report.css")


def _asset(name: str) -> str:
    return (resources.files("dashboard.report") / "assets" / name).read_text("utf-8")
