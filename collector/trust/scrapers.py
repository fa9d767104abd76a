"""Two scrapers: somebody else reads a page whose numbers start again with every reading.

llama.cpp's tokens per second are means since the previous scrape, whoever made it. The totals of
the same page tell what the mean over our own interval must be; when it is another one twice in a
row, somebody else scrapes in between. Source: llama.cpp `tools/server/server-context.cpp`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from collector.trust.grades import Verdict
from collector.trust.step import Step

# mean since the previous scrape -> the totals it must agree with
SINCE_SCRAPE = {
    "prefill_since_scrape_tokens_per_second": (
        "prompt_tokens_computed_total",
        "prefill_busy_seconds_total",
    ),
    "decode_since_scrape_tokens_per_second": (
        "generation_tokens_total",
        "decode_busy_seconds_total",
    ),
}
_CONFIRMED = 2
# Printed with six significant digits, so differences of large totals are coarse.
_DIGITS = 6
_MOST_DOUBT = 0.1

_ADVICE = (
    "Scrape this engine from one place only; until then use rates of the totals, which stay good."
)


def two_scrapers(now: Step) -> Iterator[tuple[str, Verdict]]:
    """Means since the previous scrape that do not fit our own interval."""
    judged = {
        signal: found for signal, of in SINCE_SCRAPE.items() if (found := _compare(now, signal, of))
    }
    if not judged:
        return
    wrong = {signal: told for signal, told in judged.items() if told[2]}
    now.memory.mismatches = now.memory.mismatches + 1 if wrong else 0
    if now.memory.mismatches >= _CONFIRMED:
        for signal, (shown, expected, _) in wrong.items():
            text = (
                f"It shows {shown:.4g} tokens/s since the previous scrape, but the totals say"
                f" {expected:.4g} since ours: somebody else scrapes in between."
            )
            yield signal, Verdict("two_scrapers", text, _ADVICE)


def _compare(now: Step, signal: str, of: tuple[str, str]) -> tuple[float, float, bool] | None:
    """What is shown, what our interval says, and whether they differ; None when nobody can tell."""
    if now.restarted or not now.memory.unbroken:
        return None
    shown = now.values.get((signal, "{}"))
    tokens, seconds = (_grown(now, total) for total in of)
    if shown is None or tokens is None or seconds is None:
        return None
    doubt = tokens[1] / tokens[0] + seconds[1] / seconds[0]
    if doubt > _MOST_DOUBT:
        return None
    expected = tokens[0] / seconds[0]
    return shown, expected, abs(shown - expected) > expected * (2 * doubt + 1e-3)


def _grown(now: Step, signal: str) -> tuple[float, float] | None:
    """By how much a total grew and how wrong that may be; None unless it grew."""
    value = now.values.get((signal, "{}"))
    course = now.memory.courses.get((signal, "{}"))
    if value is None or course is None or value <= course.value:
        return None
    digit = 10.0 ** (math.floor(math.log10(value)) + 1 - _DIGITS)
    return value - course.value, digit
