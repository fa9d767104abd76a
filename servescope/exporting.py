"""Requests out of the store as files in public formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import httpx2
from fastapi.responses import StreamingResponse

from servescope.runtime import Runtime
from store import export
from store.errors import InputError
from store.export_change import Change
from store.queries.scope import Scope

MEDIA_TYPES: Mapping[str, tuple[str, str]] = {
    "parquet": ("application/vnd.apache.parquet", "parquet"),
    "azure": ("text/csv; charset=utf-8", "csv"),
    "burstgpt": ("text/csv; charset=utf-8", "csv"),
    "mooncake": ("application/x-ndjson", "jsonl"),
}
"""Format -> media type and file ending."""


def check_format(form: str) -> None:
    """Refuse an unknown format.

    Raises:
        InputError: naming those there are.
    """
    if form not in MEDIA_TYPES:
        raise InputError(
            f"there is no export format '{form}'", hint=f"one of: {', '.join(MEDIA_TYPES)}"
        )


def chunks(
    runtime: Runtime, scope: Scope, form: str, change: Change = export.AS_RECORDED
) -> Iterator[bytes]:
    """The bytes of a file, a part at a time.

    Raises:
        InputError: unknown format, or one that cannot be changed.
        StoreError: the rows cannot be read.
    """
    check_format(form)
    return export.stream(runtime.database, scope, form, change)


def response(
    runtime: Runtime, scope: Scope, form: str, change: Change = export.AS_RECORDED
) -> StreamingResponse:
    """A download.

    Raises:
        QueryRefused: the rows would show what is hidden.
    """
    if form == "parquet":
        runtime.veils.refuse("an export of rows")
    parts = chunks(runtime, scope, form, change)
    media_type, ending = MEDIA_TYPES[form]
    name = f"requests-{form}{'' if change.is_none else '-changed'}.{ending}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(parts, media_type=media_type, headers=headers)


def from_server(
    client: httpx2.Client,
    url: str,
    params: Mapping[str, str],
    form: str,
    change: Change = export.AS_RECORDED,
) -> Iterator[bytes]:
    """The same bytes from a running server.

    Raises:
        InputError: unknown format.
        CommandError: the server refused, or is gone.
    """
    from servescope.cli.access import API, refused, unreachable

    check_format(form)
    try:
        query = {**params, "format": form}
        if not change.is_none:
            query |= {"keep": repr(change.keep), "speed": repr(change.speed)}
        with client.stream("GET", f"{url}{API}/export/requests", params=query) as answer:
            if answer.status_code >= 400:
                raise refused(answer)
            yield from answer.iter_bytes()
    except httpx2.HTTPError as error:
        raise unreachable(url, error) from error
