"""Books that outlive a change of what decides: which rule goes on from which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from controller.gateway.admission.base import Lasting, Rule


def numbered(names: Iterable[str]) -> tuple[str, ...]:
    """Names that are each there once: the second "quota" is "quota#2"."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(found)


def named(rules: Sequence[Rule], names: Sequence[str] = ()) -> dict[str, Rule]:
    """Rules by the names under which they go on; without any, by their kind and order."""
    names = names or numbered(rule.spec.name for rule in rules)
    return dict(zip(names, rules, strict=True))


def take_over(rules: Mapping[str, Rule], before: Mapping[str, Rule], now: float) -> None:
    """Let each rule go on from the one of its name."""
    for name, rule in rules.items():
        replaced = before.get(name)
        if isinstance(rule, Lasting) and replaced is not None and replaced is not rule:
            rule.take_over(replaced, now)
