"""Reference pages generated from the code: settings, commands, API, signals.

`python -m servescope.reference` writes them to docs/; a test fails when they are stale.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def attribute_texts(kind: type[Any]) -> dict[str, str]:
    """The `Attributes:` (or `Args:`) section of a class's docstring: name -> one line of text."""
    doc = inspect.getdoc(kind) or ""
    section = re.split(r"^(?:Attributes|Args):\n", doc, maxsplit=1, flags=re.MULTILINE)[-1]
    return {name: " ".join(text.split()).rstrip(".") for name, text in _ATTRIBUTE.findall(section)}
