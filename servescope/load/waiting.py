"""How long a client waits that was told no, as SDKs of OpenAI's and Anthropic's kind do.

Statuses 408, 409, 429, 500 and above, and broken connections are tried again, `x-should-retry`
overrides that. `retry-after-ms`, then `retry-after`, are honoured when above 0 and at most 60 s;
else 0.5 s, twice as long each time, up to 8 s, less up to a quarter.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_HONOURED_SECONDS = 60.0
FIRST_SECONDS, LONGEST_SECONDS, JITTER_RATIO = 0.5, 8.0, 0.25
_AGAIN = (408, 409, 429)


def should_retry(status: int, headers: Mapping[bytes, bytes]) -> bool:
    """Whether an SDK would ask again; status 0 is a broken connection."""
    said = headers.get(b"x-should-retry")
    if said in (b"true", b"false"):
        return said == b"true"
    return status in _AGAIN or status >= 500 or status == 0


def told_seconds(headers: Mapping[bytes, bytes], now: datetime) -> float | None:
    """What an answer says of when to come again; None where it says nothing that can be read.

    Args:
        headers: of the answer, names in lower case.
        now: aware; `retry-after` may be a date.
    """
    for name, unit in ((b"retry-after-ms", 1e-3), (b"retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        date = parsedate_to_datetime(headers.get(b"retry-after", b"").decode("latin-1"))
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max((aware - now).total_seconds(), 0.0)


def wait_seconds(told: float | None, attempt: int, dice: random.Random) -> float:
    """Seconds from the answer to the next attempt.

    Args:
        told: by `told_seconds`.
        attempt: that was refused, 1 for the first.
        dice: of the jitter.
    """
    if told is not None and 0 < told <= LONGEST_HONOURED_SECONDS:
        return told
    wait = min(FIRST_SECONDS * 2.0 ** min(attempt - 1, 10), LONGEST_SECONDS)
    return wait * (1 - JITTER_RATIO * dice.random())
