"""Sessions: turns, pauses, growth."""

from __future__ import annotations

import polars as pl
import pytest

from analysis.workload import sessions

SCHEMA = {
    "source_id": pl.Int16,
    "session_key": pl.UInt64,
    "at_us": pl.Int64,
    "input_tokens": pl.Int32,
}


def _group(rows):
    return sessions.group(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def test_turns_pauses_and_growth_by_hand():
    """Session 1 has three turns, 2 and 4 s apart, growing by 100 and 50; session 2 has one."""
    found = _group(
        [
            (2, 1, 6_000_000, 250),
            (2, 2, 1_000_000, 10),
            (2, 1, 0, 100),
            (2, 1, 2_000_000, 200),
        ]
    )
    assert sessions.turns_frame(found).rows() == [(1, 1), (3, 1)]
    assert sorted(found.gaps_seconds.tolist()) == [2.0, 4.0]
    assert sessions.growth_per_turn(found) == (75.0, 2)
    assert sessions.growth_frame(found).rows() == [(1, 55.0, 2), (2, 200.0, 1), (3, 250.0, 1)]
    assert sessions.gaps_frame(found).rows() == [(2.0, 0.5), (4.0, 1.0)]


def test_the_same_key_in_two_sources_is_two_sessions():
    """Sources never share a conversation."""
    found = _group([(2, 1, 0, 5), (3, 1, 1_000_000, 5)])
    assert found.turns.tolist() == [1, 1]
    assert found.gaps_seconds.size == 0


def test_unknown_lengths_do_not_count_as_growth():
    """A step with an unknown end is left out, not taken as zero."""
    found = _group([(2, 1, 0, 100), (2, 1, 1, None), (2, 1, 2, 300), (2, 1, 3, 310)])
    assert sessions.growth_per_turn(found) == (pytest.approx(10.0), 1)


def test_nothing_in_gives_nothing_out():
    """No session: empty frames with their columns, unknown growth."""
    found = _group([])
    assert sessions.turns_frame(found).schema == sessions.TURNS_SCHEMA
    assert sessions.gaps_frame(found).schema == sessions.GAPS_SCHEMA
    assert sessions.growth_frame(found).schema == sessions.GROWTH_SCHEMA
    assert sessions.growth_per_turn(found) == (None, 0)
