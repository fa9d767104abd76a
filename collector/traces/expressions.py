"""SQL expressions that formats share: times from numbers, token counts, checks, quoting."""

from __future__ import annotations

from collections.abc import Collection

from store.bulk_spec import GATEWAY_COLUMNS, MAX_TOKENS, Check

UNIT_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
TOKENS = ("input_tokens", "output_tokens", "cached_tokens", "predicted_output_tokens")
SECONDS = (
    "queue_seconds",
    "prefill_seconds",
    "decode_seconds",
    "ttft_seconds",
    "tpot_seconds",
    "e2e_seconds",
    *(name for name in GATEWAY_COLUMNS if name.endswith("_seconds")),
)
COUNTS = ("attempt", "policy_version")
WEIGHTS = ("tenant_weight",)
FLAGS = ("is_counted",)
"""Columns of a stored request: token counts, durations, numbers from 1 on, shares, yes or no."""
YEAR_2000_SECONDS = 946_684_800
"""Nobody counts that many seconds from a start: a larger number is an epoch time."""
_MICROSECONDS_LIMIT = 9e18
"""Beyond this a 64-bit microsecond count overflows."""

CHECK_TIME = Check(
    "the time is missing, not a number, or outside 1970 to 2100",
    "{time} < TIMESTAMP '1970-01-01' OR {time} >= TIMESTAMP '2100-01-01'",
)


def quoted(name: str) -> str:
    """A column name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def time_from_seconds(seconds: str) -> str:
    """SQL of a TIMESTAMP from a number of seconds since 1970 (or since the start).

    NULL where the number is NaN, infinite or beyond what a TIMESTAMP holds.
    """
    micros = f"(({seconds}) * 1e6)"
    return (
        f"CASE WHEN abs({micros}) < {_MICROSECONDS_LIMIT:g} "
        f"THEN make_timestamp(CAST(round({micros}) AS BIGINT)) END"
    )


def scaled(column: str, unit: str) -> str:
    """SQL of a number in seconds from a column in `unit` (s, ms, us or ns)."""
    if unit == "s":
        return f"CAST({column} AS DOUBLE)"
    divisor = round(1 / UNIT_SECONDS[unit])
    return f"(CAST({column} AS DOUBLE) / {divisor})"


def tokens(column: str) -> str:
    """SQL of a token count; absurd ones become one above the limit so that the check finds them."""
    return (
        f"CAST(CASE WHEN {column} > {MAX_TOKENS} THEN {MAX_TOKENS + 1} "
        f"WHEN {column} < 0 THEN -1 ELSE {column} END AS INTEGER)"
    )


def guarded(column: str, kind: str, bad: str) -> str:
    """SQL of a value of an untyped column: NULL stays NULL, what does not fit becomes `bad`."""
    return f"CASE WHEN {column} IS NOT NULL THEN coalesce(TRY_CAST({column} AS {kind}), {bad}) END"


def token_checks(*columns: str) -> tuple[Check, ...]:
    """Checks for stored token columns."""
    return tuple(
        Check(f"{column} is not a whole number from 0 to {MAX_TOKENS:,}",
              f"{column} < 0 OR {column} > {MAX_TOKENS}")
        for column in columns
    )  # fmt: skip


def seconds_checks(*columns: str) -> tuple[Check, ...]:
    """Checks for stored durations in seconds; NaN and infinity are bad, NULL is unknown."""
    return tuple(
        Check(f"{column} is negative or not a number", f"{column} < 0 OR NOT isfinite({column})")
        for column in columns
    )


def number_checks(columns: Collection[str]) -> tuple[Check, ...]:
    """Checks for the time and for whatever numbers a format of variable columns stores."""
    return (
        CHECK_TIME,
        *token_checks(*(column for column in TOKENS if column in columns)),
        *seconds_checks(*(column for column in SECONDS if column in columns)),
        *(Check(f"{column} is below 1", f"{column} < 1") for column in COUNTS if column in columns),
        *(
            Check(f"{column} is not above 0", f"{column} <= 0 OR NOT isfinite({column})")
            for column in WEIGHTS
            if column in columns
        ),
    )


def required_checks(*columns: str) -> tuple[Check, ...]:
    """Checks for stored columns that the format always fills."""
    return tuple(
        Check(f"{column} is missing or not a number", f"{column} IS NULL") for column in columns
    )
