"""What is wrong with an SLO file, and what in a well-formed one cannot work or will surprise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.burn import AlertRule, unreachable_why
from analysis.slo_model import Slo


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in an SLO file, or something in it that cannot work.

    Attributes:
        where: "file:line", or the SLO's name when it was not read from a file.
        message: what is wrong, one line.
        hint: what to do.
        severity: "error" refuses the file; "warning" is only said.
    """

    where: str
    message: str
    hint: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        advice = f" ({self.hint})" if self.hint else ""
        return f"{self.where}: {self.message}{advice}"


def lint(slos: Sequence[Slo]) -> list[Problem]:
    """What cannot work, or will surprise, in objectives that are well-formed.

    Errors: two of one name, an alert that can never fire, a short window not below its long one,
    an alert window longer than the SLO's. Warning: no alert is left.
    """
    problems = []
    seen: set[str] = set()
    for slo in slos:
        where = slo.where or slo.name
        if slo.name in seen:
            problems.append(Problem(where, f"a second SLO is called '{slo.name}'", "rename one"))
        seen.add(slo.name)
        for rule in slo.alerts:
            problems += [Problem(where, *found) for found in _rule_problems(slo, rule)]
        if not slo.alerts:
            problems.append(
                Problem(
                    where,
                    f"no burn alert fits '{slo.name}': window {slo.window_seconds:.0f} s is too"
                    " short, or the target too low, for the usual table",
                    "name one with [[slo.alert]], or live without",
                    severity="warning",
                )
            )
    return problems


def _rule_problems(slo: Slo, rule: AlertRule) -> list[tuple[str, str]]:
    found = []
    why = unreachable_why(rule, slo.target_ratio)
    if why is not None:
        found.append((f"'{slo.name}': {why}", "lower `burn`, or raise the target"))
    if rule.short_seconds >= rule.long_seconds:
        found.append((f"'{slo.name}': an alert's short window is not shorter than its long", ""))
    if rule.long_seconds > slo.window_seconds:
        found.append((f"'{slo.name}': an alert's window is longer than the SLO's", ""))
    return found
