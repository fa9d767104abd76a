"""Requests thinned or sped up on their way into a public trace format, and how the file says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from store.errors import InputError
from store.queries.scope import Scope

MARK = "servescope_change"
"""Key of the first record of a JSONL file that was changed."""
LEAST_KEEP, SPEEDS = 1e-4, (0.01, 100.0)
_PARTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Change:
    """How a file differs from what was recorded.

    Attributes:
        keep: share of the sessions (of requests without one) that stay, 0.0001 to 1. Which ones is
            decided by hash, so the same share always gives the same requests.
        speed: times by which arrivals come faster, 0.01 to 100; lengths stay as they are.

    Raises:
        InputError: out of these ranges.
    """

    keep: float = 1.0
    speed: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what makes no trace."""
        if not LEAST_KEEP <= self.keep <= 1:
            raise InputError(f"keep={self.keep:g} is no share", hint=f"{LEAST_KEEP:g} to 1")
        if not SPEEDS[0] <= self.speed <= SPEEDS[1]:
            low, high = SPEEDS
            raise InputError(f"speed={self.speed:g} is too far", hint=f"{low:g} to {high:g}")

    @property
    def is_none(self) -> bool:
        """Whether the file holds what was recorded."""
        return self.keep == 1 and self.speed == 1

    @property
    def condition(self) -> str:
        """SQL over `request AS r` that is true of the requests that stay."""
        if self.keep == 1:
            return "TRUE"
        most = round(self.keep * _PARTS)
        return f"hash(coalesce(r.session_key, r.request_key)) % {_PARTS} < {most}"

    def at(self, scope: Scope | None) -> str:
        """SQL of when a request arrives in the file: time passes faster from the range's start."""
        if self.speed == 1 or scope is None:
            return "r.arrived_at"
        start = round(scope.start.timestamp() * 1_000_000)
        ago = f"CAST(round((epoch_us(r.arrived_at) - {start}) / {self.speed!r}) AS BIGINT)"
        return f"make_timestamp({start} + {ago})"

    def words(self, scope: Scope | None) -> str:
        """What was done, on one line."""
        parts = []
        if self.keep != 1:
            parts.append(f"kept {self.keep:g} of the sessions, chosen by hash")
        if self.speed != 1 and scope is not None:
            parts.append(
                f"arrivals {self.speed:g} times as fast from {scope.start:%Y-%m-%dT%H:%M:%SZ}"
            )
        return f"changed by servescope: {'; '.join(parts)}"


def with_header(parts: Iterable[bytes], words: str, *, is_json: bool) -> Iterator[bytes]:
    """A file that begins with what was done to it.

    CSV gets a line that begins with #; the first record of JSONL gets one key more, since readers
    of it know no comments.
    """
    if not is_json:
        yield f"# {words}\n".encode()
        yield from parts
        return
    is_first = True
    for part in parts:
        if is_first and part.startswith(b"{"):
            yield b'{"' + MARK.encode() + b'":"' + words.encode() + b'",' + part[1:]
            is_first = False
        else:
            yield part
