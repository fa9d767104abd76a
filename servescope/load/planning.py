"""From the rows of a trace to requests to send: when, for whom, how long, what they share."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from store.errors import InputError

BLOCK_TOKENS = 512
"""Of a trace with block hashes that does not say how long its blocks are: Mooncake's."""
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Slice:
    """Which part of a trace, and how fast.

    Attributes:
        start_seconds: after its first request.
        seconds: of the trace; None is to its end.
        speed: 2 sends in half the time.
        most_requests: of those, the first; None is all.
    """

    start_seconds: float = 0.0
    seconds: float | None = None
    speed: float = 1.0
    most_requests: int | None = None

    def __post_init__(self) -> None:
        wrong = [
            text
            for text, is_right in (
                ("--speed must be above 0", self.speed > 0),
                ("--skip must be 0 or more", self.start_seconds >= 0),
                ("--seconds must be above 0", self.seconds is None or self.seconds > 0),
                ("--most must be above 0", self.most_requests is None or self.most_requests > 0),
            )
            if not is_right
        ]
        if wrong:
            raise InputError(wrong[0], hint="servescope load --help")


@dataclass(frozen=True, slots=True)
class Planned:
    """One request to send.

    Attributes:
        number: in the order of sending.
        at_seconds: after the start of the run.
        tenant: "" is none.
        session: "" is none.
        input_tokens: at least 1.
        output_tokens: at least 1.
        block_tokens: of each block of the prompt.
        seed: of the words that follow the blocks that are known; equal seeds, equal words.
        blocks: of the prompt's beginning, a number each; equal numbers are equal words.
    """

    number: int
    at_seconds: float
    tenant: str
    session: str
    input_tokens: int
    output_tokens: int
    block_tokens: int
    seed: int
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be sent.

    Attributes:
        requests: by time.
        left_out: rows without a prompt or an output size.
    """

    requests: tuple[Planned, ...]
    left_out: int

    @property
    def seconds(self) -> float:
        """From the start to the last request."""
        return self.requests[-1].at_seconds if self.requests else 0.0

    @property
    def tenants(self) -> tuple[str, ...]:
        """All of them, sorted; without "" for none."""
        return tuple(sorted({one.tenant for one in self.requests} - {""}))


def plan_of(rows: pl.DataFrame, part: Slice, block_tokens: int | None = None) -> Plan:
    """Requests to send.

    Turns of a session begin with the same words, so that each repeats the one before it; rows with
    block hashes begin alike as far as their hashes are equal.

    Args:
        rows: arrived_at, input_tokens, output_tokens, tenant, session_key, block_hashes.
        part: which of them, and how fast.
        block_tokens: of the hashes; None is `BLOCK_TOKENS`.

    Raises:
        InputError: none is left to send.
    """
    known = rows.filter((pl.col("input_tokens") >= 1) & (pl.col("output_tokens") >= 1)).sort(
        "arrived_at", maintain_order=True
    )
    if known.is_empty():
        raise InputError(
            "no row has the tokens of its prompt and of its output",
            hint="servescope load needs the time, prompt and output size of each request",
        )
    at = (known["arrived_at"] - known["arrived_at"][0]).dt.total_microseconds() / 1e6
    known = known.with_columns(at_seconds=at - part.start_seconds)
    known = known.filter(pl.col("at_seconds") >= 0)
    if part.seconds is not None:
        known = known.filter(pl.col("at_seconds") < part.seconds)
    if part.most_requests is not None:
        known = known.head(part.most_requests)
    if known.is_empty():
        raise InputError("no request lies in this part", hint="see --skip, --seconds, --from, --to")
    columns = ("at_seconds", "tenant", "session_key", "input_tokens", "output_tokens",
               "block_hashes")  # fmt: skip
    sizes = block_tokens or BLOCK_TOKENS
    requests = tuple(
        _planned(number, row, part.speed, sizes)
        for number, row in enumerate(known.select(columns).iter_rows())
    )
    return Plan(requests, rows.height - _with_sizes(rows))


def _with_sizes(rows: pl.DataFrame) -> int:
    has_both = (rows["input_tokens"] >= 1) & (rows["output_tokens"] >= 1)
    return int(has_both.fill_null(value=False).sum())


def _planned(
    number: int,
    row: tuple[float, str | None, int | None, int, int, list[int] | None],
    speed: float,
    block_tokens: int,
) -> Planned:
    at, tenant, session, prompt, output, hashes = row
    blocks = tuple(hashes or ())
    # A session's words are its own; a request that belongs to none shares nothing.
    seed = _mixed(1, number) if session is None else _mixed(2, session)
    return Planned(
        number, at / speed, tenant or "", "" if session is None else f"s{session}", prompt, output,
        block_tokens, seed, blocks,
    )  # fmt: skip


def _mixed(first: int, second: int) -> int:
    """64 bits that look random. Source: splitmix64."""
    value = (first * 0x9E3779B97F4A7C15 + second * 0xD1B54A32D192ED03 + 1) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    return value ^ (value >> 27)
