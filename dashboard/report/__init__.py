"""Reports as files: one document rendered as HTML, PDF, JSON, CSV, Markdown, text and pictures.

Rendering is a pure function: the same document gives the same bytes. Nothing rendered here needs a
network, a script or a server to be read.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.reports.document import Document
from store.errors import InputError
from store.nearest import nearest_hint

FORMS = ("html", "pdf", "json", "csv", "md")


@dataclass(frozen=True, slots=True)
class File:
    """One rendered file.

    Attributes:
        name: file name without a folder, such as "weekly-2026-W46.html".
        media_type: such as "text/html; charset=utf-8".
        data: its bytes.
    """

    name: str
    media_type: str
    data: bytes


def render(document: Document, form: str) -> File:
    """A document as a file.

    Args:
        document: what it says.
        form: one of `FORMS`.

    Raises:
        InputError: no such form, or one that this machine cannot make; the hint says what to do.
    """
    from dashboard.report import forms

    if form not in FORMS:
        raise InputError(f"no report can be made as '{form}'", hint=nearest_hint(form, FORMS))
    return forms.rendered(document, form)


def summary(document: Document) -> tuple[str, ...]:
    """The report in five lines of text at most, for a chat."""
    from dashboard.report import words

    return words.summary(document)


def pictures(document: Document, most: int = 4) -> tuple[File, ...]:
    """The first charts as PNG, for e-mail, where neither SVG nor scripts are shown.

    Raises:
        InputError: matplotlib is not installed.
    """
    from dashboard.report import png

    return png.pictures(document, most)
