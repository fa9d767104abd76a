"""Request rows as workloads: sizes, sessions, shared beginnings, parts and scales."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.simulator.state import NOBODY
from controller.workloads import Cut, of_blocks, of_sessions, workload_of
from store.errors import ControllerError

START = datetime(2026, 1, 1)


def rows(n=4, **columns):
    return pl.DataFrame(
        {
            "arrived_at": [START + timedelta(seconds=k) for k in range(n)],
            "input_tokens": [100] * n,
            "output_tokens": [10] * n,
            **columns,
        }
    )


def test_rows_without_sizes_are_left_out_and_counted():
    """A request whose answer was never counted cannot be replayed."""
    work = workload_of(rows(output_tokens=[10, None, 0, 10]))
    assert len(work) == 2
    assert work.left_out == 2
    assert work.arrived.tolist() == [0.0, 3.0]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (rows().drop("input_tokens"), "no input_tokens"),
        (rows(input_tokens=[None] * 4), "none of 4 requests has"),
        (rows(0), "there is no request"),
        (rows(1), "one request"),
    ],
)
def test_what_cannot_be_replayed_is_said(table, said):
    """In one line, with what to do."""
    with pytest.raises(ControllerError, match=said) as failure:
        workload_of(table)
    assert failure.value.hint


def test_a_turn_shares_what_was_said_before():
    """Prompt and answer of the turn before; nothing when the context was cut."""
    group, shared = of_sessions(["a", "b", "a", "a", None], [100, 50, 150, 30, 9], [20] * 5)
    assert group.tolist() == [0, 1, 0, 0, NOBODY]
    assert shared.tolist() == [0, 0, 120, 0, 0]


def test_sessions_of_rows_become_groups():
    """By their id, as the export has it."""
    work = workload_of(rows(session_id=["x", "x", None, "y"], input_tokens=[100, 200, 5, 7]))
    assert work.group.tolist() == [0, 0, NOBODY, 1]
    assert work.shared.tolist() == [0, 110, 0, 0]


def test_a_conversation_is_known_by_its_blocks():
    """One that repeats most of an earlier prompt goes on with it; a system prompt is apart."""
    chains = [[1, 2, 3], [1, 2, 3, 4], [1, 9, 8, 7], [50, 60], [1, 2, 3, 4, 5]]
    group, tokens = of_blocks(chains, 512)
    assert group[0] == group[1] == group[4]
    assert len({group[0], group[2], group[3]}) == 3
    assert tokens.tolist() == [0, 3 * 512, 512, 0, 4 * 512]


@given(st.lists(st.lists(st.integers(0, 6), max_size=5), max_size=30))
def test_nobody_shares_more_than_it_has(chains):
    """Whatever the hashes."""
    _, tokens = of_blocks(chains, 16)
    assert all(0 <= shared <= 16 * len(chain) for shared, chain in zip(tokens, chains, strict=True))


def test_blocks_beat_sessions():
    """They say more."""
    work = workload_of(
        rows(2, session_id=["a", "b"], block_hashes=[[1, 2], [1, 2]]), block_tokens=40
    )
    assert work.group[0] == work.group[1]
    assert work.shared.tolist() == [0, 80]


def test_a_part_can_be_taken_and_made_denser():
    """Seconds count from the start of the part."""
    table = rows(100, input_tokens=[100] * 100, output_tokens=[10] * 100)
    part = workload_of(table, Cut(10.0, 20.0))
    assert part.arrived.tolist() == list(np.arange(10.0))
    assert len(workload_of(table, Cut(factor=3.0))) == 300


@pytest.mark.parametrize("cut", [Cut(50.0, 40.0), Cut(98.5, 99.5), Cut(1000.0, None)])
def test_an_empty_part_is_refused(cut):
    """Rather than replayed as silence."""
    with pytest.raises(ControllerError, match=r"part|requests arrive"):
        workload_of(rows(100), cut)
