"""The tables of a report as CSV files in one zip, and its numbers as one more."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

from analysis.reports.document import Document

# The oldest time a zip can hold: a fixed one, so that the same document gives the same bytes.
_STAMP = (1980, 1, 1, 0, 0, 0)
_RISKY = ("=", "+", "-", "@", "\t", "\r")
_NUMBERS = ("section", "name", "label", "value", "unit", "low", "high", "n", "before", "why")


def rendered(document: Document) -> bytes:
    """`numbers.csv`, `findings.csv` and one file a table, named section.table.csv."""
    files = {"numbers.csv": _numbers(document), "findings.csv": _findings(document)}
    for section in document.sections:
        for table in section.tables:
            head = [column.key for column in table.columns]
            files[f"{section.key}.{table.key}.csv"] = _text([head, *table.rows])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name], compresslevel=9)
    return out.getvalue()


def _numbers(document: Document) -> str:
    rows = [
        (section.key, one.key, one.label, one.value, one.unit, one.low, one.high, one.n,
         one.before, one.why)
        for section in document.sections
        for one in section.numbers
    ]  # fmt: skip
    return _text([_NUMBERS, *rows])


def _findings(document: Document) -> str:
    told = [("verdict", document.verdict)]
    told += [("finding", text) for text in document.findings]
    told += [("advice", text) for text in document.advice]
    told += [(section.key, section.empty) for section in document.sections if section.empty]
    return _text([("what", "text"), *told])


def _text(rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([safe(value) for value in row] for row in rows)
    return out.getvalue()


def safe(value: Any) -> Any:
    """A cell that no spreadsheet runs as a formula. Source: OWASP, CSV injection."""
    if isinstance(value, str) and value.startswith(_RISKY):
        return f"'{value}"
    return value
