"""Tenants and classes as a file describes them: checked as a whole, all mistakes told at once.

[class.online]
ttft_seconds = 1.0

[tenant.acme]
weight = 2
keys = ["sha256:…"]
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.gateway.ask import ONLINE, SloClass
from controller.gateway.tenant_book import LIMITS, Tenant, TenantBook
from store import toml
from store.errors import ConfigError
from store.nearest import nearest_hint

MOST_BYTES = 8 << 20
MOST_KEYS = 100_000
MOST_WEIGHT = 1e6
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_NO_HASH = (
    "must be sha256: and 64 hexadecimal digits, as `servescope gateway key` prints it; never the "
    "key itself"
)
_TOP = ("keys_required", "tenant_header", "user_is_tenant", "session_header", "class_header",
        "most_tenants", "default", "class", "tenant")  # fmt: skip
_TENANT = ("weight", "class", "classes", "keys", "names_tenants", *LIMITS)
_DEFAULT = ("weight", "class", "classes", *LIMITS)
_CLASS = ("ttft_seconds", "tpot_seconds", "priority", "best_effort")


def read_file(path: Path) -> TenantBook:
    """The book in a file.

    Raises:
        ConfigError: it cannot be read, or has mistakes: all of them, a line each.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"is larger than {MOST_BYTES >> 20} MiB", where=str(path))
        told = toml.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})", where=str(path),
            hint="gateway.tenants_file names a TOML file; see docs/tenants.md",
        ) from error  # fmt: skip
    except (toml.TomlError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML: {error}", where=str(path)) from error
    return book_of(told, str(path))


def book_of(document: Mapping[str, Any], where: str) -> TenantBook:
    """The book in a document.

    Raises:
        ConfigError: all mistakes, a line each.
    """
    reading = _Reading(where)
    book = reading.book(document)
    if reading.problems:
        raise ConfigError("\n".join(reading.problems), hint="see docs/tenants.md")
    return book


class _Reading:
    """Reads one document, and gathers what is wrong with it."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.problems: list[str] = []

    def book(self, told: Mapping[str, Any]) -> TenantBook:
        self._known("", told, _TOP)
        classes = {ONLINE: SloClass()}
        classes |= {name: self._class(name, one) for name, one in self._tables(told, "class")}
        default = told.get("default", {})
        usual = self._tenant("", default if isinstance(default, dict) else {}, classes)
        if not isinstance(default, dict):
            self._bad("default", "must be a table")
        self._known("default.", default if isinstance(default, dict) else {}, _DEFAULT)
        tenants: dict[str, Tenant] = {}
        keys: dict[str, Tenant] = {}
        for name, table in self._tables(told, "tenant"):
            self._known(f"tenant.{name}.", table, _TENANT)
            tenants[name] = tenant = self._tenant(name, table, classes, usual)
            self._keys(name, table, tenant, keys)
        return TenantBook(
            tenants, keys, classes, usual,
            keys_required=self._flag(told, "keys_required", usual=bool(keys)),
            tenant_header=self._header(told, "tenant_header"),
            user_is_tenant=self._flag(told, "user_is_tenant", usual=True),
            session_header=self._header(told, "session_header"),
            class_header=self._header(told, "class_header"),
            most_tenants=int(self._number(told, "", "most_tenants", 1_000, 1, 100_000) or 1_000),
        )  # fmt: skip

    def _tenant(
        self,
        name: str,
        table: Mapping[str, Any],
        classes: Mapping[str, SloClass],
        usual: Tenant | None = None,
    ) -> Tenant:
        at = f"tenant.{name}." if name else "default."
        usual = usual or Tenant("")
        if name and _NAME.fullmatch(name) is None:
            self._bad(at, "a name has 1 to 128 characters that can be shown")
        slo = self._of_class(at, "class", table.get("class"), classes, usual.slo)
        told = table.get("classes", sorted(usual.classes))
        if not isinstance(told, list):
            self._bad(f"{at}classes", "must be a list of classes")
            told = []
        named = frozenset(
            self._of_class(at, "classes", one, classes, slo).name for one in told
        )  # fmt: skip
        weight = self._number(table, at, "weight", usual.weight, 0.0, MOST_WEIGHT, is_open=True)
        limits = {
            limit: value
            for limit in LIMITS
            if (value := self._number(table, at, limit, None, 0.0, 1e15, is_open=True)) is not None
        }
        speaks = self._flag(table, "names_tenants", usual=False, at=at)
        return Tenant(name, weight or 1.0, slo, named | {slo.name}, speaks, limits)

    def _class(self, name: str, table: Mapping[str, Any]) -> SloClass:
        at = f"class.{name}."
        self._known(at, table, _CLASS)
        priority = self._number(table, at, "priority", 0, -1_000, 1_000)
        return SloClass(
            name,
            self._number(table, at, "ttft_seconds", None, 0.0, 1e6, is_open=True),
            self._number(table, at, "tpot_seconds", None, 0.0, 1e6, is_open=True),
            int(priority or 0),
            self._flag(table, "best_effort", usual=False, at=at),
        )

    def _keys(
        self, name: str, table: Mapping[str, Any], tenant: Tenant, keys: dict[str, Tenant]
    ) -> None:
        told = table.get("keys", [])
        if not isinstance(told, list) or len(keys) + len(told) > MOST_KEYS:
            self._bad(f"tenant.{name}.keys", f"must be a list, at most {MOST_KEYS:,} keys in all")
            return
        for place, key in enumerate(told, 1):
            # A key that somebody wrote as it is must not appear in a log by way of this message.
            at = f"tenant.{name}.keys, number {place}"
            if not isinstance(key, str) or _HASH.fullmatch(key) is None:
                self._bad(at, _NO_HASH)
            elif key in keys:
                self._bad(at, f"is a key of {keys[key].name}, too")
            else:
                keys[key] = tenant

    def _tables(self, told: Mapping[str, Any], name: str) -> list[tuple[str, Mapping[str, Any]]]:
        tables = told.get(name, {})
        if not isinstance(tables, dict):
            self._bad(name, f"must be tables: [{name}.NAME]")
            return []
        for key, table in tables.items():
            if not isinstance(table, dict):
                self._bad(f"{name}.{key}", f"must be a table: [{name}.{key}]")
        return [(key, table) for key, table in tables.items() if isinstance(table, dict)]

    def _of_class(
        self, at: str, field_name: str, told: Any, classes: Mapping[str, SloClass], usual: SloClass
    ) -> SloClass:
        if told is None:
            return classes.get(usual.name, usual)
        if not isinstance(told, str) or told not in classes:
            self._bad(f"{at}{field_name}", f"there is no class {told!r:.80}; "
                                           f"there are: {', '.join(classes)}")  # fmt: skip
            return usual
        return classes[told]

    def _number(
        self, table: Mapping[str, Any], at: str, name: str, usual: float | None,
        low: float, high: float, *, is_open: bool = False,
    ) -> float | None:  # fmt: skip
        value = table.get(name, usual)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not low <= value <= high:
            self._bad(f"{at}{name}", f"must be a number from {low:g} to {high:g}")
        elif is_open and value <= low:
            self._bad(f"{at}{name}", f"must be above {low:g}")
        else:
            return float(value)
        return usual

    def _flag(self, table: Mapping[str, Any], name: str, *, usual: bool, at: str = "") -> bool:
        value = table.get(name, usual)
        if not isinstance(value, bool):
            self._bad(f"{at}{name}", "must be true or false")
            return usual
        return value

    def _header(self, told: Mapping[str, Any], name: str) -> str:
        usual = str(getattr(_USUAL, name))
        value = told.get(name, usual)
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{0,100}", value):
            self._bad(name, "must be the name of a header, or empty")
            return usual
        return value.lower()

    def _known(self, at: str, table: Mapping[str, Any], names: tuple[str, ...]) -> None:
        for name in table:
            if name not in names:
                self._bad(f"{at}{name}", f"is unknown; {nearest_hint(name, names)}")

    def _bad(self, at: str, why: str) -> None:
        self.problems.append(f"{self._where}: {at} {why}")


_USUAL = TenantBook()
