"""Two scrapers: somebody else reads a page whose numbers start again with every reading.

llama.cpp's tokens per second are means since the previous scrape, whoever made it. The totals of
the same page tell what the mean over our own interval must be; when it is another one time and
again, somebody else scrapes in between. Source: llama.cpp `tools/server/server-context.cpp`; that
totals lose what is below a millisecond was seen on a running llama-server 0.3.36.
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
# A look that does not fit adds two, one that fits takes one away: a look by hand is not enough to
# be told, and one that fits by luck is not enough to be taken back.
_WRONG, _ENOUGH, _MOST = 2, 3, 12
# Printed with six significant digits, so differences of large totals are coarse.
_DIGITS = 6
# The totals of seconds lose the rest below a millisecond with every request, and requests are not
# counted: so many tokens are taken for one.
_CUT_SECONDS = 0.001
_TOKENS_A_REQUEST = 64
_MOST_DOUBT = 0.1
# Seen on a running llama-server 0.3.36 with nobody else reading: up to 2.3 % under load.
_SLACK = 0.05

_ADVICE = (
    "Scrape this engine from one place only; until then use rates of the totals, which stay good."
)


def two_scrapers(now: Step) -> Iterator[tuple[str, Verdict]]:
    """Means since the previous scrape that do not fit our own interval."""
    judged = [
        (signal, found)
        for signal, of in SINCE_SCRAPE.items()
        if (found := _compare(now, signal, of))
    ]
    memory = now.memory
    wrong = [(shown, expected) for _, (shown, expected, differ) in judged if differ]
    if wrong:
        memory.mismatches = min(memory.mismatches + _WRONG, _MOST)
        memory.mismatch = max(wrong, key=lambda told: abs(told[0] - told[1]))
    elif judged:
        memory.mismatches = max(memory.mismatches - 1, 0)
    if memory.mismatches >= _ENOUGH:
        for signal in SINCE_SCRAPE.keys() & now.signals:
            yield signal, Verdict("two_scrapers", _said(*memory.mismatch), _ADVICE)


def _said(shown: float, expected: float) -> str:
    return (
        f"It showed {shown:.4g} tokens/s since the previous scrape, but the totals say"
        f" {expected:.4g} since ours: somebody else scrapes in between."
    )


def _compare(now: Step, signal: str, of: tuple[str, str]) -> tuple[float, float, bool] | None:
    """What is shown, what our interval says, and whether they differ; None when nobody can tell."""
    if now.restarted or not now.memory.unbroken:
        return None
    shown = now.values.get((signal, "{}"))
    tokens, seconds = (_grown(now, total) for total in of)
    if shown is None or tokens is None or seconds is None:
        return None
    cut = _CUT_SECONDS * max(1.0, tokens[0] / _TOKENS_A_REQUEST)
    doubt = tokens[1] / tokens[0] + max(seconds[1], cut) / seconds[0]
    if doubt > _MOST_DOUBT:
        return None
    expected = tokens[0] / seconds[0]
    return shown, expected, abs(shown - expected) > expected * (2 * doubt + _SLACK)


def _grown(now: Step, signal: str) -> tuple[float, float] | None:
    """By how much a total grew and how wrong that may be; None unless it grew."""
    value = now.values.get((signal, "{}"))
    course = now.memory.courses.get((signal, "{}"))
    if value is None or course is None or value <= course.value:
        return None
    digit = 10.0 ** (math.floor(math.log10(value)) + 1 - _DIGITS)
    return value - course.value, digit
