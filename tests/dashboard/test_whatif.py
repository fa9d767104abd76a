"""The What-if page: the model's error first, never a number without its range."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from analysis import replay_fit
from analysis.measure import Empty, Measure
from dashboard.acting import answered
from dashboard.figures import whatif as figures
from dashboard.figures.base import Look
from dashboard.pages.whatif_ask import choice
from dashboard.pages.whatif_numbers import numbers_of
from dashboard.pages.whatif_runs import as_b
from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.url_state import Address

HERE = Path(__file__).parent
REPLAY = "20261120-110000-0a1b2c"


def pages():
    """The helpers of the tests of pages, loaded by their path."""
    name = "servescope_dashboard_test_pages"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "test_pages.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def drawn(fake, path="", search=""):
    """The page as text."""
    return pages().drawn(fake, f"/ui/what-if{path}", search)


def wished(text):
    """What the buttons of a page would tell."""
    return [
        json.loads(json.loads(f'"{one}"'))
        for one in re.findall(r'"data-act": "(.*?)(?<!\\)"', text)
    ]


def test_how_wrong_the_model_is_comes_first_and_greys_the_rest(fake):
    """Not validated is said before any number, in words and on the results."""
    text = drawn(fake)
    assert text.index("not validated") < text.index("What did each policy come to?")
    assert "is-unvalidated" in text


def test_a_number_stands_with_its_range(fake):
    """Every cell of the table is a median with its lowest and highest over the seeds."""
    text = drawn(fake)
    assert "11.1" in text
    assert "11 \N{EN DASH} 11.2" in text
    assert "error_x" in text


def test_a_failure_stands_below_the_numbers(fake):
    """However long its reason is, it takes no place from a number."""
    reason = "the policy proposed NaN replicas; " * 9
    services = fake.services()
    scene = pages().scene_at(fake, "/ui/what-if")
    panel = page_of(scene.address).panels[-1]
    view = services.view("replay", {})
    is_risk = pl.col("policy") == "risk"
    results = view.frames["results"].with_columns(
        failed=pl.when(is_risk).then(pl.lit(1, pl.UInt32)).otherwise("failed"),
        reason=pl.when(is_risk).then(pl.lit(reason)).otherwise("reason"),
    )
    broken = replace(view, frames={**view.frames, "results": results})
    table, below = pages().words(panel.body(broken, scene, services)).split('"What failed"')
    assert f'"{reason}"' not in table.replace(f'"title": "{reason}"', "")
    assert reason in below
    assert "failed, 1 of" in table


def test_two_that_never_changed_say_so_instead_of_a_dot():
    """Courses of one point are a sentence."""
    frame = pl.DataFrame(
        {
            "side": ["a", "b"],
            "pool": [0, 0],
            "at_seconds": [0.0, 0.0],
            "target": [2, 3],
            "ready": [2, 3],
        }
    )
    chosen = pl.DataFrame({"side": ["a", "b"], "title": ["Fixed", "risk"], "row": ["", ""]})
    said = figures.lanes(frame, chosen, Look())
    assert said == "Neither ever asked for another number of replicas: A 2, B 3."


def test_pools_of_a_course_are_added_and_go_on_to_the_end():
    """What changes no more is drawn until the other ends."""
    frame = pl.DataFrame(
        {
            "side": ["a", "a", "b", "b"],
            "pool": [0, 1, 0, 0],
            "at_seconds": [0.0, 0.0, 0.0, 600.0],
            "target": [2, 3, 4, 6],
            "ready": [2, 3, 4, 4],
        }
    )
    chosen = pl.DataFrame({"side": ["a", "b"], "title": ["Fixed", "risk"], "row": ["", ""]})
    picture = figures.lanes(frame, chosen, Look())
    first = picture.figure["data"][0]
    assert (first["x"], first["y"]) == ([0.0, 10.0], [5.0, 5.0])


def test_a_result_has_a_link_for_good(fake):
    """By its id, and an id that never was is an error in words."""
    assert f"/ui/what-if/{REPLAY}" in drawn(fake)
    assert "servescope, risk" in drawn(fake, f"/{REPLAY}")
    scene = pages().scene_at(fake, "/ui/what-if/nothing")
    panel = page_of(scene.address).panels[-1]
    note = answer(panel, scene, fake.services(), None, beat=False)[1]
    assert "no replay 'nothing'" in pages().words(note)


def test_any_two_can_be_laid_side_by_side(fake):
    """A and B are in the address."""
    text = drawn(fake, "", "?a=risk/default&b=ray-serve/default")
    assert "A: servescope, risk, as documented" in text
    assert "B: Ray Serve, as documented" in text
    assert "Where did A and B ask for other numbers?" in text


def test_one_quantile_of_the_tail_stands_in_the_table():
    """p95 where it is known; replays of before have p99 alone."""
    names = ("attainment_ratio", "gpu_hours", "ttft_p95_seconds", "ttft_p99_seconds",
             "tpot_p99_seconds")  # fmt: skip
    frame = pl.DataFrame({name: [1.0] for name in names})
    short = numbers_of(frame, by_cost=False, is_short=True)
    assert short == ["attainment_ratio", "gpu_hours", "ttft_p95_seconds", "tpot_p99_seconds"]
    assert numbers_of(frame, by_cost=False) == list(names)


def test_b_may_be_of_another_replay(fake):
    """Another fleet beside this one: B is its best, said so, and can be taken back."""
    text = drawn(fake, f"/{REPLAY}", f"?against={REPLAY}")
    assert "with its own fleet, traffic and goal" in text
    assert "Take B from this one" in text
    assert f"against={REPLAY}&replay={REPLAY}&format=csv" in text
    assert "Show servescope, risk as A" in text
    assert "Show servescope, risk as B" not in text
    assert {one["replay"] for one in wished(text) if one["act"] == "propose"} == {REPLAY}


def test_b_is_offered_of_other_replays_that_are_done(fake):
    """Not of the one that is shown, and not of one without results."""
    scene = pages().scene_at(fake, f"/ui/what-if/{REPLAY}", "?b=risk")
    link = as_b({"replay_id": "other", "state": "done"}, REPLAY, scene)
    assert "against=other" in link.href
    assert "b=risk" not in link.href
    assert as_b({"replay_id": REPLAY, "state": "done"}, REPLAY, scene) == ""
    assert as_b({"replay_id": "other", "state": "running"}, REPLAY, scene) == ""


def test_the_choices_are_in_the_address(fake):
    """A link asks for the same comparison."""
    search = "?source=azure-2023-conv&policies=keda&seeds=10&startups=0,300&scale=2&least=2"
    replays = [one for one in wished(drawn(fake, "", search)) if one["act"] == "replay"]
    assert replays[0]["about"] == {
        "source": "azure-2023-conv", "policies": ["keda"], "startups": ["0", "300"],
        "profile": "llama2-70b-4-x-h100", "seeds": 10.0, "scale": 2.0, "tune": 0.0,
        "objective": "ttft=2,tpot=0.1,attainment=0.99", "least": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("search", "asked"),
    [
        ("?guards=on", {"guards": True}),
        ("?guards=off", {}),
        ("?forecasts=on", {"forecasts": True}),
        ("?pools=chat", {"pools": ["chat"]}),
        ("?pools=chat,code&guards=off&least=2", {"pools": ["chat", "code"], "guards": False}),
        ("?guards=perhaps", {"guards": "perhaps"}),
    ],
)
def test_guards_forecasts_and_own_pools_can_be_asked_for(fake, search, asked):
    """Only what is not as usual is asked for: pools bring their guards, limits and profiles."""
    (wish, *_) = [one for one in wished(drawn(fake, "", search)) if one["act"] == "replay"]
    names = ("pools", "guards", "forecasts", "least")
    assert {name: wish["about"][name] for name in names if name in wish["about"]} == asked
    assert ("profile" in wish["about"]) is ("pools" not in asked)


def test_own_pools_are_offered_where_there_are_some(fake):
    """Those without a profile are named, and why they cannot be replayed."""
    text = drawn(fake)
    assert '"one kind of replica"' in text
    assert "batch cannot be replayed: no profile says" in text
    own = "so is the policy that decides the pools today"
    assert own in drawn(fake, "", "?pools=chat")
    assert own not in drawn(fake, "", "?pools=chat&policies=keda")
    fake.replays.pools = ()
    text = drawn(fake)
    assert '"one kind of replica"' not in text
    assert "batch cannot be replayed" in text


def test_what_few_change_is_folded_and_says_what_is_in_force(fake):
    """Open where something of it was changed, and while one chooses in it."""
    text = drawn(fake)
    assert "5 seeds, no tuning, no guards, no forecasts" in text
    assert '"open": true' not in text
    text = drawn(fake, "", "?pools=chat&tune=8&forecasts=on")
    assert "5 seeds, 8 trials of tuning, guards, forecasts" in text
    assert '"open": true' in text
    assert '"open": true' in drawn(fake, "", "?more=on")
    assert "more=on&forecasts=on" in drawn(fake)


def test_pressing_replay_asks_the_workers(fake):
    """The page itself computes nothing."""
    (wish, *_) = [one for one in wished(drawn(fake)) if one["act"] == "replay"]
    told = answered(fake.services(), wish)
    assert told.text == f"Queued as {REPLAY}."
    assert fake.replays.asked == [wish["about"]]


def test_promoting_b_makes_a_candidate(fake):
    """Watched, never acted on; for a pool that somebody chose."""
    wishes = [one for one in wished(drawn(fake)) if one["act"] == "propose"]
    assert {one["about"]["pool"] for one in wishes} == {"chat", "code"}
    told = answered(fake.services(), wishes[0])
    assert "acts on nothing" in told.text
    assert fake.replays.asked[0]["policy"] == "risk"


def test_a_fixed_fleet_is_no_candidate(fake):
    """Nor is what knows the future."""
    text = drawn(fake, "", "?b=static/static-peak")
    assert "B is no policy that a controller could run." in text


@pytest.mark.parametrize("seeds", ["", "nonsense", "-1"])
def test_what_makes_no_sense_is_left_to_the_server_to_refuse(seeds):
    """A choice is read without an error."""
    choices = {"policies": ("risk",), "usual": ("risk",), "profiles": ("p",)}
    made = choice(Address(("what-if",), {"seeds": seeds} if seeds else {}), choices)
    assert made.about({})["policies"] == ["risk"]


def test_nothing_replayed_says_what_to_do(fake):
    """The empty page keeps its choices."""
    fake.empty = Empty("nothing_connected", "Nothing was replayed yet.")
    text = drawn(fake)
    assert "Nothing was replayed yet." in text
    assert "Replay this in the background" in text


def test_without_workers_the_page_says_so(fake):
    """Results can be read all the same."""
    fake.replays = None
    text = drawn(fake)
    assert "Nothing can be replayed here." in text
    assert "What did each policy come to?" in text


def test_a_single_seed_is_not_drawn():
    """Rows whose numbers were withheld make no frontier."""
    names = ("gpu_hours", "attainment_ratio")
    frame = pl.DataFrame({"row": ["default"], "is_on_front": [False], **dict.fromkeys(names)})
    assert isinstance(figures.frontier(frame, 0.99), str)


def test_only_candidates_of_replays_are_listed_as_theirs(fake):
    """One that somebody proposed by name came of none of them."""
    services, scene = fake.services(), pages().scene_at(fake, "/ui/what-if")
    panel = next(one for one in page_of(scene.address).panels if one.spot == "whatif-runs")
    view = services.view("replays", {})
    row = {
        "candidate_id": 4, "policy": "keda", "parameters": "{}", "pool": "chat",
        "state": "shadow", "replay_id": REPLAY, "created_at": None, "created_by": "ana",
    }  # fmt: skip
    other = {**row, "candidate_id": 5, "policy": "wva", "replay_id": None}

    def shown(*rows):
        frame = pl.DataFrame(rows, infer_schema_length=None)
        told = replace(view, frames={**view.frames, "candidates": frame})
        return pages().words(panel.body(told, scene, services))

    assert "keda" in shown(row, other)
    assert "wva" not in shown(row, other)
    assert "Which candidates came of them?" not in shown(other)


def test_quantiles_stand_as_measured_and_as_simulated(fake):
    """Of each latency, and how far off; the 95 % quantile of single errors beside the median."""
    error = {
        "quantiles": [
            {"quantity": "e2e", "level": 0.5, "measured_seconds": 9.0, "simulated_seconds": 9.18},
            {"quantity": "ttft", "level": 0.95, "measured_seconds": 0.8, "simulated_seconds": 0.72},
        ]
    }
    services = fake.services()
    scene = pages().scene_at(fake, "/ui/what-if")
    view = services.view("replay", {})
    known = replace(
        view,
        measures={**view.measures, "fit_error_p95_ratio": Measure(0.043, "ratio")},
        frames={**view.frames, "fit": replay_fit.quantiles(error)},
    )
    text = pages().words(page_of(scene.address).panels[-1].body(known, scene, services))
    panel = text[: text.index("What did each policy come to?")]
    off = ("\N{MINUS SIGN}10 %", "+2.0 %")
    for said in ("End to end, p95", "4.3", "TTFT p95", "800", "720", *off):
        assert said in panel, said
    assert "views/replay/fit" in panel


def test_a_profile_without_quantiles_shows_no_table_of_them(fake):
    """Kept before they were, or fitted to single points."""
    assert "measured against simulated" not in drawn(fake)
