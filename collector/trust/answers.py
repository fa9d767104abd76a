"""What a scrape that brought no page says about the target: it is not zero demand."""

from __future__ import annotations

from datetime import datetime

from collector.model import Scrape
from collector.trust.grades import Grade, Verdict, seconds_text

# outcome -> grade, what happened, what to do
_SAID: dict[str, tuple[Grade, str, str]] = {
    "unreachable": (
        "silent",
        "Nobody answers at this address",
        "Check that the process runs and that the port and the network policy let us in.",
    ),
    "timeout": (
        "silent",
        "No whole answer came in time",
        "Look at the load of that process; a page this slow needs a longer scrape timeout.",
    ),
    "http_error": (
        "silent",
        "Something answers, but not with a metrics page",
        "See what stands between us and the engine (proxy, credentials, path).",
    ),
    "not_metrics": (
        "silent",
        "The answer is no metrics page, so the engine itself was not reached",
        "A proxy or another service answers here: check what it forwards to, and the path.",
    ),
    "truncated": (
        "partial",
        "The page broke off before its end, and half a page is not taken",
        "Look for a proxy or a process that cuts the connection; the last whole page is kept.",
    ),
    "too_large": (
        "stale",
        "The page is larger than what is taken, so none of it was",
        "Find the label that multiplies its series and drop it there, or raise the limit.",
    ),
    "unsupported": (
        "absent",
        "It is a metrics page, but of no engine that is known here",
        "Check the address; a new engine needs an adapter.",
    ),
    "failed": (
        "silent",
        "Reading the page failed on our side",
        "See the log of servescope for the traceback.",
    ),
}


def no_page(scrape: Scrape, last_page_at: datetime | None) -> Verdict:
    """The verdict on a target that gave no page just now."""
    grade, said, advice = _SAID[scrape.outcome]
    why = f" ({scrape.error})" if scrape.error else ""
    if last_page_at is None:
        age = "it has never given one here"
    else:
        seconds = (scrape.at - last_page_at).total_seconds()
        age = f"its last page was {seconds_text(seconds)} before"
    unknown = " Demand is unknown, not zero." if grade == "silent" else ""
    return Verdict(grade, f"{said}{why}; {age}.{unknown}", advice, scrape.outcome)


def no_scrape(silence_seconds: float) -> Verdict:
    """The verdict on a target from which nothing at all has come, good or bad."""
    return Verdict(
        "stale",
        f"Nothing has come from it for {seconds_text(silence_seconds)}, no page and no failure.",
        "Its scrape loop, agent or sender stopped: see the log and the agents below.",
        "no_scrape",
    )
