"""One table, four forms: JSON, CSV, Parquet or an Arrow stream, by `?format=` or `Accept`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Literal

import polars as pl
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from servescope.documents import csv_safe
from servescope.json_text import to_json
from store.errors import InputError

Format = Literal["json", "csv", "parquet", "arrow"]
MEDIA_TYPES: Mapping[Format, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
_BY_MEDIA_TYPE: Mapping[str, Format] = {
    "application/json": "json",
    "application/*": "json",
    "*/*": "json",
    "text/csv": "csv",
    "text/*": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/parquet": "parquet",
    "application/vnd.apache.arrow.stream": "arrow",
}


def choose(wanted: str | None, accept: str | None) -> Format:
    """The form to answer in; `wanted` (from `?format=`) beats the `Accept` header.

    Raises:
        InputError: `wanted` is none of the four.
        HTTPException: 406, when nothing in `accept` can be served.
    """
    if wanted:
        for name in MEDIA_TYPES:
            if wanted == name:
                return name
        raise InputError(f"there is no format '{wanted}'", hint=f"one of: {', '.join(MEDIA_TYPES)}")
    if not accept:
        return "json"
    for media_type in _by_preference(accept):
        if media_type in _BY_MEDIA_TYPE:
            return _BY_MEDIA_TYPE[media_type]
    raise HTTPException(406, f"none of '{accept}' can be served; JSON, CSV, Parquet or Arrow can")


def table(
    frame: pl.DataFrame,
    form: Format,
    *,
    name: str,
    about: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A frame as a response.

    Args:
        frame: the rows; naive times are UTC.
        form: how to write it.
        name: stem of the file name that a browser saves it under.
        about: members beside `rows` in the JSON document.
        headers: more response headers, for the forms that have no room for `about`.
    """
    body = _WRITERS[form](frame, about or {})
    extra = {"Vary": "Accept", **(headers or {})}
    if form != "json":
        extra["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return Response(body, media_type=MEDIA_TYPES[form], headers=extra)


def document(value: Any) -> Response:
    """A JSON document."""
    return Response(to_json(value), media_type=MEDIA_TYPES["json"])


def _by_preference(accept: str) -> list[str]:
    """Media types by falling quality; those with q=0 are left out. Source: RFC 9110, 12.5.1."""
    ranked: list[tuple[float, int, str]] = []
    for position, part in enumerate(accept.split(",")):
        media_type, _, rest = part.strip().partition(";")
        quality = 1.0
        for parameter in rest.split(";"):
            key, _, value = parameter.strip().partition("=")
            if key == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if quality > 0:
            ranked.append((-quality, position, media_type.strip().lower()))
    return [media_type for _, _, media_type in sorted(ranked)]


def _json(frame: pl.DataFrame, about: Mapping[str, Any]) -> bytes:
    return to_json({**about, "columns": frame.columns, "rows": frame.to_dicts()})


def _csv(frame: pl.DataFrame, _: Mapping[str, Any]) -> bytes:
    text = csv_safe(frame).write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
    return text.encode()


def _parquet(frame: pl.DataFrame, _: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _arrow(frame: pl.DataFrame, _: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer)
    return buffer.getvalue()


_WRITERS = {"json": _json, "csv": _csv, "parquet": _parquet, "arrow": _arrow}
