"""Which signals may be trusted now: what anyone has to ask who acts on them.

A grade is given when a page comes (`collector.trust`) and holds until the next one. Here it is
read: the grade of the target stands above those of its signals, and what nobody renews grows old.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from analysis.doors import second_doors
from analysis.instances import STALE_INTERVALS, USUAL_INTERVAL_SECONDS, in_scope, instance_name
from analysis.measure import Empty, View
from store.queries import drops as drop_queries
from store.queries import telemetry
from store.queries import trust as trust_queries
from store.queries.scope import Scope
from store.reader import Reader
from store.signals import SIGNALS

WHOLE_TARGET = ""
# While the target is one of these, no signal of it may be used, whatever its own grade says.
BLOCKING = frozenset({"silent", "stale", "absent", "frozen", "impossible", "two_scrapers"})
# What a signal may be for its value to be used.
USABLE = frozenset({"fresh", "idle", "reset"})
# The worst first, as tables list them.
ORDER = (
    *("silent", "impossible", "two_scrapers", "frozen", "stale", "absent", "partial", "reset"),
    *("idle", "fresh"),
)
_DROPS_LOOKED_AT = timedelta(hours=24)
_PUSHES_LOOKED_AT = timedelta(minutes=15)
# A signal that a release dropped is told for so long; then it is as if it had never been.
_MISSED_FOR = timedelta(days=7)
_MOST_SENTENCES = 50
# These are graded page by page, and so is remote-write; until then what is pushed goes by its age.
_SCRAPED = ("http", "agent://")
_TWO_DOORS = (
    "Stop one of the two: either servescope scrapes it or it is pushed."
    " Until then totals count the other one only."
)
_NOT_GRADED = "Nothing has graded this signal: the target has never shown it."


@dataclass(frozen=True, slots=True)
class Trusted:
    """How far one signal of one target can be trusted at a moment.

    Attributes:
        target_id: which target.
        url: its address.
        signal: canonical name.
        grade: the grade that counts, that of the target where it stands above.
        is_usable: whether a decision may rest on its value.
        is_zero_demand: whether the target answers and has nothing to do: zero, not unknown.
        since: since when, naive UTC; None when it was never graded.
        rates_from: the last reset, naive UTC: no rate of this signal may reach back before it; None
            when there was none.
        evidence: one sentence.
        advice: one sentence, or "".
    """

    target_id: int
    url: str
    signal: str
    grade: str
    is_usable: bool
    is_zero_demand: bool
    since: datetime | None
    rates_from: datetime | None
    evidence: str
    advice: str


def usable(reader: Reader, signals: Sequence[str], at: datetime) -> list[Trusted]:
    """Each asked signal of each target with the grade that counts. Every controller asks this.

    The rule: act on a value only where `is_usable`; count `is_zero_demand` as zero; treat all else
    as unknown, never as zero, and compute no rate across `rates_from`.

    Args:
        reader: the store.
        signals: canonical names.
        at: aware UTC; grades that nobody renewed for three scrape intervals are stale.

    Returns:
        one entry a target and signal, by URL, in the order of `signals`.
    """
    targets = telemetry.targets(reader, at)
    held = _held(reader, targets, at, signals)
    naive = at.replace(tzinfo=None)
    return [
        _trusted(target, held.get(target["target_id"], {}), signal, naive)
        for target in targets.iter_rows(named=True)
        for signal in signals
    ]


def _held(
    reader: Reader, targets: pl.DataFrame, at: datetime, signals: Sequence[str] = ()
) -> dict[int, dict[str, Mapping[str, Any]]]:
    """Grades in force by target and signal; of pushed data that nobody has graded, by its age.

    All signals, or the target's own grade and that of the signals asked for.
    """
    wanted = (WHOLE_TARGET, *signals) if signals else ()
    found: dict[int, dict[str, Mapping[str, Any]]] = {}
    for row in trust_queries.current(reader, at, wanted).iter_rows(named=True):
        found.setdefault(row["target_id"], {})[row["signal"]] = row
    pushed = {
        row["target_id"]: row
        for row in targets.iter_rows(named=True)
        if row["target_id"] not in found and not row["url"].startswith(_SCRAPED)
    }
    if pushed:
        rows = trust_queries.newest(reader, list(pushed), at - _PUSHES_LOOKED_AT, at)
        for row in rows.iter_rows(named=True):
            own = found.setdefault(row["target_id"], {})
            own[row["signal"]] = _by_age(pushed[row["target_id"]], row["newest_at"], at)
            own[WHOLE_TARGET] = _pushed_whole(pushed[row["target_id"]])
    last_at = dict(zip(targets["target_id"], targets["last_at"], strict=True))
    for number, first in second_doors(targets, at).items():
        said = f"{first} tells of the same instance: same host and port, engine and model."
        found.setdefault(number, {})[WHOLE_TARGET] = _row(
            "two_scrapers", last_at[number], said, _TWO_DOORS
        )
    return found


def _by_age(target: Mapping[str, Any], newest_at: datetime, at: datetime) -> Mapping[str, Any]:
    interval = max(target["interval_seconds"] or USUAL_INTERVAL_SECONDS, USUAL_INTERVAL_SECONDS)
    if at.replace(tzinfo=None) - newest_at > timedelta(seconds=STALE_INTERVALS * interval):
        text = f"Its sender has not sent it since {newest_at:%d %b %H:%M:%S} UTC."
        return _row("stale", newest_at, text, "See whether its sender runs.")
    return _row("fresh", newest_at, "It is pushed to us, so only its age is watched.")


def _pushed_whole(target: Mapping[str, Any]) -> Mapping[str, Any]:
    if target["last_outcome"] not in (None, "ok"):
        text = f"Its sender says: {target['last_error'] or target['last_outcome']}."
        return _row("silent", target["last_at"], text, "See the sender and the engine behind it.")
    return _row("fresh", target["last_at"], "It is pushed to us, so only its age is watched.")


def _trusted(
    target: Mapping[str, Any], held: Mapping[str, Mapping[str, Any]], signal: str, at: datetime
) -> Trusted:
    whole, own = _whole(target, held, at), held.get(signal)
    resets = [row["reset_at"] for row in (held.get(WHOLE_TARGET), own) if row is not None]
    if whole["grade"] in BLOCKING:
        row = whole
    elif own is None:
        row = _row("absent", None, _NOT_GRADED)
    elif own["grade"] == "fresh" and whole["grade"] in ("reset", "idle"):
        row = whole
    else:
        row = own
    grade = str(row["grade"])
    return Trusted(
        target["target_id"],
        target["url"],
        signal,
        grade,
        grade in USABLE,
        whole["grade"] == "idle" and grade == "idle",
        row["since"],
        max((at for at in resets if at is not None), default=None),
        row["evidence"],
        row["advice"] or "",
    )


def _whole(
    target: Mapping[str, Any], held: Mapping[str, Mapping[str, Any]], at: datetime
) -> Mapping[str, Any]:
    """The grade of the target itself, with its age taken into account."""
    row = held.get(WHOLE_TARGET)
    if row is None:
        return _row("absent", None, "Nothing has come from this target yet.")
    last = target["last_at"]
    interval = max(target["interval_seconds"] or USUAL_INTERVAL_SECONDS, 1.0)
    if last is None or at - last <= timedelta(seconds=STALE_INTERVALS * interval):
        return row
    text = f"Nobody has asked it since {last:%d %b %H:%M:%S} UTC."
    return _row("stale", last, text, "See whether servescope or the agent in charge of it runs.")


def _row(grade: str, since: datetime | None, evidence: str, advice: str = "") -> Mapping[str, Any]:
    said = {"evidence": evidence, "advice": advice}
    return {"grade": grade, "since": since, "reset_at": None, **said}


def called(url: str) -> str:
    """What people call a target: its host and port, and the agent that reads it.

    >>> called("agent://gpu-3/http://localhost:8000/metrics")
    'localhost:8000 (agent gpu-3)'
    """
    scheme, _, rest = url.partition("://")
    if scheme == "agent":
        agent, _, inner = rest.partition("/")
        return f"{instance_name(inner)} (agent {agent})"
    return instance_name(url) if scheme in ("http", "https") else url


TARGETS_SCHEMA: Mapping[str, Any] = {
    **dict.fromkeys(("url", "instance", "target", "engine", "grade"), pl.String),
    "since": pl.Datetime("us"),
    **dict.fromkeys(("evidence", "advice"), pl.String),
    **dict.fromkeys(("signals", "usable_signals"), pl.Int64),
}
SIGNALS_SCHEMA: Mapping[str, Any] = {
    **dict.fromkeys(("url", "instance", "target", "signal", "meaning", "grade"), pl.String),
    "is_usable": pl.Boolean,
    "since": pl.Datetime("us"),
    **dict.fromkeys(("evidence", "advice"), pl.String),
}
_IS_USABLE = list(SIGNALS_SCHEMA).index("is_usable")


def trust(reader: Reader, scope: Scope, *, now: datetime) -> View:
    """Which targets and signals can be trusted now, and what to do about the others.

    Of the scope only models and instances count, and the time range for the history. Frames:
    `targets`, `signals` (worst first), `history` (changes in the range), `drops` (what doors did
    not take in the last 24 hours).
    """
    watched = telemetry.targets(reader, now)
    held = _held(reader, watched, now)
    naive = now.replace(tzinfo=None)
    targets: list[Sequence[Any]] = []
    signals: list[Sequence[Any]] = []
    for target in watched.iter_rows(named=True):
        if in_scope(scope, instance_name(target["url"]), target["model"]):
            mine = held.get(target["target_id"], {})
            whole = _whole(target, mine, naive)
            own = _signal_rows(target, whole, mine, naive)
            signals += own
            targets.append(_target_row(target, whole, own))
    urls = [str(row[0]) for row in targets]
    history, changes = trust_queries.history(reader, urls, scope.start, scope.end)
    since = now - _DROPS_LOOKED_AT
    drops = drop_queries.drops(reader, since, now)
    totals = {
        "history": changes,
        "drops": drop_queries.counted(reader, since, now, drops.height),
    }
    frames = {
        "targets": _worst_first(targets, TARGETS_SCHEMA, "url"),
        "signals": _worst_first(signals, SIGNALS_SCHEMA, "url", "signal"),
        "history": history,
        "drops": drops,
    }
    return View(
        "trust",
        scope,
        frames=frames,
        sentences=tuple(_sentences(frames["targets"], frames["signals"])),
        empty=None if targets or frames["drops"].height else _nothing(),
        sql={"history": trust_queries.HISTORY.strip(), "drops": drop_queries.DROPS.strip()},
        totals=totals,
    )


def _target_row(
    target: Mapping[str, Any], whole: Mapping[str, Any], own: Sequence[Sequence[Any]]
) -> Sequence[Any]:
    return (
        *(target["url"], instance_name(target["url"]), called(target["url"]), target["engine"]),
        *(whole[name] for name in ("grade", "since", "evidence", "advice")),
        *(len(own), sum(row[_IS_USABLE] for row in own)),
    )


def _signal_rows(
    target: Mapping[str, Any],
    whole: Mapping[str, Any],
    held: Mapping[str, Mapping[str, Any]],
    at: datetime,
) -> list[Sequence[Any]]:
    """Each signal with its own grade; whether it is usable takes the target into account."""
    url, blocked = target["url"], whole["grade"] in BLOCKING
    names = (url, instance_name(url), called(url))
    rows: list[Sequence[Any]] = []
    for signal, own in held.items():
        grade, since = own["grade"], own["since"]
        if signal == WHOLE_TARGET or (grade == "absent" and at - since > _MISSED_FOR):
            continue
        known = SIGNALS.get(signal)
        meaning = known.meaning if known else "The clock of the target."
        is_usable = not blocked and grade in USABLE
        said = (since, own["evidence"], own["advice"])
        rows.append((*names, signal, meaning, grade, is_usable, *said))
    return rows


def _worst_first(
    rows: Sequence[Sequence[Any]], schema: Mapping[str, Any], *then: str
) -> pl.DataFrame:
    frame = pl.DataFrame(list(rows), schema=pl.Schema(schema), orient="row")
    places = {grade: place for place, grade in enumerate(ORDER)}
    place = pl.col("grade").replace_strict(places, default=0, return_dtype=pl.Int64)
    return frame.sort(place, *then)


def _sentences(targets: pl.DataFrame, signals: pl.DataFrame) -> list[str]:
    """What an operator has to know, the worst first."""
    found = [
        f"{row['target']} is {_word(row['grade'])}: {row['evidence']} {row['advice'] or ''}"
        for row in targets.iter_rows(named=True)
        if row["grade"] not in ("fresh", "idle")
    ]
    troubled = signals.filter(~pl.col("grade").is_in(["fresh", "idle"]))
    found += [
        f"{row['target']} {row['signal']} is {_word(row['grade'])}: {row['evidence']}"
        f" {row['advice'] or ''}"
        for row in troubled.iter_rows(named=True)
    ]
    if found:
        more = len(found) - _MOST_SENTENCES
        told = [text.strip() for text in found[:_MOST_SENTENCES]]
        return [*told, f"{more} more are in the tables."] if more > 0 else told
    if targets.is_empty():
        return []
    idle = targets.filter(pl.col("grade") == "idle").height
    quiet = f" {idle} of them idle: zero demand, not missing data." if idle else ""
    return [f"All signals of {targets.height} targets can be trusted.{quiet}"]


def _word(grade: str) -> str:
    return {
        "two_scrapers": "read by two scrapers",
        "reset": "just restarted",
    }.get(grade, grade)


def _nothing() -> Empty:
    text = "No target has been read yet, so nothing is graded."
    return Empty("nothing_connected", text)
