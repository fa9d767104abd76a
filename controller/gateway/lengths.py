"""How long an answer may become, by what the server saw: quantiles of model, tenant and prompt.

Without a table, or for a model that is not in it, the documented default counts (`UpToLimit`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from controller.gateway.hooks import Caller, Said, UpToLimit

MOST_ROWS = 10_000
Key = tuple[str, str | None, int | None]


def bin_of(input_tokens: int) -> int:
    """The log2 of the prompt's tokens, rounded down."""
    return max(input_tokens, 1).bit_length() - 1


def table_of(rows: Sequence[Sequence[Any]]) -> dict[Key, tuple[float, float]]:
    """Rows of model, tenant, bin, mean, 0.9 quantile as a table; other rows are left out."""
    found: dict[Key, tuple[float, float]] = {}
    for row in rows[:MOST_ROWS]:
        if len(row) != 5 or not isinstance(row[0], str):
            continue
        model, tenant, size, mean, likely = row
        if all(isinstance(one, int | float) and math.isfinite(one) for one in (mean, likely)):
            found[(model, tenant, size)] = (max(float(mean), 1.0), max(float(likely), 1.0))
    return found


class TableLengths:
    """Looks up the most particular group there is; any thread may replace `table`."""

    def __init__(self) -> None:
        self.table: Mapping[Key, tuple[float, float]] = {}
        self._default = UpToLimit()

    def expected(self, said: Said, caller: Caller) -> tuple[float, float]:
        """Mean and 0.9 quantile of the output tokens, within what the client allows; both > 0."""
        table, size = self.table, bin_of(said.input_tokens)
        model, tenant = said.model, caller.tenant
        found = (
            table.get((model, tenant, size))
            or table.get((model, tenant, None))
            or table.get((model, None, size))
            or table.get((model, None, None))
        )
        if found is None:
            return self._default.expected(said, caller)
        most = math.inf if said.most_output_tokens is None else max(said.most_output_tokens, 1)
        return min(found[0], most), min(found[1], most)
