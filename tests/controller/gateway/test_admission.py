"""Rules and places: each keeps its contract, and its own promise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.admission.check import check_place, check_rule
from controller.gateway.admission.dice import share_of
from controller.gateway.admission.leftover import Leftover
from controller.gateway.admission.past_future import PastFuture, peak_tokens
from controller.gateway.admission.put_back import to_put_back
from controller.gateway.admission.quota import KeptQuota
from controller.gateway.admission.registry import PLACES, RULES, make_place, make_rule
from controller.gateway.ask import Ask, SloClass
from controller.gateway.fleet import Instance, Pace, Sight, Starting
from controller.gateway.gate import Gate, Policies
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.routing.least_outstanding import LeastOutstanding
from store.errors import ControllerError

BATCH = SloClass("batch", priority=-1, is_best_effort=True)
PACE = Pace(1e-3, 0.02, 0.002)
EARNEST = {
    "token-bucket": {"requests_per_minute": 60, "tokens_per_minute": 6_000},
    "fixed-window": {"requests": 60, "tokens": 6_000},
    "quota": {"budget": 100_000},
    "concurrency": {"requests": 8, "requests_per_tenant": 4},
    "queue-depth": {"requests": 4, "tokens": 2_000},
}


def ask(number: int, now: float = 0.0, tokens: int = 100, out: float = 50.0, **more: object) -> Ask:
    """A request of `tokens` and `out` tokens."""
    more = {"tenant": "a", **more}
    return Ask(
        number, now, model="m", input_tokens=tokens, expected_output_tokens=out,
        likely_output_tokens=2 * out, **more,
    )  # type: ignore[arg-type]  # fmt: skip


def replica(running: int = 0, seats: int = 4, cache: int | None = None, **more: object) -> Instance:
    """A replica on which so many of 100 tokens run."""
    one = Instance("one", "http://one", seats=seats, cache_tokens=cache, pace=PACE)
    for number in range(running):
        each = ask(10_000 + number, **more)
        each.started, each.instance = 0.0, "one"
        one.begins(each)
    return one


@pytest.mark.parametrize("name", RULES)
def test_every_rule_keeps_the_contract(name: str) -> None:
    """Judging books nothing, refusals are whole, and those that left cost nothing."""
    check_rule(lambda: make_rule(name))
    check_rule(lambda: make_rule(name, **EARNEST.get(name, {})))


@pytest.mark.parametrize("name", PLACES)
def test_every_place_keeps_the_contract(name: str) -> None:
    """It changes nothing, and who is alone always fits."""
    check_place(lambda: make_place(name))


def test_names_and_parameters_are_asked_for_in_one_line() -> None:
    """A slip is answered with what there is."""
    with pytest.raises(ControllerError, match="no admission rule 'tokenbucket'") as caught:
        make_rule("tokenbucket")
    assert "token-bucket" in caught.value.hint
    with pytest.raises(ControllerError, match="has no parameter 'rpm'"):
        make_rule("token-bucket", rpm=3)
    with pytest.raises(ControllerError, match="ratio must be from"):
        make_place("kv-limit", ratio=3)
    with pytest.raises(ControllerError, match="tenant a has a limit 'rpm'"):
        make_rule("token-bucket", tenants={"a": {"rpm": 3}})


def test_a_bucket_tells_when_it_holds_enough_again() -> None:
    """Asking just then is let in, and just before is not."""
    rule = make_rule("token-bucket", tokens_per_minute=600)
    first = ask(1, tokens=400, out=100.0)
    assert rule.judge(first, Sight(0.0, ())) is None
    rule.entered(first, 0.0)
    refusal = rule.judge(ask(2, tokens=150, out=50.0), Sight(0.0, ()))
    assert refusal is not None
    assert (refusal.code, refusal.scope, refusal.wait_seconds) == (
        "tenant_tokens_per_minute", "tenant", pytest.approx(10.0),
    )  # fmt: skip
    again = ask(3, tokens=150, out=50.0)
    assert rule.judge(again, Sight(9.9, ())) is not None
    assert rule.judge(again, Sight(10.01, ())) is None


def test_who_was_charged_too_much_gets_it_back() -> None:
    """The bucket in the end misses what was used, no more."""
    rule = make_rule("token-bucket", tokens_per_minute=1_000)
    one = ask(1, tokens=100, out=500.0)
    rule.entered(one, 0.0)
    one.started, one.told_input_tokens, one.output_tokens = 0.0, 90, 10
    rule.ended(one, 0.0)
    (left,) = rule.allowances("a", 0.0)
    assert (left.remaining, left.reset_seconds) == (pytest.approx(900.0), pytest.approx(6.0))


def test_what_is_larger_than_the_limit_is_told_not_to_come_back() -> None:
    """No time would help it."""
    for name, limits in (
        ("token-bucket", {"tokens_per_minute": 100}),
        ("fixed-window", {"tokens": 100}),
        ("quota", {"budget": 100}),
    ):
        refusal = make_rule(name, **limits).judge(ask(1, tokens=200), Sight(0.0, ()))
        assert refusal is not None
        assert refusal.is_final
        assert refusal.wait_seconds is None


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.integers(1, 300), st.integers(1, 200), st.integers(0, 400)),
        max_size=40,
    )
)
def test_nobody_uses_more_than_a_bucket_and_its_refill(
    coming: list[tuple[float, int, int, int]],
) -> None:
    """What was used of those let in is at most limit, refill, and the error of estimates."""
    rule = make_rule("token-bucket", tokens_per_minute=1_200, requests_per_minute=30)
    now, used, over, count = 0.0, 0.0, 0.0, 0
    for number, (gap, tokens, expected, real) in enumerate(coming):
        now += gap
        one = ask(number, now, tokens, float(expected))
        if rule.judge(one, Sight(now, ())) is not None:
            continue
        rule.entered(one, now)
        one.started, one.output_tokens = now, real
        rule.ended(one, now)
        used, over, count = used + tokens + real, max(over, real - expected), count + 1
    assert used <= 1_200 + now * 20 + max(over, 0) + 1e-6
    assert count <= 30 + now / 2 + 1e-6


def test_a_window_lets_in_again_when_it_ends_and_not_before() -> None:
    """All of it is there again at once."""
    rule = make_rule("fixed-window", requests=1)
    rule.entered(ask(1), 70.0)
    refusal = rule.judge(ask(2), Sight(80.0, ()))
    assert refusal is not None
    assert refusal.wait_seconds == pytest.approx(40.0)
    assert rule.judge(ask(2), Sight(120.0, ())) is None


def test_a_days_budget_holds_back_what_runs_and_survives_a_restart() -> None:
    """It resets at the end of the period, and goes on from what was spent."""
    rule = make_rule("quota", budget=500, period_seconds=1000, period_began=-100)
    rule.entered(ask(1, tokens=300), 0.0)
    refusal = rule.judge(ask(2, tokens=200), Sight(10.0, ()))
    assert refusal is not None
    assert refusal.wait_seconds == pytest.approx(890.0)
    fresh = make_rule("quota", budget=500, period_seconds=1000, period_began=-100)
    fresh.restore(KeptQuota(900.0, {"a": (300.0, 100.0)}), 20.0, 20.0)  # type: ignore[attr-defined]
    assert fresh.judge(ask(2, tokens=200), Sight(20.0, ())) is not None
    assert fresh.judge(ask(2, tokens=200), Sight(901.0, ())) is None


def test_limits_of_single_tenants_take_the_place_of_the_usual_ones() -> None:
    """Theirs alone."""
    rule = make_rule("concurrency", requests_per_tenant=1, tenants={"big": {"requests": 3}})
    for number in range(2):
        rule.entered(ask(number, tenant="big"), 0.0)
    rule.entered(ask(5, tenant="small"), 0.0)
    assert rule.judge(ask(6, tenant="big"), Sight(0.0, ())) is None
    assert rule.judge(ask(7, tenant="small"), Sight(0.0, ())) is not None


def test_a_tenant_of_many_names_does_not_fill_the_books() -> None:
    """As many are kept as are meant to be."""
    rule = make_rule("token-bucket", requests_per_minute=5)
    for number in range(10_500):
        one = ask(number, tenant=f"t{number}")
        rule.entered(one, 0.0)
        rule.ended(one, 0.0)
    assert len(rule._buckets["requests_per_minute"].kept) == 10_000  # type: ignore[attr-defined]


def test_the_queue_refuses_behind_those_that_were_promised_a_place() -> None:
    """Who was told when to come back counts as if waiting."""
    rule = make_rule("queue-depth", requests=4)
    full = replica(4)
    assert rule.judge(ask(1), Sight(0.0, (full,), waiting=3)) is None
    refusal = rule.judge(ask(1), Sight(0.0, (full,), waiting=3, promised=2.0))
    assert refusal is not None
    assert refusal.ahead == pytest.approx(2.0)
    # A free seat is no queue.
    assert rule.judge(ask(1), Sight(0.0, (replica(1),), waiting=0)) is None


def test_nobody_waits_for_a_replica_that_does_not_come() -> None:
    """503 without a time where nothing starts, with one where it starts late; else it waits."""
    rule = make_rule("has-replica", hold_seconds=30)
    refusal = rule.judge(ask(1), Sight(0.0, ()))
    assert refusal is not None
    assert (refusal.status, refusal.wait_seconds) == (503, None)
    late = rule.judge(ask(1), Sight(0.0, (), (Starting(40.0, 50.0, 8),)))
    assert late is not None
    assert late.wait_seconds == pytest.approx(20.0)
    assert rule.judge(ask(1), Sight(0.0, (), (Starting(10.0, 20.0, 8),))) is None


def test_all_replicas_have_to_be_busy() -> None:
    """One that is not is enough."""
    rule = make_rule("busy-threshold")
    full, free = replica(9, cache=1_000), Instance("two", "", cache_tokens=1_000)
    assert rule.judge(ask(1), Sight(0.0, (full, free))) is None
    assert rule.judge(ask(1), Sight(0.0, (full,))) is not None


def test_lower_priorities_are_held_back_first() -> None:
    """At half saturation the lower band is out, at full everybody."""
    rule = make_rule("saturation", sheds_negative=False)
    half = Sight(0.0, (replica(4),), waiting=3)
    full = Sight(0.0, (replica(4),), waiting=5)
    low, high = ask(1, slo=BATCH), ask(2)
    assert rule.judge(low, half) is not None
    assert rule.judge(high, half) is None
    assert rule.judge(high, full) is not None


def test_early_rejection_keeps_both_bounds() -> None:
    """Out where the first token, or the tokens after it, would come too late."""
    rule = make_rule("early-rejection")
    hurry = ask(1, slo=SloClass("online", ttft_seconds=1.0, tpot_seconds=0.03))
    assert rule.judge(hurry, Sight(0.0, (replica(1),))) is None
    late = rule.judge(hurry, Sight(0.0, (replica(4),), waiting=40))
    assert late is not None
    assert late.code == "would_miss_ttft"
    assert rule.judge(hurry, Sight(0.0, (Instance("x", "", pace=None),), waiting=900)) is None


def test_decoding_is_judged_by_its_load_when_the_prompt_will_be_computed() -> None:
    """A full decoder that will be empty by then refuses only those who look at it now."""
    prefill = Instance("p", "", role="prefill", seats=64, pace=Pace(1e-2, 0.01, 0.0))
    decode = Instance("d", "", role="decode", seats=64, pace=Pace(0.0, 0.02, 0.002))
    for number in range(30):
        one = ask(100 + number, out=50.0)
        one.started, one.output_tokens = 0.0, 45
        decode.begins(one)
        one.first = 0.5
    decode.prompt_tokens_ahead = 0
    asked = ask(1, tokens=300, slo=SloClass("online", 10.0, 0.05))
    sight = Sight(1.0, (prefill, decode))
    now = make_rule("early-rejection", decode_load="now").judge(asked, sight)
    assert now is not None
    assert now.code == "would_miss_tpot"
    assert make_rule("early-rejection").judge(asked, sight) is None


needs = st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500)), min_size=1, max_size=12)


@settings(max_examples=60)
@given(needs)
def test_the_peak_is_what_a_step_by_step_walk_finds(given_needs: list[tuple[int, int]]) -> None:
    """One token each a step, gone when its rest is used up."""
    most, step = 0, 0
    while True:
        running = [(held, rest) for held, rest in given_needs if rest >= step]
        if not running:
            break
        most = max(most, sum(held + step for held, _ in running))
        step += 1
    assert peak_tokens(given_needs) == pytest.approx(most)


def test_memory_is_judged_by_how_long_outputs_were_lately() -> None:
    """Short outputs make room where the predictor's long ones did not."""
    place = PastFuture(quantile=1.0)
    one = replica(3, cache=1_000, out=400.0)
    assert not place.has_room(ask(1, out=400.0), one, 0.0)
    for number in range(60):
        done = ask(number)
        done.output_tokens = 20 + number % 5
        place.ended(done, 0.0)
    assert place.has_room(ask(1, out=400.0), one, 0.0)


