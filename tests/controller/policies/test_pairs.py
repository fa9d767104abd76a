"""Prefill and decoding pools together: sizes, HeteroScale, TokenScale."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.capacity import requests_per_second
from controller.observation import Limits, Objective, Observation
from controller.policies.check import PROFILE
from controller.policies.pairing import Stage, paired, pairs_of, shared
from controller.policies.registry import make

WIDE = Stage(PROFILE, Limits(1, 100))
PREFILL = requests_per_second(PROFILE, Objective(), 1000, 200, "prefill")
DECODE = requests_per_second(PROFILE, Objective(), 1000, 200, "decode")


def test_both_are_as_large_as_their_own_part_needs():
    """Rate over what one replica serves, rounded up."""
    made = paired(20.0, 1000, 200, WIDE, WIDE, Objective())
    assert made.prefill == -(-20 // PREFILL)
    assert made.decode == -(-20 // DECODE)
    assert made.served_per_second == 20.0
    assert made.binding == ""
    assert made.ratio == pytest.approx(DECODE / PREFILL)


def test_what_prefill_cannot_pass_on_needs_no_decoding():
    """One prefill replica: the decoding pool is as large as that one keeps busy."""
    one = Stage(PROFILE, Limits(1, 1))
    made = paired(50.0, 1000, 200, one, WIDE, Objective())
    assert made.binding == "prefill"
    assert made.decode == -(-PREFILL // DECODE)
    assert made.served_per_second == pytest.approx(PREFILL)


def test_prompts_in_the_cache_need_no_prefill():
    """But they are decoded from."""
    made = paired(20.0, 1000, 200, WIDE, WIDE, Objective(), hit_ratio=0.9)
    assert made.prefill < paired(20.0, 1000, 200, WIDE, WIDE, Objective()).prefill
    assert made.decode_per_second == pytest.approx(DECODE)


def test_the_first_token_of_an_idle_pair_is_added_up():
    """Two steps of up to 2,048 tokens, and the transfer."""
    sent = replace(PROFILE, transfer_seconds=0.02, transfer_token_seconds=1e-5)
    made = paired(1.0, 4096, 200, Stage(sent, Limits(1, 9)), WIDE, Objective())
    assert made.alone_seconds == pytest.approx(2 * (0.01 + 0.2048) + 0.02 + 0.04096)


@given(
    st.floats(0, 1e4), st.floats(0, 1e4), st.floats(1, 2e3), st.integers(0, 9), st.integers(0, 9)
)
def test_a_pair_stays_within_its_limits(rate, prompt, output, most_prefill, most_decode):
    """And never serves more than comes."""
    made = paired(
        rate, prompt, output, Stage(PROFILE, Limits(0, most_prefill)),
        Stage(PROFILE, Limits(0, most_decode)), Objective(),
    )  # fmt: skip
    assert 0 <= made.prefill <= most_prefill
    assert 0 <= made.decode <= most_decode
    assert 0 <= made.served_per_second <= rate


def pair(pool_of, prefill=2, decode=4, tokens=2000.0, limits=(1, 50), **signals):
    first = pool_of(
        prefill, name="p", role="prefill", limits=limits,
        signals={"requests_per_second": 10.0, "mean_input_tokens": 1000.0},
    )  # fmt: skip
    seen = {"output_tokens_per_second": tokens, "mean_output_tokens": 200.0, **signals}
    return first, pool_of(decode, name="d", role="decode", signals=seen, limits=limits)


def test_both_pools_know_the_traffic_of_the_pair(pool_of):
    """The rate is seen at the first, outputs at the second."""
    pools = shared(Observation(0.0, pair(pool_of))).pools
    assert pools[1].reading("requests_per_second").value == 10.0
    assert pools[1].reading("mean_input_tokens").value == 1000.0
    assert pools[0].reading("mean_output_tokens").value == 200.0
    assert [(a.name, b.name) for a, b in pairs_of(pools)] == [("p", "d")]


def hetero(pools, at=0.0, memory=None, **parameters):
    policy = make("heteroscale", **{"prefill_ratio": 0.5, **parameters})
    proposal, kept = policy.decide(Observation(at, pools), memory or {})
    return proposal.targets, kept


def test_decoding_tokens_drive_both(pool_of):
    """3,200 tokens/s, 500 each: seven, and four prefill replicas."""
    assert hetero(pair(pool_of, tokens=3200.0))[0] == {"p": 4, "d": 7}


def test_within_the_band_nothing_moves(pool_of):
    """540 of 500 each."""
    assert hetero(pair(pool_of, tokens=2160.0))[0] == {"p": 2, "d": 4}


def test_fewer_only_after_the_cooldown(pool_of):
    """300 s after the last change."""
    _, memory = hetero(pair(pool_of, tokens=3200.0), 0.0)
    calm = pair(pool_of, prefill=4, decode=7, tokens=1000.0)
    assert hetero(calm, 299.0, memory)[0] == {"p": 4, "d": 7}
    assert hetero(calm, 300.0, memory)[0] == {"p": 1, "d": 2}


def test_latencies_add_a_step(pool_of):
    """They do not say how much, and are not asked again at the next tick."""
    late = pair(pool_of, tokens=2000.0, tpot_p95_seconds=0.2)
    targets, memory = hetero(late, 0.0)
    assert targets == {"p": 3, "d": 5}
    more = pair(pool_of, prefill=3, decode=5, tokens=2500.0, tpot_p95_seconds=0.2)
    assert hetero(more, 30.0, memory)[0]["d"] == 5
    assert hetero(more, 60.0, memory)[0]["d"] == 6


def test_decoding_does_not_outgrow_its_prefill(pool_of):
    """Two prefill replicas at most feed four decoding ones."""
    first, second = pair(pool_of, tokens=9000.0)
    assert hetero((replace(first, limits=Limits(1, 2)), second))[0] == {"p": 2, "d": 4}


def test_without_a_ratio_it_follows_from_the_profiles_once(pool_of):
    """Then it is fixed."""
    targets, memory = hetero(pair(pool_of, tokens=3200.0), prefill_ratio=None)
    ratio = memory["d"]["ratio"]
    assert ratio == pytest.approx(DECODE / PREFILL, rel=1e-3)
    assert targets["p"] == -(-7 * ratio // 1)


def test_tokens_over_velocities(pool_of):
    """10 requests/s of 1,000 prompt tokens over what a prefill replica takes; decoding likewise."""
    proposal, _ = make("tokenscale").decide(Observation(0.0, pair(pool_of)), {})
    assert proposal.targets == {"p": -(-10 // PREFILL), "d": -(-10 // DECODE)}


def test_a_slow_network_bounds_the_prefill_velocity(pool_of):
    """1,000 tokens a second on the wire: one request."""
    first, second = pair(pool_of)
    wired = replace(PROFILE, transfer_token_seconds=1e-3)
    pools = (replace(first, profile=wired), second)
    proposal, _ = make("tokenscale").decide(Observation(0.0, pools), {})
    assert proposal.targets["p"] == 10


def test_the_highest_need_of_a_minute_counts(pool_of, decide):
    """Then it shrinks."""
    policy = make("tokenscale")
    high = {"requests_per_second": 20.0, "mean_input_tokens": 1000.0, "mean_output_tokens": 200.0}
    most, memory = decide(policy, pool_of(9, signals=high), 0.0)
    low = {**high, "requests_per_second": 2.0}
    for at, is_held in ((15.0, True), (60.0, True), (75.0, False)):
        target, memory = decide(policy, pool_of(most, signals=low), at, memory)
        assert (target == most) is is_held


@pytest.mark.parametrize("name", ["dynamo-throughput", "skyserve", "tokenscale"])
def test_policies_on_rates_size_both_pools(pool_of, name):
    """The decoding pool sees no arrivals of its own."""
    policy, memory, targets = make(name), {}, {}
    first, second = pair(pool_of, requests_per_second=0.0)
    for tick in range(40):
        at = tick * policy.spec.period_seconds
        proposal, memory = policy.decide(Observation(at, (first, second)), memory)
        targets = proposal.targets
    assert targets["d"] > 1
    if name != "skyserve":
        assert targets == {"p": -(-10 // PREFILL), "d": -(-10 // DECODE)}
