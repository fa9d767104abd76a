"""Requests of a range beside those of the week that models learnt from."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from analysis.predictors_inputs import inputs
from store.database import Database
from store.queries import inputs as queries
from store.queries.scope import Scope
from store.rollup import refresh_due

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR, DAY = 3600.0, 86_400.0
SEEN = 2000


def lengths(scale: float, seed: int) -> list[int]:
    return (np.random.default_rng(seed).lognormal(5, 0.6, SEEN) * scale).astype(int).tolist()


def ago(start: float) -> list[float]:
    return np.linspace(start, start - 5 * HOUR, SEEN, endpoint=False).tolist()


@pytest.mark.parametrize(
    ("scale", "verdict"), [(1.0, "as before"), (1.3, "moved"), (6.0, "another")]
)
def test_lengths_that_move_are_told_from_those_that_do_not(
    database: Database, live_scope: Scope, add_requests: Callable[..., None], scale: float,
    verdict: str,
) -> None:  # fmt: skip
    add_requests(ago(2 * DAY), input_tokens=lengths(1.0, 1), model="m")
    add_requests(ago(5.9 * HOUR), input_tokens=lengths(scale, 2), model="m")
    rows = {row["feature"]: row for row in inputs(database.reader, live_scope).to_dicts()}
    assert rows["input length"]["verdict"] == verdict
    assert rows["input length"]["requests_now"] == SEEN
    assert rows["input length"]["requests_then"] == SEEN
    assert rows["model"]["distance"] == 0
    assert rows["model"]["verdict"] == "as before"


def test_another_mix_of_tenants_is_told(
    database: Database, live_scope: Scope, add_requests: Callable[..., Any]
) -> None:
    add_requests(ago(2 * DAY), tenant=["a"] * 1800 + ["b"] * 200)
    add_requests(ago(5.9 * HOUR), tenant=["a"] * 200 + ["c"] * 1800)
    rows = {row["feature"]: row for row in inputs(database.reader, live_scope).to_dicts()}
    assert rows["tenant"]["verdict"] == "another"


def test_of_few_requests_nothing_is_said(
    database: Database, live_scope: Scope, add_requests: Callable[..., Any]
) -> None:
    add_requests([HOUR] * 5, input_tokens=[9] * 5)
    row = inputs(database.reader, live_scope).row(0, named=True)
    assert (row["verdict"], row["distance"]) == ("too few requests", None)


def test_without_requests_there_is_no_row(database: Database, live_scope: Scope) -> None:
    later = Scope((1,), live_scope.start + timedelta(days=40), live_scope.end + timedelta(days=40))
    assert inputs(database.reader, later).is_empty()


@pytest.mark.parametrize("back_minutes", [0, 25])
def test_hours_that_were_rolled_up_tell_what_their_rows_tell(
    database: Database, add_requests: Callable[..., Any], back_minutes: int
) -> None:
    """Whole hours from the roll-up, the rest from the rows: each request counts once."""
    drawn = np.random.default_rng(back_minutes)
    n = 400
    tokens = [*drawn.integers(0, 4000, n - 2).tolist(), None, 0]
    add_requests(
        drawn.uniform(0, 30 * HOUR, n).tolist(),
        status=drawn.choice(["ok", "failed", "aborted"], n).tolist(),
        model=drawn.choice(["a", "b"], n).tolist(),
        tenant=[None, "t"] * (n // 2),
        input_tokens=tokens,
        output_tokens=tokens[::-1],
    )
    refresh_due(database.writer, NOW)
    end = NOW - timedelta(minutes=back_minutes)
    scope = Scope((1,), end - timedelta(hours=13), end)
    then = scope.start.replace(tzinfo=None)
    by_rows, rolled = (
        queries.counts(database.reader, scope, then - timedelta(hours=14), then, use)
        for use in ("rows", "rollup")
    )
    assert rolled.to_dicts() == by_rows.to_dicts()
    assert set(by_rows["feature"]) == {"input length", "output length", "model", "tenant"}
    assert min(by_rows["now"].sum(), by_rows["before"].sum()) > 300