def test_best_effort_leaves_what_the_online_class_needs() -> None:
    """It waits behind a promise, keeps seats free by what comes, and fills what is idle."""
    place = Leftover(ahead_seconds=1.0, sureness=0.0)
    batch, one = ask(1, slo=BATCH), replica(0)
    assert place.has_room(batch, one, 0.0)
    online = ask(2, slo=SloClass("online", 1.0, 0.1))
    place.entered(online, 0.5)
    assert not place.has_room(batch, one, 0.6)
    online.started = 0.7
    for number in range(20):
        coming = ask(10 + number, slo=online.slo)
        place.entered(coming, 0.7 + number * 0.2)
        coming.started = 0.7 + number * 0.2
    # Five a second are expected, and four seats are all there are.
    assert not place.has_room(batch, one, 4.6)
    assert place.has_room(ask(3, slo=online.slo), one, 4.6)
    assert place.has_room(batch, one, 1_000.0)


@pytest.mark.parametrize(("stood_seconds", "prompt", "is_let_in"), [
    (0.0, 100, True),
    (0.0, 900, True),   # 1.9 s to spare: one of 0.9 s does no harm
    (1.6, 100, True),
    (1.6, 900, False),  # 0.3 s to spare
    (3.0, 900, True),   # late whatever comes
])  # fmt: skip
def test_a_prompt_of_best_effort_makes_nobody_late(
    stood_seconds: float, prompt: int, is_let_in: bool
) -> None:
    """An answer of 50 tokens at 60 ms each, bound to 100 ms, that stood still for a while."""
    place = Leftover(ahead_seconds=0.0, sureness=0.0, pace_slack=1.0)
    online = ask(2, slo=SloClass("online", 10.0, 0.1))
    one = replica(0)
    one.pace = Pace(0.001, 0.06, 0.0)
    place.entered(online, 0.0)
    online.started, online.instance = 0.0, "one"
    one.begins(online)
    one.produced(online, 10, 0.1)
    now = 0.1 + 0.06 * 10 + stood_seconds
    assert place.has_room(ask(1, tokens=prompt, slo=BATCH), one, now) is is_let_in


