"""Which module makes which form of a report."""

from __future__ import annotations

import importlib

from analysis.reports.document import Document
from dashboard.report import File
from dashboard.report.words import file_stem

_FORMS = {
    "html": ("dashboard.report.html", "html", "text/html; charset=utf-8"),
    "pdf": ("dashboard.report.pdf", "pdf", "application/pdf"),
    "json": ("dashboard.report.as_json", "json", "application/json"),
    "csv": ("dashboard.report.as_csv", "csv.zip", "application/zip"),
    "md": ("dashboard.report.markdown", "md", "text/markdown; charset=utf-8"),
}


def rendered(document: Document, form: str) -> File:
    """A document in one of `FORMS`; each module is imported when it is first asked for."""
    module, ending, media_type = _FORMS[form]
    data: bytes = importlib.import_module(module).rendered(document)
    return File(f"{file_stem(document)}.{ending}", media_type, data)
