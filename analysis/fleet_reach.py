"""How much of the fleet a live number speaks for.

Engines expose different things: a rate summed over those that count is not the rate of the whole
fleet, and has to say so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

_DOES_NOT: Mapping[str, str] = {
    "requests_finished_total": "count finished requests",
    "prompt_tokens_total": "count input tokens",
    "generation_tokens_total": "count output tokens",
    "ttft_seconds": "show a TTFT histogram",
    "tpot_seconds": "show a TPOT histogram",
}


def left_out(
    targets: pl.DataFrame, signal: str, told: Collection[int], seen: Collection[int]
) -> str | None:
    """Which ready instances are not part of a number; None when all of them are.

    Args:
        targets: target_id and state of the instances that are asked about.
        signal: what the number is made of.
        told: target ids whose values went into the number.
        seen: target ids that expose the signal, be it in a single scrape.

    Returns:
        one line such as "1 of 2 ready instances does not count finished requests".
    """
    ready = set(targets.filter(pl.col("state") == "ready")["target_id"])
    silent = ready - set(told) - set(seen)
    fresh = ready - set(told) - silent
    parts = [
        f"{len(silent)} of {len(ready)} ready instances {_plural(silent, 'does', 'do')} not"
        f" {_DOES_NOT[signal]}"
        if silent
        else "",
        f"{len(fresh)} of {len(ready)} {_plural(fresh, 'needs', 'need')} a second scrape"
        if fresh
        else "",
    ]
    return joined(*parts)


def joined(*reasons: str | None) -> str | None:
    """Reasons as one line; None when there is none."""
    return "; ".join(reason for reason in reasons if reason) or None


def _plural(items: Collection[int], one: str, many: str) -> str:
    return one if len(items) == 1 else many
