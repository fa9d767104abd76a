"""docs/signals.md: the catalogue, and for each engine what it tells, generated from the tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from collector.engines.adapter import Engine
from collector.engines.coverage import Coverage, coverage, definitions, renames
from collector.engines.registry import ENGINES
from servescope.adapters import signals_of
from store.signals import ENGINE_SIGNALS, SIGNALS, Signal

_MARKS = {"exact": "●", "derived": "◆", "absent": "\N{EN DASH}"}
_ROLES = {"engine": "Engines", "gateway": "Gateways and routers", "exporter": "Exporters"}

_ADDING = (
    "",
    "## Another engine",
    "",
    "An engine is a table in `collector/engines/`: rows of `Rule` (family, signal, labels, factor,",
    "how ranks and replicas come together, releases), what is derived, what is absent and why, and",
    "what is left out and why. Add it to `registry.py`, put pages into `tests/data/pages`, and run",
    "`collector.engines.check.check_engine` over it: it refuses a row that no page uses, a family",
    "that no row knows, and a gap without a reason. No code is written for an engine.",
)


def lines() -> Iterator[str]:
    """The page below its title, line by line."""
    yield from _catalogue()
    yield from _matrix()
    yield from _definitions()
    for role, title in _ROLES.items():
        yield from ("", f"## {title}")
        for engine in ENGINES.values():
            if engine.role == role:
                yield from _engine(engine)
    yield from _ADDING


def _catalogue() -> Iterator[str]:
    columns = [field.name for field in dataclasses.fields(Signal)]
    yield from ("", "## The catalogue", "")
    yield from _table(
        columns, ([_cell(getattr(row, name)) for name in columns] for row in SIGNALS.values())
    )


def _matrix() -> Iterator[str]:
    engines = [engine for engine in ENGINES.values() if engine.role == "engine"]
    yield from (
        "",
        "## Which engine tells which signal",
        "",
        "● exact: exposed as such, converted to our unit. ◆ derived: worked out by a formula.",
        "\N{EN DASH} absent: the engine's own section says why. Of the release named there.",
        "",
    )
    yield from _table(
        ["signal", *(engine.name for engine in engines)],
        (
            [f"`{signal.name}`", *(_MARKS[coverage(e, signal.name).state] for e in engines)]
            for signal in ENGINE_SIGNALS
        ),
    )


def _definitions() -> Iterator[str]:
    yield from (
        "",
        "## Same signal, different measurement",
        "",
        "Numbers of engines in different rows do not compare.",
        "",
    )
    rows = [
        [f"`{signal.name}`", text or signal.meaning, ", ".join(names)]
        for signal in ENGINE_SIGNALS
        for text, names in definitions(ENGINES.values(), signal.name).items()
    ]
    yield from _table(["signal", "what is measured", "by"], rows)


def _engine(engine: Engine) -> Iterator[str]:
    cells = [coverage(engine, signal) for signal in signals_of(engine)]
    yield from ("", f"### {engine.name}", "")
    yield f"Read in {engine.reference or 'its documentation'}. Its page: {_cell(engine.page)}."
    told = [cell for cell in cells if cell.state != "absent"]
    yield ""
    yield from _table(
        ["signal", "cell", "from", "since", "what to know"],
        ([f"`{c.signal}`", c.state, _source(c), c.since, _cell(c.note)] for c in told),
    )
    yield from _absent([cell for cell in cells if cell.state == "absent"])
    yield from _renames(engine)
    yield from _ignored(engine)


def _source(cell: Coverage) -> str:
    families = ", ".join(f"`{family}`" for family in cell.families)
    return _cell(cell.formula) if cell.formula else families


def _absent(cells: Sequence[Coverage]) -> Iterator[str]:
    """Absent signals, those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for cell in cells:
        by_reason.setdefault(cell.why, []).append(f"`{cell.signal}`")
    if by_reason:
        yield ""
        yield from _table(
            ["absent", "because"],
            ([", ".join(signals), _cell(why)] for why, signals in by_reason.items()),
        )


def _renames(engine: Engine) -> Iterator[str]:
    rows = [
        [f"`{rule.family}`", f"`{rule.became}`" if rule.became else "", rule.until, rule.signal]
        for rule in renames(engine)
    ]
    if rows:
        yield ""
        yield from _table(["old name", "became", "gone with", "signal"], rows)


def _ignored(engine: Engine) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for family, why in engine.ignored.items():
        by_reason.setdefault(why, []).append(f"`{family}`")
    if by_reason:
        yield ""
        yield from _table(
            ["left out", "because"],
            ([", ".join(families), _cell(why)] for why, families in by_reason.items()),
        )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value).replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")
