"""Numbers and times that others tell, within what a store can hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

MOST_INT32 = 2**31 - 1
MOST_INT64 = 2**63 - 1


def whole(told: Any, most: int = MOST_INT64) -> int:
    """A count, 0 to `most`.

    Raises:
        TypeError, ValueError, OverflowError: it is no number, or none of these.
    """
    count = int(told)
    if not 0 <= count <= most:
        raise ValueError(f"a count outside 0 to {most:,}")
    return count


def moment(text: object) -> datetime:
    """The time of an ISO 8601 text, in UTC; UTC is meant where it says no offset.

    Raises:
        ValueError: it is none, or lies outside of what a time can be once it is in UTC.
    """
    at = datetime.fromisoformat(str(text))
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError("the time lies outside of years 1 to 9999") from error
