"""What replays came to: never one number of one seed, regret seed by seed, failures in words."""

from __future__ import annotations

import polars as pl
import pytest

from analysis import replay_frames


def row(policy, kind, seed, hours, ratio, **more):
    return {
        "case": "c", "startup_seconds": 60.0, "policy": policy, "title": policy, "row": kind,
        "parameters": "{}", "seed": seed, "state": "done", "requests": 100,
        "gpu_hours": hours, "attainment_ratio": ratio, "advice": [], **more,
    }  # fmt: skip


def rows():
    return [
        *(row("static", "static-peak", seed, 10.0 + seed, 0.995) for seed in range(3)),
        *(row("clairvoyant", "clairvoyant", seed, 8.0, 0.999) for seed in range(3)),
        row("a", "default", 0, 12.0, 0.990, advice=["keep 3 warm"]),
        row("a", "default", 1, 11.0, 0.980),
        row("a", "default", 2, 18.0, 0.999),
        row("b", "default", 0, 5.0, 0.5),
        row("c", "default", 0, 5.0, 1.0),
        {**row("c", "default", 1, None, None), "state": "failed", "reason": "it hung"},
    ]


def summary():
    return replay_frames.summary(replay_frames.outcomes(rows()), 0.99)


def one(policy):
    return summary().filter(policy=policy).row(0, named=True)


def test_a_row_is_its_median_and_its_range():
    """Over the seeds."""
    found = one("a")
    assert (found["gpu_hours"], found["gpu_hours_low"], found["gpu_hours_high"]) == (12, 11, 18)
    assert found["attainment_ratio"] == pytest.approx(0.99)
    assert found["is_met"] is True
    assert found["seeds"] == 3


def test_regret_compares_the_same_seed_with_the_same_seed():
    """12/10, 11/11, 18/12: the median of the ratios, not the ratio of the medians."""
    found = one("a")
    assert found["regret_static_ratio"] == pytest.approx(0.2)
    assert found["regret_static_ratio_low"] == pytest.approx(0.0)
    assert found["regret_clairvoyant_ratio_high"] == pytest.approx(18 / 8 - 1)


@pytest.mark.parametrize("policy", ["b", "c"])
def test_one_seed_shows_no_number(policy):
    """It would have no range; nor is it said whether the objective was kept."""
    found = one(policy)
    assert found["gpu_hours"] is None
    assert found["attainment_ratio_low"] is None
    assert found["is_met"] is None


def test_a_failed_row_says_why():
    """And counts what failed."""
    found = one("c")
    assert (found["failed"], found["reason"]) == (1, "it hung")


def test_the_front_leaves_out_what_knows_the_future():
    """Of the others, whoever is beaten by none."""
    found = dict(summary().select("policy", "is_on_front").iter_rows())
    assert found == {"a": False, "b": False, "c": False, "static": True, "clairvoyant": False}


def test_the_verdict_names_the_cheapest_that_keeps_the_objective_and_its_advice():
    """With what a fixed fleet would have cost."""
    said = replay_frames.verdict(summary(), 0.99)
    assert "a (default) keeps 99.00% at the least, 12.0 GPU-hours, 20% more" in said[0]
    assert "keep 3 warm" in said[1]
    none = replay_frames.summary(replay_frames.outcomes(rows()), 0.9999)
    assert "no policy keeps 99.99%" in replay_frames.verdict(none, 0.9999)[0]


def test_two_rows_differ_where_they_asked_for_other_numbers():
    """A change of both at once that keeps their distance is no news."""
    made = [
        {**row("a", "default", 0, 1, 1), "lanes": [[0, 0, 2, 2, 0, 0], [60, 0, 4, 2, 2, 0]]},
        {
            **row("b", "default", 0, 1, 1),
            "lanes": [[0, 0, 2, 2, 0, 0], [30, 0, 3, 2, 1, 0], [60, 0, 5, 3, 2, 0]],
        },
        {**row("a", "curve", 0, 1, 1), "lanes": [[0, 0, 9, 9, 0, 0]]},
    ]
    lanes = replay_frames.lanes(made)
    found = replay_frames.differences(lanes.filter(policy="a"), lanes.filter(policy="b"))
    assert found.rows() == [(0.0, 2, 2, 0), (30.0, 2, 3, 1)]


def test_nothing_at_all_is_an_empty_table():
    """As when everything was stopped at once."""
    empty = replay_frames.summary(replay_frames.outcomes([]), 0.99)
    assert empty.is_empty()
    assert replay_frames.verdict(empty, 0.99) == []
    assert replay_frames.lanes([]).is_empty()


def test_a_pool_that_changes_nothing_goes_on_in_the_total():
    """Pools have rows of their own; the sum is of what each had last."""
    names = ("at_seconds", "pool", "target", "ready")
    rows = [(0.0, 0, 2, 2), (0.0, 1, 4, 3), (60.0, 1, 1, 1), (90.0, 0, 3, 2)]
    lanes = pl.DataFrame(rows, schema=names, orient="row")
    found = replay_frames.totals(lanes)
    assert found.rows() == [(0.0, 6, 5), (60.0, 3, 3), (90.0, 4, 3)]
    assert replay_frames.differences(lanes, lanes)["difference"].to_list() == [0]
