"""How quick is the server itself?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from analysis.measure import Measure, View
from store.queries.scope import Scope
from store.reader import Reader

# Views that no page of its own shows: marks on charts, commands, the API.
ELSEWHERE = "elsewhere"
PAGES_SCHEMA: dict[str, Any] = {
    "page": pl.String,
    "answers": pl.Int64,
    "computed": pl.Int64,
    "p95_seconds": pl.Float64,
    "longest_seconds": pl.Float64,
    "slowest_view": pl.String,
}
_WHY = "only a running server knows it"


def server(reader: Reader, scope: Scope, *, now: datetime) -> View:
    """What a running process knows of its own pace; nothing of it is in the store.

    Measures: `shared_ratio` (answers that were not computed anew), `loop_lag_p95_seconds`,
    `loop_lag_longest_seconds` (of the last five minutes). Frame `pages`: the answers of each page
    since the start, how many were computed, and how long the newest computations of its views took.

    Args:
        reader: of no use here.
        scope: only named in the result.
        now: of no use here; a view that is handed it grows old.
    """
    del reader, now
    return View(
        "server",
        scope,
        {
            "shared_ratio": Measure(None, "ratio", why=_WHY),
            "loop_lag_p95_seconds": Measure(None, "s", why=_WHY),
            "loop_lag_longest_seconds": Measure(None, "s", why=_WHY),
        },
        {"pages": pl.DataFrame(schema=PAGES_SCHEMA)},
    )
