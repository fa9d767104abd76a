"""Which engine tells which signal: exact, derived or absent, worked out from the adapter rows.

The reference page `docs/signals.md` and the coverage table of Admin come from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from collector.engines.adapter import Derived, Engine, Rule
from collector.engines.versions import in_range

_RESTART_MARK = "engine_start_mark"

State = Literal["exact", "derived", "absent"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """One engine, one signal.

    Args:
        engine: name of the engine.
        signal: name in `store.signals`.
        state: `exact` (exposed as such, units apart), `derived` (by `formula`) or `absent`.
        families: exposed families that feed it, with the engine's first prefix.
        formula: how a derived value comes about.
        why: why it is absent.
        since: release from which on it is there in this way, "" = as long as we know.
        defined_as: what exactly is measured, where engines differ.
        note: what to know before trusting it.
    """

    engine: str
    signal: str
    state: State
    families: tuple[str, ...] = ()
    formula: str = ""
    why: str = ""
    since: str = ""
    defined_as: str = ""
    note: str = ""


def coverage(engine: Engine, signal: str, version: str | None = None) -> Coverage:
    """What a release of an engine tells about a signal.

    Args:
        engine: the adapter.
        signal: name in `store.signals`.
        version: the release; None, or one that is no number, means the newest.
    """
    rules = _rules(engine, signal, version)
    if rules:
        return _told(engine, signal, rules)
    if signal == _RESTART_MARK and engine.restart_header:
        header = (f"response header {engine.restart_header}",)
        return Coverage(engine.name, signal, "exact", families=header)
    row = _derivation(engine, signal, version)
    if row is not None:
        return Coverage(engine.name, signal, "derived", formula=row.formula, note=row.note)
    return Coverage(engine.name, signal, "absent", why=_why(engine, signal))


def matrix(engines: Iterable[Engine], signals: Iterable[str]) -> dict[tuple[str, str], Coverage]:
    """(signal, engine) -> coverage of the newest release."""
    names = tuple(signals)
    return {
        (signal, engine.name): coverage(engine, signal) for engine in engines for signal in names
    }


def renames(engine: Engine) -> tuple[Rule, ...]:
    """The rows of old names, which another family replaced or which went away."""
    return tuple(rule for rule in engine.rules if rule.became or rule.until)


def conversion(rule: Rule) -> str:
    """What is done to an exposed value, in a few words; "" when nothing is."""
    words = [f"x {rule.factor:g}"] if rule.factor != 1 else []
    words += [f'{name}="{value}"' for name, value in rule.where if value]
    words += [f'without {name}="{value}"' for name, value in rule.unless]
    words += [f"{rule.across} over series"] if rule.across not in ("sum",) else []
    words += [f"largest of {', '.join(rule.max_over)}"] if rule.max_over else []
    if rule.reads != "value":
        words.append(f"from the label {rule.label}")
    return ", ".join(words)


def _rules(engine: Engine, signal: str, version: str | None) -> list[Rule]:
    """The rows that feed a signal in a release; old names only where no current one does."""
    rules = [
        rule
        for rule in engine.rules
        if rule.signal == signal and in_range(version, rule.since, rule.until)
    ]
    return [rule for rule in rules if not rule.fallback] or rules


def _told(engine: Engine, signal: str, rules: list[Rule]) -> Coverage:
    formulas = [rule.formula for rule in rules if rule.formula]
    named = (engine.prefixes[0] if rule.prefixed else "" for rule in rules)
    families = [prefix + rule.family for prefix, rule in zip(named, rules, strict=True)]
    notes = [note for rule in rules for note in (conversion(rule), rule.note) if note]
    return Coverage(
        engine.name,
        signal,
        "derived" if formulas else "exact",
        families=tuple(dict.fromkeys(families)),
        formula=formulas[0] if formulas else "",
        since=next((rule.since for rule in rules if rule.since), ""),
        defined_as=next((rule.defined_as for rule in rules if rule.defined_as), ""),
        note="; ".join(dict.fromkeys(note.rstrip(".") for note in notes)),
    )


def _derivation(engine: Engine, signal: str, version: str | None) -> Derived | None:
    for row in engine.derived:
        if row.signal == signal and all(
            coverage(engine, side, version).state != "absent" for side in (row.left, row.right)
        ):
            return row
    return None


def _why(engine: Engine, signal: str) -> str:
    for row in engine.absent:
        if signal in row.signals:
            return row.why
    left = [rule for rule in engine.rules if rule.signal == signal and rule.until]
    if left:
        return f"{left[0].family} went away with {left[0].until}"
    return f"no such family in {engine.name} {engine.reference}".rstrip()


def definitions(engines: Iterable[Engine], signal: str) -> dict[str, tuple[str, ...]]:
    """What exactly a signal measures -> the engines that measure it so.

    With more than one definition the numbers of those engines do not compare. Engines that say
    nothing take the catalogue's meaning.
    """
    found: dict[str, tuple[str, ...]] = {}
    for engine in engines:
        for rule in _rules(engine, signal, None):
            have = found.get(rule.defined_as, ())
            found[rule.defined_as] = tuple(dict.fromkeys((*have, engine.name)))
    return {text: names for text, names in found.items() if text or len(found) > 1}


def by_engine(cells: Mapping[tuple[str, str], Coverage], signal: str) -> dict[str, Coverage]:
    """Engine -> coverage, for one signal."""
    return {engine: cell for (name, engine), cell in cells.items() if name == signal}
