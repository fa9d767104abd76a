"""What-if of fleets: pools and prices first, money where cards are unlike, guards, shadows."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest

from analysis.measure import Measure
from dashboard.pages import whatif_candidate, whatif_fleet
from dashboard.pages.whatif_numbers import numbers_of
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import parse

FLEET = pl.DataFrame(
    {
        "number": [0, 1], "name": ["fast", "slow"], "role": ["whole", "whole"],
        "profile": ["llama, 2 x h100", "llama, 4 x a100"], "gpus": [2, 4],
        "gpu_type": ["h100", "a100"], "price_per_hour": [8.0, 7.0], "least": [1, 0],
        "most": [9, 9], "startup_seconds": [None, 120.0],
        "transfer_seconds": [0.0, 0.0], "transfer_token_seconds": [0.0, 0.0],
        "decided_together_by": ["risk, melange"] * 2,
    }
)  # fmt: skip


def seen(fake, **changes):
    """The services, the scene and a view of a fleet of two types with prices."""
    services = fake.services()
    scene = scene_of(services, parse("/ui/what-if", "", "/ui/"), "/ui/")
    view = services.view("replay", {})
    results = view.frames["results"].with_columns(
        clips=pl.when(pl.col("policy") == "risk").then(
            pl.lit(json.dumps({"fast": {"cooldown": 9.0, "most": 3.0}, "slow": {"cooldown": 1.0}}))
        ),
        forecasts=pl.lit(json.dumps({"count": 12.0, "skill": 0.21, "coverage_q90": 0.88})),
    )
    pools = results.select("case", "startup_seconds", "policy", "row", "title").join(
        pl.DataFrame({"pool": ["fast", "slow"], "role": ["whole"] * 2, "gpu_hours": [4.0, 7.0],
                      "cost": [16.0, 12.25], "guards": ["cooldown 9", None]}), how="cross",
    )  # fmt: skip
    frames = {**view.frames, "results": results, "fleet": FLEET, "pools": pools, **changes}
    measures = {**view.measures, "ranks_by_cost": Measure(1.0, "")}
    return services, scene, replace(view, frames=frames, measures=measures)


def drawn(services, scene, view):
    body = page_of(scene.address).panels[-1].body(view, scene, services)
    return json.dumps(body, default=lambda part: part.to_plotly_json(), ensure_ascii=False)


def test_a_fleet_is_told_before_its_numbers_and_money_leads(fake):
    """Hours of unlike cards cannot be added: what it cost comes first."""
    text = drawn(*seen(fake))
    assert text.index("Which fleet was replayed?") < text.index("What did each policy come to?")
    for words in (
        "2 \N{MULTIPLICATION SIGN} h100", "Price an hour", "Decided together by risk, melange",
        "Who keeps how much, for what cost?", "What did each pool come to?", "Held by guards",
        "cooldown 10, most 3", "their skill ten minutes ahead: 21.0 %",
    ):  # fmt: skip
        assert words in text, words
    heads = text[text.index("What did each policy come to?") :]
    assert heads.index('"Cost"') < heads.index('"GPU-hours"')


def test_what_is_absent_is_not_shown(fake):
    """A comparison of before there were fleets looks as it did."""
    services = fake.services()
    scene = scene_of(services, parse("/ui/what-if", "", "/ui/"), "/ui/")
    view = services.view("replay", {})
    text = drawn(services, scene, view)
    for words in ("Which fleet was replayed?", "What did each pool", "Held by guards", "handed"):
        assert words not in text
    bare = {name: frame for name, frame in view.frames.items() if name not in ("fleet", "pools")}
    assert "What did each policy come to?" in drawn(services, scene, replace(view, frames=bare))


@pytest.mark.parametrize(
    ("by_cost", "first"),
    [(True, ["attainment_ratio", "cost"]), (False, ["attainment_ratio", "gpu_hours"])],
)
def test_the_number_that_is_compared_stands_beside_attainment(by_cost, first):
    """And so does its regret; the other one's is left out."""
    names = ("attainment_ratio", "gpu_hours", "cost", "regret_static_ratio",
             "regret_static_cost_ratio")  # fmt: skip
    shown = numbers_of(pl.DataFrame({name: [1.0] for name in names}), by_cost=by_cost)
    assert shown[:2] == first
    assert len([name for name in shown if name.startswith("regret")]) == 1


def test_the_promoted_row_says_where_it_is_watched(fake):
    """With its settings: another setting of the same policy is not the one that is watched."""
    scene = scene_of(fake.services(), parse("/ui/what-if", "", "/ui/"), "/ui/")
    candidates = fake.control.candidates.rows
    row = {"policy": "keda", "parameters": '{"target": 8}'}
    (said, *_) = whatif_candidate.standing(row, candidates, scene)
    text = json.dumps(said, default=lambda part: part.to_plotly_json(), ensure_ascii=False)
    assert "in shadow on chat since 2026-11-20 09:00" in text
    assert "/ui/controller?candidate=3" in text
    other = {"policy": "keda", "parameters": '{"target": 9}'}
    assert whatif_candidate.standing(other, candidates, scene) == []


def test_guards_of_one_pool_that_never_held_are_a_dash():
    """Nothing known is not nothing held."""
    assert whatif_fleet.guards_cell({"clips": None}) == "\N{EN DASH}"


@pytest.mark.parametrize(
    ("price", "once", "each", "said"),
    [
        ([8.0, 7.0], 0.0, 0.0, ("Prices of a replica an hour: fast 8, slow 7.", "takes no time")),
        ([None, None], 0.005, 2e-6, ("No pool has a price", "5 ms and 2 \N{MICRO SIGN}s a token",
                                     "7 ms for 1,000 tokens")),
        ([None, None], None, None, ("No pool has a price",)),
    ],
)  # fmt: skip
def test_what_a_fleet_takes_as_given_stands_above_its_tables(fake, price, once, each, said):
    """Prices, and how long a cache is on its way; nothing is said of what no record has."""
    numbers = {"price_per_hour": price, "transfer_seconds": [once] * 2,
               "transfer_token_seconds": [each] * 2}  # fmt: skip
    fleet = FLEET.with_columns(
        *(pl.Series(name, values, dtype=pl.Float64) for name, values in numbers.items()),
        role=pl.Series(["prefill", "decode"]),
    )
    text = drawn(*seen(fake, fleet=fleet))
    above = text[: text.index('"Replicas"')]
    assert all(words in above for words in said)
    assert ("Sending a cache" in text) is (once is not None)
