"""What `servescope gateway drain` does: it tells a gateway on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2

from servescope.cli.data import configured
from servescope.cli.output import CommandError, ExitCode, Output
from servescope.settings import split_listen

TIMEOUT_SECONDS = 10.0


def run_drain(
    instance: str, url: str, config_file: Path | None, *, is_undone: bool, as_json: bool
) -> None:
    """Rest a replica, or use it again.

    Raises:
        CommandError: the gateway does not answer, or knows no such replica.
    """
    out = Output(as_json=as_json)
    settings = configured(None, config_file).gateway
    host, port = split_listen(settings.listen)
    scheme = "https" if settings.tls_certificate else "http"
    where = url.rstrip("/") or f"{scheme}://{_reached(host)}:{port}"
    told = _asked(where, {"instance": instance, "drain": not is_undone}, settings.ca_file)
    out.document("gateway.drain", told)
    running = told["running"]
    if is_undone:
        out.line(f"{instance} is {told['state']}.")
    else:
        out.line(f"{instance} gets nothing new; {running} requests run there still.")


def _reached(host: str) -> str:
    """By what a gateway that listens everywhere is reached on this machine."""
    told = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"[{told}]" if ":" in told and not told.startswith("[") else told


def _asked(url: str, body: dict[str, object], ca_file: str) -> dict[str, object]:
    try:
        with httpx2.Client(
            timeout=TIMEOUT_SECONDS, trust_env=False, verify=ca_file or True
        ) as client:
            answer = client.post(f"{url}/gateway/drain", json=body)
            found: dict[str, object] = answer.json()
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, json.JSONDecodeError) as error:
        raise CommandError(
            f"no answer ({type(error).__name__}: {error})", ExitCode.UNREACHABLE,
            where=url, hint="does `servescope gateway` run on this machine? else give --url",
            code="unreachable",
        ) from error  # fmt: skip
    if answer.status_code >= 400:
        told = found.get("error")
        text = str(told.get("message")) if isinstance(told, dict) else f"HTTP {answer.status_code}"
        raise CommandError(text, ExitCode.REFUSED, where=url, code="refused")
    return found
