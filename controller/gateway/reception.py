"""What a request is and who asks, before anything is decided about it; or why it makes no sense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.gateway.admission.base import Refusal
from controller.gateway.hooks import Caller, Headers, Said
from controller.gateway.openai.reading import KNOWN, read

if TYPE_CHECKING:
    from controller.gateway.health import Health
    from controller.gateway.hooks import Callers


@dataclass(frozen=True, slots=True)
class Received:
    """A request that makes sense.

    Attributes:
        said: by its body.
        caller: who asks.
        model: that is meant.
    """

    said: Said
    caller: Caller
    model: str


@dataclass(frozen=True, slots=True)
class Turned:
    """One that does not.

    Attributes:
        refusal: why.
        said: by its body; None where nothing of it could be read.
        caller: who asks; None where nobody knows.
        path: it was sent to.
    """

    refusal: Refusal
    said: Said | None
    caller: Caller | None
    path: str


def receive(
    method: bytes, path: str, body: bytes, headers: Headers, callers: Callers, health: Health
) -> Received | Turned:
    """Read it, and find out who asks for what.

    Args:
        method: like b"POST".
        path: under /v1/.
        body: as it came.
        headers: as texts.
        callers: tells who asks.
        health: knows the models.
    """
    if path in KNOWN and method != b"POST":
        refusal = Refusal("method_not_allowed", f"{path} takes POST alone", status=405)
        return Turned(refusal, None, known_caller(path, headers, callers), path)
    said = read(path, body)
    if isinstance(said, Refusal):
        return Turned(said, None, known_caller(path, headers, callers), path)
    caller = callers.caller(headers, said)
    if isinstance(caller, Refusal):
        return Turned(caller, said, None, path)
    model = said.model or _only_model(health)
    if not model or not health.knows(model):
        return Turned(_no_model(said.model, health), said, caller, path)
    return Received(said, caller, model)


def known_caller(path: str, headers: Headers, callers: Callers) -> Caller | None:
    """Who asks, by the head alone; None where nobody knows."""
    found = callers.caller(headers, Said(path))
    return None if isinstance(found, Refusal) else found


def _only_model(health: Health) -> str:
    models = health.models
    return next(iter(models)) if len(models) == 1 else ""


def _no_model(model: str, health: Health) -> Refusal:
    known = ", ".join(list(health.models)[:20])
    if model:
        text = f"there is no model '{model[:200]}'; known: {known or 'none yet'}"
        return Refusal("model_not_found", text, status=404)
    if known:
        return Refusal("missing_field", f"'model' is missing; known: {known}", status=400)
    return Refusal("no_replica", "no engine answers yet; ask again", status=503)
