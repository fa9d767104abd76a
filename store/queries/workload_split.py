"""Which part of a question about a workload is read from its roll-up, and which from the rows."""

from __future__ import annotations

from typing import Literal

from store.queries.rollup import Split, cut
from store.queries.scope import Scope
from store.queries.tenant_rows import ROLLED_FROM_SECONDS
from store.queries.workload import FrameReader, naive

Use = Literal["auto", "rows", "rollup"]


def hours(reader: FrameReader, scope: Scope, use: Use = "auto") -> Split:
    """The stretches of a scope that a roll-up by the hour can tell; others are of the rows.

    A row that comes between this question and the next is missing from the answer, as if it had
    come after both.

    Args:
        reader: the store.
        scope: what is asked about.
        use: "auto" takes the roll-up for long ranges; the others are for tests.
    """
    is_short = use == "auto" and scope.seconds < ROLLED_FROM_SECONDS
    if use == "rows" or is_short or not scope.source_ids:
        return Split(None, (), ((naive(scope.start), naive(scope.end)),))
    return cut(reader, scope, "rollup_1h")
