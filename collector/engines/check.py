"""Contract check for engine tables; run it over your own before you hand it in."""

from __future__ import annotations

from collections.abc import Iterable

from collector.engines.adapter import Engine, Rule
from collector.engines.coverage import coverage
from collector.engines.reader import PageReader
from collector.engines.resolve import Resolver, family_of
from collector.engines.versions import parts
from collector.exposition import Page, parse
from store.signals import SIGNALS


def check_engine(engine: Engine, pages: Iterable[bytes | str]) -> None:
    """Hold a table, and what it makes of pages, against the contract.

    Args:
        engine: the table.
        pages: pages of the engine, of several releases if need be. Together they use every row.

    Raises:
        AssertionError: a row is wrong, or no page uses it, or a page shows what no row knows.
    """
    for rule in engine.rules:
        _check_rule(engine, rule)
    _check_derived(engine)
    _check_zeros(engine)
    _check_absent(engine)
    _check_ignored(engine)
    _check_pages(engine, [parse(page) for page in pages])


def _check_rule(engine: Engine, rule: Rule) -> None:
    what = f"{engine.name}: {rule.family} -> {rule.signal}"
    _require(rule.signal in SIGNALS, f"{what}: the signal is in the catalogue")
    signal = SIGNALS[rule.signal]
    labels = {*rule.labels.values(), *(name for name, _ in rule.fixed)}
    _require(
        labels <= {"model", *signal.labels},
        f"{what}: labels are the signal's, not {sorted(labels)}",
    )
    if signal.kind == "histogram":
        _require((rule.across, rule.reads) == ("sum", "value"), f"{what}: histograms add up")
        _require(rule.factor > 0, f"{what}: edges stay in order")
    _require(bool(rule.label) == (rule.reads != "value"), f"{what}: label goes with reads")
    _require(not rule.prefixed or bool(engine.prefixes), f"{what}: the engine has a prefix")
    for version in (rule.since, rule.until):
        _require(not version or parts(version) is not None, f"{what}: {version} is a release")
    if rule.since and rule.until:
        _require((parts(rule.since) or ()) < (parts(rule.until) or ()), f"{what}: since < until")
    if rule.became:
        heirs = {other.family for other in engine.rules if other.signal == rule.signal}
        _require(rule.became in heirs, f"{what}: {rule.became} feeds the same signal")


def _check_derived(engine: Engine) -> None:
    for row in engine.derived:
        what = f"{engine.name}: {row.signal} = {row.formula}"
        for name in (row.signal, row.left, row.right):
            known = name in SIGNALS and SIGNALS[name].kind != "histogram"
            _require(known, f"{what}: {name} is a value of the catalogue")
        state = coverage(engine, row.signal).state
        _require(state != "absent", f"{what}: both sides can be had")


def _check_zeros(engine: Engine) -> None:
    for row in engine.zeros:
        for name in (row.signal, row.counted_by):
            fed = coverage(engine, name).state == "exact" and SIGNALS[name].kind == "histogram"
            _require(fed, f"{engine.name}: zeros: {name} is one of its histograms")


def _check_absent(engine: Engine) -> None:
    seen: set[str] = set()
    for row in engine.absent:
        _require(
            bool(row.why) and not row.why.endswith("."), f"{engine.name}: absence has a reason"
        )
        for signal in row.signals:
            what = f"{engine.name}: {signal} is absent"
            _require(signal in SIGNALS, f"{what}: it is in the catalogue")
            _require(signal not in seen, f"{what}: it is said once")
            _require(coverage(engine, signal).state == "absent", f"{what}: no row feeds it")
            seen.add(signal)


def _check_ignored(engine: Engine) -> None:
    ruled = {name for rule in engine.rules for name in (rule.family, family_of(rule.family))}
    both = sorted(ruled & set(engine.ignored))
    _require(not both, f"{engine.name}: a family is read or left out, not both: {both}")
    _require(all(engine.ignored.values()), f"{engine.name}: what is left out has a reason")


def _check_pages(engine: Engine, pages: list[Page]) -> None:
    _require(bool(pages), f"{engine.name}: there is a page to try it on")
    resolver, reader = Resolver(engine), PageReader(engine)
    used: set[tuple[str, str, tuple[tuple[str, str], ...]]] = set()
    told: set[str] = set()
    for page in pages:
        reading = reader.read(page)
        unknown = reading.unknown_families
        _require(not unknown, f"{engine.name}: families that no row names: {', '.join(unknown)}")
        _require(reading.unusable_count == 0, f"{engine.name}: every value is in its range")
        told |= {row.signal for row in reading.samples}
        for series in page.values:
            for cell in resolver.cells(series.name, series.labels, _declared(page, series.name)):
                used.add((cell.rule.family, cell.rule.signal, cell.rule.where))
    idle = [
        f"{rule.family} -> {rule.signal}"
        for rule in engine.rules
        if (rule.family, rule.signal, rule.where) not in used
    ]
    _require(not idle, f"{engine.name}: no page uses {', '.join(idle)}")
    missing = [row.signal for row in engine.derived if row.signal not in told]
    _require(not missing, f"{engine.name}: no page gives {', '.join(missing)}")


def _declared(page: Page, name: str) -> str:
    return page.types.get(name) or page.types.get(family_of(name), "")


def _require(true: bool, contract: str) -> None:
    if not true:
        raise AssertionError(f"contract: {contract}")
