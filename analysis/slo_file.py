"""Reading `slo.toml`: all mistakes at once, each with its line and what was probably meant.

```toml
[[slo]]
name = "chat-ttft"
kind = "ttft"                # availability | ttft | tpot | e2e | goodput
threshold_seconds = 0.5      # goodput: ttft_seconds, tpot_seconds, e2e_seconds instead
target_ratio = 0.99
window = "30d"               # rolling; or a calendar "day", "week", "month", "quarter"
time_zone = "Europe/Berlin"  # of a calendar window; left out means UTC
count_aborted = true         # a request its client gave up counts as bad
minimum_bad_events = 20

[slo.match]                  # each a text or a list; left out means all
model = "llama-70b"

[[slo.alert]]                # left out: the SRE workbook's table, scaled to the window
severity = "page"
long = "1h"
short = "5m"
burn = 14.4
```
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from analysis.burn import AlertRule, Severity, default_alerts, reachable_alerts
from analysis.reports.periods import zone_named
from analysis.slo_lint import Problem, lint
from analysis.slo_model import (
    KINDS,
    MINIMUM_BAD_EVENTS,
    NOMINAL_SECONDS,
    QUANTITIES,
    Calendar,
    Slo,
    SloKind,
    SloMatch,
)
from store import toml
from store.errors import ConfigError, InputError
from store.nearest import nearest_hint
from store.queries.scope import parse_duration

LARGEST_FILE_BYTES = 1 << 20
LARGEST_NUMBER = 1e9
LONGEST_WINDOW_SECONDS = 366 * 86_400.0
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SLO_KEYS = (
    "name", "kind", "threshold_seconds", "ttft_seconds", "tpot_seconds", "e2e_seconds",
    "target_ratio", "window", "time_zone", "match", "alert", "minimum_bad_events", "count_aborted",
    "description",
)  # fmt: skip
_MATCH_KEYS = {
    "source": "sources",
    "model": "models",
    "tenant": "tenants",
    "route": "routes",
    "class": "classes",
}
_ALERT_KEYS = ("severity", "long", "short", "burn")
_CALENDARS = ", ".join(f'"{unit}"' for unit in NOMINAL_SECONDS)
_LIMIT_KEYS = ("ttft_seconds", "tpot_seconds", "e2e_seconds")


def load_slo_file(path: Path) -> tuple[Slo, ...]:
    """The objectives of a file.

    Raises:
        InputError: the file cannot be read, or is larger than 1 MiB.
        ConfigError: the file is not TOML, or says something that cannot be meant; the message lists
            all mistakes, one a line.
    """
    slos, problems = read_slo_file(path)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        more = "s" if len(errors) > 1 else ""
        raise ConfigError(
            "\n".join([f"{len(errors)} mistake{more} in the SLO file", *map(str, errors)]),
            where=str(path),
        )
    return slos


def read_slo_file(path: Path) -> tuple[tuple[Slo, ...], list[Problem]]:
    """The objectives that could be read, and every mistake and warning.

    Raises:
        InputError: the file cannot be read, or is larger than 1 MiB.
    """
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise InputError(
                "an SLO file larger than 1 MiB is refused", where=str(path), hint="is it the one?"
            )
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(
            f"the SLO file cannot be read ({error.strerror})",
            where=str(path),
            hint="name an existing file (--file here, --slo for a server)",
        ) from error
    except UnicodeDecodeError as error:
        raise InputError("the SLO file is not UTF-8 text", where=str(path)) from error
    return parse_slo_text(text, str(path))


def parse_slo_text(text: str, name: str = "slo.toml") -> tuple[tuple[Slo, ...], list[Problem]]:
    """The objectives in a text, and every mistake and warning; never raises.

    Args:
        text: TOML.
        name: what the problems call the file.
    """
    try:
        document = toml.loads(text)
    except toml.TomlError as error:
        return (), [_syntax_problem(error, name)]
    lines = _Lines(text, name)
    problems = [
        Problem(lines.of(None, key), f"unknown key '{key}'", nearest_hint(key, ("slo",)))
        for key in document
        if key != "slo"
    ]
    tables = document.get("slo", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        problems.append(Problem(lines.of(None, "slo"), "'slo' is not a list", "write [[slo]]"))
        return (), problems
    slos = []
    for index, table in enumerate(tables):
        reader = _SloReader(table, index, lines)
        slo = reader.slo()
        problems += reader.problems
        if slo is not None:
            slos.append(slo)
    problems += lint(slos)
    return tuple(slos), problems


class _Lines:
    """Finds the line of a key, roughly as TOML lays tables out; good enough to point at."""

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._keys: dict[tuple[int | None, str], int] = {}
        index: int | None = None
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.strip()
            if re.match(r"\[\[\s*slo\s*\]\]", line):
                index = 0 if index is None else index + 1
                self._keys[index, ""] = number
            elif found := re.match(r"\[*\s*([\w.\"'-]+)", line):
                key = found[1].split(".")[-1].strip("\"'")
                self._keys.setdefault((index, key), number)

    def of(self, index: int | None, key: str) -> str:
        number = self._keys.get((index, key)) or self._keys.get((index, ""))
        return f"{self._name}:{number}" if number else self._name


class _SloReader:
    """Reads one `[[slo]]` table and collects what is wrong with it."""

    def __init__(self, table: Mapping[str, Any], index: int, lines: _Lines) -> None:
        self.problems: list[Problem] = []
        self._table = table
        self._index = index
        self._lines = lines

    def slo(self) -> Slo | None:
        self._refuse_unknown(self._table, _SLO_KEYS)
        name = self._name()
        kind = self._kind()
        target = self._number("target_ratio", above=0.0, below=1.0)
        calendar = self._calendar()
        window_seconds = (
            NOMINAL_SECONDS[calendar.unit] if calendar else self._duration(self._table, "window")
        )
        limits = self._limits(kind) if kind else {}
        match = self._match()
        minimum = self._table.get("minimum_bad_events", MINIMUM_BAD_EVENTS)
        if not isinstance(minimum, int) or isinstance(minimum, bool) or minimum < 1:
            self._say("minimum_bad_events", "'minimum_bad_events' must be a whole number >= 1")
        count_aborted = self._typed("count_aborted", bool, True)
        description = self._typed("description", str, "")
        written = self._alerts()
        if any(problem.severity == "error" for problem in self.problems):
            return None
        target, window_seconds = cast("float", target), cast("float", window_seconds)
        usual = reachable_alerts(default_alerts(window_seconds), target)
        return Slo(
            name=name,
            kind=cast("SloKind", kind),
            target_ratio=target,
            window_seconds=window_seconds,
            ttft_seconds=limits.get("ttft_seconds"),
            tpot_seconds=limits.get("tpot_seconds"),
            e2e_seconds=limits.get("e2e_seconds"),
            match=match,
            alerts=usual if written is None else written,
            minimum_bad_events=minimum,
            count_aborted=count_aborted,
            description=description,
            where=self._lines.of(self._index, ""),
            calendar=calendar,
        )

    def _say(self, key: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self._lines.of(self._index, key), message, hint))

    def _refuse_unknown(self, table: Mapping[str, Any], known: Collection[str]) -> None:
        for key in table:
            if key not in known:
                self._say(key, f"unknown key '{key}'", nearest_hint(key, known))

    def _name(self) -> str:
        name = self._table.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self._say(
                "name",
                "'name' is missing or not a plain name",
                "lower-case letters, digits and dashes, at most 63",
            )
            return ""
        return name

    def _kind(self) -> SloKind | None:
        kind = self._table.get("kind")
        if kind in KINDS:
            return cast("SloKind", kind)
        hint = nearest_hint(str(kind), KINDS)
        self._say("kind", f"'kind' is {kind!r}" if kind else "'kind' is missing", hint)
        return None

    def _number(
        self,
        key: str,
        *,
        above: float,
        below: float = LARGEST_NUMBER,
        table: Mapping[str, Any] | None = None,
    ) -> float | None:
        value = (self._table if table is None else table).get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and above < value < below:
            return float(value)
        limits = f"above {above:g}" + (f" and below {below:g}" if below < LARGEST_NUMBER else "")
        hint = "a ratio, so 99 % is 0.99" if key == "target_ratio" else ""
        found = "is missing" if value is None else f"is {value!r}"
        self._say(key, f"'{key}' {found}; it must be a number {limits}", hint)
        return None

    def _calendar(self) -> Calendar | None:
        """The calendar period that `window` names; None when it is a duration, or neither."""
        unit = self._table.get("window")
        zone = self._typed("time_zone", str, "UTC")
        try:
            zone_named(zone)
        except InputError as error:
            self._say("time_zone", error.message, error.hint or "")
            zone = "UTC"
        if isinstance(unit, str) and unit in NOMINAL_SECONDS:
            return Calendar(unit, zone)
        if "time_zone" in self._table:
            self._say("time_zone", "'time_zone' is of calendar windows; this one rolls",
                      f"leave it out, or write window = {_CALENDARS}")  # fmt: skip
        return None

    def _duration(self, table: Mapping[str, Any], key: str) -> float | None:
        value = table.get(key)
        try:
            seconds = parse_duration(value).total_seconds() if isinstance(value, str) else 0.0
        except InputError:
            seconds = 0.0
        if 0 < seconds <= LONGEST_WINDOW_SECONDS:
            return seconds
        found = "is missing" if value is None else f"is {value!r}"
        hint = 'write a duration such as "30d", "6h" or "5m", at most "366d"'
        if key == "window":
            hint += f"; or a calendar window: {_CALENDARS}"
        self._say(key, f"'{key}' {found}", hint)
        return None

    def _typed(self, key: str, kind: type[Any], default: Any) -> Any:
        value = self._table.get(key, default)
        if not isinstance(value, kind):
            what = "true or false" if kind is bool else "a text"
            self._say(key, f"'{key}' must be {what}")
            return default
        return value

    def _limits(self, kind: SloKind) -> dict[str, float]:
        given = [key for key in ("threshold_seconds", *_LIMIT_KEYS) if key in self._table]
        allowed: tuple[str, ...] = ("threshold_seconds",)
        if kind == "goodput":
            allowed = _LIMIT_KEYS
        elif kind == "availability":
            allowed = ()
        for key in given:
            if key not in allowed:
                takes = " or ".join(allowed) or "none"
                self._say(key, f"kind '{kind}' takes no '{key}'", f"it takes: {takes}")
        wanted = [key for key in given if key in allowed]
        if allowed and not wanted:
            self._say("kind", f"kind '{kind}' needs a threshold", " or ".join(allowed))
        numbers = {key: self._number(key, above=0.0) for key in wanted}
        read = {key: value for key, value in numbers.items() if value is not None}
        if "threshold_seconds" in read:
            return {QUANTITIES[kind]: read["threshold_seconds"]}
        return read

    def _match(self) -> SloMatch:
        table = self._table.get("match", {})
        if not isinstance(table, dict):
            self._say("match", "'match' is not a table", "write [slo.match]")
            return SloMatch()
        self._refuse_unknown(table, _MATCH_KEYS)
        values: dict[str, tuple[str, ...]] = {}
        for key, field in _MATCH_KEYS.items():
            value = table.get(key, [])
            items = [value] if isinstance(value, str) else value
            if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
                self._say(key, f"'{key}' must be a text or a list of texts")
                continue
            values[field] = tuple(items)
        return SloMatch(**values)

    def _alerts(self) -> tuple[AlertRule, ...] | None:
        tables = self._table.get("alert")
        if tables is None:
            return None
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._say("alert", "'alert' is not a list", "write [[slo.alert]]")
            return ()
        return tuple(rule for rule in map(self._alert, tables) if rule is not None)

    def _alert(self, table: Mapping[str, Any]) -> AlertRule | None:
        self._refuse_unknown(table, _ALERT_KEYS)
        long, short = self._duration(table, "long"), self._duration(table, "short")
        burn = self._number("burn", above=0.0, table=table)
        severity = table.get("severity", "page")
        if severity not in ("page", "ticket"):
            self._say("severity", f"'severity' is {severity!r}", "page or ticket")
            return None
        if long is None or short is None or burn is None:
            return None
        return AlertRule(cast("Severity", severity), long, short, burn)


def _syntax_problem(error: Exception, name: str) -> Problem:
    found = re.search(r"\(at line (\d+), column \d+\)", str(error))
    where = f"{name}:{found[1]}" if found else name
    return Problem(where, f"not valid TOML: {re.sub(r' *[(]at .*', '', str(error))}")
