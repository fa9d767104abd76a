"""The adapters of the collector as analysis wants them: what each release can tell."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from analysis.signal_coverage import SignalSource
from collector.engines.adapter import Engine
from collector.engines.coverage import Coverage, coverage
from collector.engines.registry import ENGINES
from store.signals import ENGINE_SIGNALS, SIGNALS


@lru_cache(maxsize=64)
def signal_sources(engine: str, version: str | None) -> Mapping[str, SignalSource]:
    """Signal -> where a release of an engine tells it; empty when there is no adapter.

    Of an engine every engine signal, the absent ones with their reason. Of a gateway or an exporter
    only what it tells: it is not asked for tokens or blocks.
    """
    table = ENGINES.get(engine)
    if table is None:
        return {}
    cells = (coverage(table, signal, version) for signal in signals_of(table))
    return {
        cell.signal: SignalSource(cell.state, how(cell), cell.note, cell.defined_as)
        for cell in cells
    }


def signals_of(engine: Engine) -> tuple[str, ...]:
    """The signals that a table is asked about, in the order of the catalogue."""
    if engine.role == "engine":
        return tuple(signal.name for signal in ENGINE_SIGNALS)
    named = {rule.signal for rule in engine.rules} | {row.signal for row in engine.derived}
    named |= {signal for row in engine.absent for signal in row.signals}
    return tuple(signal for signal in SIGNALS if signal in named)


def how(cell: Coverage) -> str:
    """Families, formula or reason of a cell, in one line."""
    if cell.state == "absent":
        return cell.why
    families = ", ".join(cell.families)
    return cell.formula if cell.formula else families
