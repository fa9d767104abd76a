"""The whole workload in one answer, for `servescope analyze` and `GET /api/v1/workload`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.measure import View
from analysis.workload import report
from servescope.runtime import Runtime


def analysis(
    runtime: Runtime, params: Mapping[str, str], against: str | None, *, as_lines: bool
) -> dict[str, Any]:
    """Every workload view and the findings, computed once for all who ask meanwhile.

    Args:
        runtime: the open store.
        params: the scope.
        against: source names to compare with, or "previous"; None compares nothing.
        as_lines: give `lines` for a terminal instead of the numbers.

    Raises:
        InputError: unknown source, bad time or empty range.
    """
    scope = runtime.scope(params)
    reader, veil = runtime.database.reader, runtime.veils.now

    def shown(view: View) -> View:
        return veil.view(view, is_named=False) if veil else view

    def compute() -> dict[str, Any]:
        if as_lines:
            return {"lines": report.text_report(reader, scope, against, shown)}
        return report.characterise(reader, scope, against, shown)

    return runtime.cache.get(
        ("analysis", scope, against, as_lines, veil is None),
        compute,
        ttl_seconds=runtime.config.server.view_ttl_seconds,
        version=runtime.data_version(scope),
    )