def test_the_youngest_best_effort_request_makes_way() -> None:
    """Only one of which no token came, and only as many as wait."""
    one = replica(0, seats=3)
    running = [ask(number, slo=BATCH) for number in (1, 2, 3)]
    for number, each in enumerate(running):
        each.started, each.instance = float(number), "one"
        one.begins(each)
    one.produced(running[2], 1, 5.0)
    waiting = [ask(7, slo=SloClass("online", 1.0))]
    assert to_put_back(waiting, [one]) == [running[1]]
    assert to_put_back([ask(8, slo=BATCH)], [one]) == []
    running[1].attempt = 3
    assert to_put_back(waiting, [one]) == [running[0]]
    assert to_put_back(waiting, [replica(1)]) == []


@settings(max_examples=40)
@given(st.lists(st.booleans(), max_size=12), st.integers(0, 5), st.integers(1, 6))
def test_putting_back_always_makes_the_room_it_promises(
    kinds: list[bool], waiting: int, seats: int
) -> None:
    """Each is chosen once, best effort all, never more than wait; and the gate takes them back."""
    gate = Gate(Policies(Fcfs(), LeastOutstanding()))
    gate.join(Instance("one", "", seats=seats))
    for number, is_batch in enumerate(kinds):
        gate.arrive(ask(number, slo=BATCH if is_batch else SloClass()), 0.0)
    gate.starts(0.0)
    online = [ask(100 + number, 1.0) for number in range(waiting)]
    for one in online:
        gate.arrive(one, 1.0)
    chosen = to_put_back(online, list(gate.instances.values()))
    assert len({one.number for one in chosen}) == len(chosen) <= waiting
    assert all(one.slo.is_best_effort for one in chosen)
    for one in chosen:
        gate.put_back(one, 2.0)
        assert one.number in gate.waiting


def test_dice_by_number_are_even() -> None:
    """Tenths are hit alike."""
    counts = [0] * 10
    for number in range(10_000):
        counts[int(share_of(number) * 10)] += 1
    assert min(counts) > 900
    assert max(counts) < 1_100
