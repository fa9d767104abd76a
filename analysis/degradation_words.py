"""The degradation view in words: what a suspect did, and what is the matter with whom."""

from __future__ import annotations

from datetime import datetime

from analysis.incidents_found import Incident
from analysis.incidents_signals import MEANINGS
from analysis.root_cause.ranking import Suspect
from store.units import bytes_text, percent_text, seconds_text

MOST_SENTENCES = 4
_STRONG, _LIKELY = 0.5, 0.25
_UNITS = {"_per_s": "/s", "_watts": " W", "_celsius": " \N{DEGREE SIGN}C"}


def value_text(name: str, value: float) -> str:
    """A signal's value with its unit, as its name tells it."""
    if name.endswith("_ratio"):
        return percent_text(value, 0)
    if name.endswith("_bytes_per_s"):
        return f"{bytes_text(value)}/s"
    if name.endswith("_bytes"):
        return bytes_text(value)
    if name.endswith("_hertz"):
        return f"{value / 1e6:,.0f} MHz"
    unit = next((word for ending, word in _UNITS.items() if name.endswith(ending)), "")
    return f"{value:,.3g}{unit}" if abs(value) < 1000 else f"{value:,.0f}{unit}"


def strength(score: float) -> str:
    """How much the evidence says: strong, likely or weak."""
    if score >= _STRONG:
        return "strong"
    return "likely" if score >= _LIKELY else "weak"


def reason(suspect: Suspect) -> str:
    """One sentence: what it did, how unusual that is, and when."""
    name = suspect.signal.name
    meaning = MEANINGS[name]
    verb = "rose" if suspect.during >= suspect.before else "fell"
    words = (
        f"{meaning.words[0].upper()}{meaning.words[1:]} {verb} from "
        f"{value_text(name, suspect.before)} to {value_text(name, suspect.during)}, "
        f"{suspect.multiple:.0f} times its usual change"
    )
    if suspect.lead_seconds > 0:
        words += f", {seconds_text(suspect.lead_seconds)} ahead of the slowdown"
    if suspect.together is not None:
        words += f" (correlation {suspect.together:.2f})"
    return words + "."


def slower(factor: float, low: float, high: float, since: datetime) -> str:
    """By how much an instance is slow, and since when (naive UTC)."""
    return (
        f"takes {factor:.2g} times as long per token as it used to at this load"
        f" (95 % interval {low:.2g} to {high:.2g}) since {since:%d %b %H:%M} UTC"
    )


def sentence(incident: Incident) -> str:
    """Who is slow, by how much, since when, by what."""
    told = slower(incident.slowdown, incident.low, incident.high, incident.started_at)
    slow = f"{incident.watched.instance} {told}"
    if incident.to_peers is not None:
        slow += f", {incident.to_peers:.2g} times its peers"
    if incident.ranking.why_unknown is not None:
        return f"{slow}; nothing can be named: {incident.ranking.why_unknown}."
    first = incident.ranking.suspects[0]
    return f"{slow}; first suspect: {incident.resource}. {reason(first)}"
