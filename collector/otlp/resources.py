"""Who sent it: model, instance and service of a resource."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from collector.otlp.attributes import INSTANCE_RESOURCES, MODEL_RESOURCES, UNNAMED_SERVICE
from collector.otlp.model import Attributes, Value

MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Sender:
    """What a resource tells about the process that sent.

    Attributes:
        service: `service.name`; None when nobody named it.
        instance: which one of several; None when it does not tell.
        model: a name for the model when the span has none.
    """

    service: str | None
    instance: str | None
    model: str | None


def sender_of(resource: Attributes) -> Sender:
    """Read a resource."""
    return Sender(
        _named(resource.get("service.name")),
        first_label(resource, INSTANCE_RESOURCES),
        next((name for key in MODEL_RESOURCES if (name := _named(resource.get(key)))), None),
    )


def first_label(attributes: Attributes, names: Iterable[str]) -> str | None:
    """The first of `names` that says something."""
    for name in names:
        if name in attributes:
            text = label(attributes[name])
            if text is not None:
                return text
    return None


def label(value: Value | None) -> str | None:
    """A short text of what was told, lists (as of headers) joined; None when it says nothing."""
    if value.__class__ is str:
        text = value
    elif isinstance(value, tuple):
        text = ",".join(dict.fromkeys(str(item) for item in value))
    else:
        text = "" if value is None else str(value)
    assert isinstance(text, str)  # noqa: S101 - for the type checker
    if len(text) > MOST_CHARACTERS:
        text = text[:MOST_CHARACTERS]
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    return text.strip() or None


def _named(value: Value | None) -> str | None:
    text = label(value)
    return None if text is None or text.startswith(UNNAMED_SERVICE) else text
