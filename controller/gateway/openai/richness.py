"""How much a JSON body holds, told before it is parsed: parsing it holds up everybody else.

16 MB of one text are parsed in milliseconds, 16 MB of `{},{},…` in seconds.
"""

from __future__ import annotations

import re
from itertools import islice

LARGE_BYTES = 64 << 10
"""Smaller bodies hold little, whatever is in them."""
MOST_PARTS = 50_000
"""Texts, objects, lists, and runs of numbers. A chat of a thousand turns has about 7,000."""
MOST_NUMBERS = 2_000_000
"""Commas: a prompt as token numbers, and more than any context holds."""

PART = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{\[]|[-+.0-9eE,\s]++', re.DOTALL)
"""One of them. A text that ends nowhere counts as well, so that no byte is looked at twice."""


def is_too_rich(body: bytes) -> bool:
    """Whether it holds more than any request does; a body that is no JSON may be either."""
    if len(body) <= LARGE_BYTES:
        return False
    commas = body.count(b",")
    if commas > MOST_NUMBERS:
        return True
    # No part without one of these: most large bodies are one long text.
    if commas + body.count(b'"') + body.count(b"{") + body.count(b"[") <= MOST_PARTS:
        return False
    return sum(1 for _ in islice(PART.finditer(body), MOST_PARTS + 1)) > MOST_PARTS
