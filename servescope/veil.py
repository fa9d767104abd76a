"""Tenants by pseudonyms: names go out as pseudonyms, and pseudonyms come in as names.

It stands at the one door all numbers go through, `Runtime`: pages, REST API and command line show
the same pseudonym for the same tenant of a store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from analysis.measure import View
from store.database import Database
from store.errors import InputError, QueryRefused
from store.pseudonyms import is_pseudonym, pseudonym, secret_for
from store.queries.scope import join_values, split_values

_TENANTS = "SELECT DISTINCT tenant FROM request_labels WHERE tenant IS NOT NULL"
_NAME_COLUMNS = frozenset({"tenant", "client", "tenants"})
_TEXT_COLUMNS = frozenset(
    {
        "sentence",
        "subject",
        "evidence",
        "command",
        "text",
        "key",
        "why",
        "scope",
        # What people write of alerts and silences.
        "matchers",
        "comment",
        "summary",
        "labels",
    }
)
# Shorter names are common words or letters: in free text only "tenant x" is taken for one.
_LEAST_IN_TEXT = 3


class Veil:
    """Names and pseudonyms of the tenants of one store.

    Args:
        database: the open store; its secret lies beside it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._secret: bytes | None = None

    def of(self, name: str) -> str:
        """The pseudonym of a tenant."""
        if self._secret is None:
            self._secret = secret_for(self._database)
        return pseudonym(self._secret, name)

    def known(self) -> dict[str, str]:
        """Name to pseudonym, of all tenants of the store."""
        names = self._database.reader.frame(_TENANTS)["tenant"].to_list()
        return {name: self.of(name) for name in names}

    def params(self, given: Mapping[str, str]) -> dict[str, str]:
        """Parameters of a question with names for pseudonyms, in `tenant` and `weights`.

        Raises:
            InputError: what is given is no pseudonym of a tenant; names are not taken, so that
                nobody can ask which there are.
        """
        found = dict(given)
        if not (given.get("tenant") or given.get("weights")):
            return found
        names = {shown: name for name, shown in self.known().items()}
        if given.get("tenant"):
            chosen = [_named(names, value) for value in split_values(given["tenant"])]
            found["tenant"] = join_values(chosen)
        if given.get("weights"):
            found["weights"] = join_values(
                _weighted(names, item) for item in split_values(given["weights"])
            )
        return found

    def named(self, given: Mapping[str, str]) -> dict[str, str]:
        """Parameters of somebody who sees names: those that are pseudonyms become names, too."""
        found = dict(given)
        texts = [given.get("tenant", ""), given.get("weights", "")]
        if not any(
            is_pseudonym(part.split(":")[0]) for text in texts for part in split_values(text)
        ):
            return found
        names = {shown: name for name, shown in self.known().items()}

        def name_of(item: str) -> str:
            shown, colon, weight = item.partition(":")
            return f"{names.get(shown, shown)}{colon}{weight}"

        for key in ("tenant", "weights"):
            if given.get(key):
                found[key] = join_values(map(name_of, split_values(given[key])))
        return found

    def names(self, values: Sequence[str]) -> list[str]:
        """Pseudonyms of tenants, in the same order."""
        return [self.of(value) for value in values]

    def scope(self, kept: Mapping[str, str]) -> dict[str, str]:
        """A scope that somebody wrote down, with pseudonyms for names; pseudonyms stay."""
        found = dict(kept)
        if kept.get("tenant"):
            found["tenant"] = join_values(map(self._shown, split_values(kept["tenant"])))
        if kept.get("weights"):
            pairs = [item.rpartition(":") for item in split_values(kept["weights"])]
            found["weights"] = join_values(f"{self._shown(n)}{colon}{w}" for n, colon, w in pairs)
        return found

    def _shown(self, name: str) -> str:
        return name if not name or is_pseudonym(name) else self.of(name)

    def view(self, view: View, *, is_named: bool) -> View:
        """A view without names.

        Args:
            view: as it was computed.
            is_named: whether it was computed with pseudonyms; then only its scope has names.
        """
        scope = replace(view.scope, tenants=tuple(self.names(view.scope.tenants)))
        if is_named:
            return replace(view, scope=scope)
        known = self.known()
        said = self.speech(known)
        return replace(
            view,
            scope=scope,
            frames={name: _veiled(frame, known, said) for name, frame in view.frames.items()},
            sentences=tuple(said(text) for text in view.sentences),
            sql={name: said(text) for name, text in view.sql.items()},
        )

    def frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows without names."""
        known = self.known()
        return _veiled(frame, known, self.speech(known))

    def speech(self, known: Mapping[str, str]) -> Callable[[str], str]:
        """What turns names in a text into pseudonyms."""
        if not known:
            return str
        order = sorted(known, key=len, reverse=True)
        long = "|".join(re.escape(name) for name in order if len(name) >= _LEAST_IN_TEXT)
        every = "|".join(re.escape(name) for name in order)
        alone = rf"(?<![\w-])(?:{long})(?![\w-])|" if long else ""
        # In quotation marks, as matchers and files of objectives have them, a name stands alone.
        pattern = re.compile(rf"{alone}(?<=tenant )(?:{every})(?![\w-])|(?<=\")(?:{every})(?=\")")
        return lambda text: pattern.sub(lambda found: known[found.group(0)], text)


def refuse_rows(what: str) -> None:
    """Say that something would show names.

    Raises:
        QueryRefused: always.
    """
    raise QueryRefused(
        f"{what} would show the names of tenants, which are hidden here",
        hint="dashboard.tenant_names says who may see them",
    )


def _named(names: Mapping[str, str], shown: str) -> str:
    if shown in names:
        return names[shown]
    hint = "tenants go by their pseudonyms here, such as tenant-3k7qv2xa"
    raise InputError(f"no tenant is called '{shown[:60]}'", hint=hint)


def _weighted(names: Mapping[str, str], item: str) -> str:
    shown, colon, weight = item.rpartition(":")
    return f"{_named(names, shown)}:{weight}" if colon else item


def _veiled(
    frame: pl.DataFrame, known: Mapping[str, str], said: Callable[[str], str]
) -> pl.DataFrame:
    changes = []
    for name, kind in frame.schema.items():
        if kind != pl.String:
            continue
        column = pl.col(name)
        if name in _NAME_COLUMNS:
            changes.append(column.replace(dict(known)))
        elif name == "value" and frame.schema.get("dimension") == pl.String:
            of_tenant = pl.col("dimension") == "tenant"
            changes.append(pl.when(of_tenant).then(column.replace(dict(known))).otherwise(column))
        elif name in _TEXT_COLUMNS:
            changes.append(column.map_elements(said, pl.String))
    return frame.with_columns(changes) if changes else frame
