"""A report as JSON, schema `servescope.report/1`: the whole document, nothing rounded."""

from __future__ import annotations

import dataclasses

import orjson

from analysis.reports.document import SCHEMA, Document


def rendered(document: Document) -> bytes:
    """Keys in the order of the classes of `analysis.reports.document`; times are ISO 8601 UTC."""
    body = {"schema": SCHEMA, "data": dataclasses.asdict(document)}
    return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z) + b"\n"
