"""What the gateway says of itself in the head of an answer that it passes on."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from controller.gateway.admission.base import Allowance
from controller.gateway.ask import Ask
from controller.gateway.http.answer import Pairs, passed_on
from controller.gateway.openai.errors import ratelimit_headers

INSTANCE, ATTEMPT = b"x-servescope-instance", b"x-servescope-attempt"
REQUEST_ID = b"x-request-id"
_SAFE = "/:._-@=,"


def replica_headers(ask: Ask, *, names_instance: bool) -> list[tuple[bytes, bytes]]:
    """Which replica answered, and at which attempt where it was not the first."""
    found = []
    if names_instance and ask.instance:
        # A name comes from a file: nothing in it may end a line.
        found.append((INSTANCE, quote(ask.instance, safe=_SAFE).encode()))
    if ask.attempt > 1:
        found.append((ATTEMPT, b"%d" % ask.attempt))
    return found


def answer_headers(
    engine: list[tuple[bytes, bytes]], limits: Iterable[Allowance], own: Pairs
) -> list[tuple[bytes, bytes]]:
    """Those of the engine and ours; where both say one, ours is said.

    Args:
        engine: as they came.
        limits: of the tenant.
        own: others that the gateway says.
    """
    ours = [*ratelimit_headers(limits), *own]
    without = {name for name, _ in ours} | {INSTANCE, ATTEMPT, REQUEST_ID}
    kept = passed_on(engine, b"content-length", b"date", b"server", *without)
    return [*kept, *ours]
