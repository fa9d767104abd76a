"""Retry-After: what is told, what is kept, and how good it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.admission.base import Refusal
from controller.gateway.admission.registry import make_rule
from controller.gateway.ask import Ask, SloClass
from controller.gateway.drain import drain
from controller.gateway.fleet import Instance, Pace, Sight, Starting
from controller.gateway.gate import Gate, GateLimits, Policies
from controller.gateway.openai.reading import CHAT, read
from controller.gateway.promises import Promise, Promises
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.retry_after import RetryAfter, RetrySettings
from controller.gateway.routing.least_outstanding import LeastOutstanding
from controller.gateway.shares import Shares
from store.errors import ControllerError

PACE = Pace(0.0, 0.02, 0.0)


def ask(number: int, now: float = 0.0, **more: object) -> Ask:
    """One of 100 output tokens: two seconds; sizes tell requests apart."""
    return Ask(number, now, "a", "m", 100 + number, 100.0, 150.0, **more)  # type: ignore[arg-type]


def of(tenant: str, output_tokens: float = 100.0, weight: float = 1.0) -> Ask:
    """One of a tenant, of no prompt to speak of."""
    return Ask(1, 0.0, tenant, "m", 0, output_tokens, output_tokens, weight=weight)


def busy(name: str = "one", seats: int = 20) -> Instance:
    """A full replica whose requests end one after another within two seconds."""
    one = Instance(name, "", seats=seats, pace=PACE)
    for number in range(seats):
        each = ask(10_000 + number)
        each.started, each.instance = 0.0, name
        one.begins(each)
        one.produced(each, max(int(number * 100 / seats), 1), 1.0)
    return one


def full(waiting: int = 10, starting: Sequence[Starting] = ()) -> Sight:
    """A full replica and a queue."""
    return Sight(100.0, (busy(),), starting, waiting, {"a": waiting}, 200.0 * waiting)


def refusal(ahead: float, **more: object) -> Refusal:
    """Of a queue."""
    return Refusal("queue_requests", "too many", ahead=ahead, **more)  # type: ignore[arg-type]


def exact(**more: object) -> RetryAfter:
    """Without margins and jitter."""
    plain = {"sureness": 0.0, "slower_ratio": 0.0, "jitter_ratio": 0.0}
    return RetryAfter(RetrySettings(**{**plain, **more}))  # type: ignore[arg-type]


def test_the_wait_is_what_is_ahead_over_what_leaves_a_second() -> None:
    """Twenty seats of two seconds: ten a second."""
    told = exact().told(refusal(ahead=50.0), ask(1), full())
    assert told.wait_seconds == pytest.approx(5.0, rel=0.15)


def test_who_comes_second_waits_behind_the_first() -> None:
    """Ten promises later one is told a second more."""
    gate = exact()
    waits = [
        gate.told(refusal(ahead=50.0), ask(number), full()).wait_seconds for number in range(21)
    ]
    assert waits[20] == pytest.approx((waits[0] or 0) + 2.0, abs=0.6)
    assert waits == sorted(waits, key=lambda wait: wait or 0)


def test_a_queue_that_runs_short_calls_the_next_sooner() -> None:
    """Thirty are promised a place, one after another, ten a second: the next comes after them.

    Unless the queue has room by now that none of the thirty will need.
    """
    waits = []
    for free in (0, 15):
        gate = exact()
        for number in range(31):
            sight = full(waiting=40 - free if number == 30 else 40)
            seen = gate.seen_by(ask(number), sight)
            ahead = sight.waiting + seen.promised + 1 - 40
            refused = gate.told(refusal(ahead, counts_promised=True), ask(number), seen)
        waits.append(refused.wait_seconds or 0.0)
    assert waits[0] == pytest.approx(3.1, abs=0.4)
    assert waits[1] == 0.0


def test_promises_of_the_fleet_do_not_shorten_a_limit_of_a_tenants_own() -> None:
    """What the fleet's queue has promised says nothing of how many a tenant has running."""
    own = Refusal("tenant_concurrency", "five", "tenant", ahead=5.0)
    alone, beside = exact(), exact()
    for number in range(30):
        beside.told(refusal(ahead=50.0), ask(number), full(waiting=40))
    seen = beside.seen_by(ask(99), full(waiting=40))
    assert seen.promised == pytest.approx(30.0)
    told = beside.told(own, ask(99), seen).wait_seconds
    assert told == alone.told(own, ask(99), full(waiting=40)).wait_seconds


def test_replicas_that_start_make_the_wait_shorter() -> None:
    """Twice the seats after two seconds; and nothing but them where none serves."""
    alone = exact().told(refusal(ahead=100.0), ask(1), full()).wait_seconds
    helped = exact().told(
        refusal(ahead=100.0), ask(1), full(starting=[Starting(102.0, 103.0, 40)])
    ).wait_seconds  # fmt: skip
    assert alone is not None
    assert helped is not None
    assert helped < 0.65 * alone
    idle = Sight(100.0, (busy(seats=20),), [Starting(99.0, 99.5, 40)])
    late = exact().told(refusal(ahead=100.0), ask(1), idle).wait_seconds
    assert late == pytest.approx(alone), "one that is later than late promises nothing"


def test_nothing_is_told_of_what_nobody_knows() -> None:
    """Neither pace nor anything that ended: silence; likewise where it is of no use."""
    unknown = Sight(1.0, (Instance("x", "", seats=0),), (), 5)
    assert exact().told(refusal(ahead=5.0), ask(1), unknown).wait_seconds is None
    assert (
        exact().told(Refusal("draining", "going away", status=503), ask(1), full()).wait_seconds
        is None
    )
    final = Refusal("too_large", "too large", "tenant", is_final=True)
    assert exact().told(final, ask(1), full()).wait_seconds is None
    assert exact().told(refusal(ahead=1.0), ask(1), full()).wait_seconds is None


def test_a_pace_is_learnt_where_none_is_known() -> None:
    """From how long requests kept their seats."""
    gate = exact()
    done = ask(1)
    done.started = 10.0
    gate.ended(done, 14.0)
    one = busy()
    one.pace = None
    told = gate.told(refusal(ahead=25.0), ask(2), Sight(100.0, (one,), (), 5))
    assert told.wait_seconds == pytest.approx(5.0, rel=0.4)


def test_a_bucket_tells_its_own_time_after_those_before() -> None:
    """The second of a tenant waits until the bucket has enough for both."""
    gate = exact()
    out = Refusal(
        "tenant_tokens_per_minute", "none left", "tenant", wait_seconds=10.0, unit="tokens",
        per_second=10.0,
    )  # fmt: skip
    assert gate.told(out, ask(1), full()).wait_seconds == pytest.approx(10.0)
    assert gate.told(out, ask(2), full()).wait_seconds == pytest.approx(10.0 + 201 / 10)
    other = Ask(3, 0.0, "b", "m", 100, 100.0, 150.0)
    assert gate.told(out, other, full()).wait_seconds == pytest.approx(10.0)


def test_a_wait_is_cut_to_what_clients_honour_and_keeps_its_place() -> None:
    """Told in parts, each the rest of the first."""
    gate = exact(most_seconds=30.0)
    assert gate.told(refusal(ahead=400.0), ask(1), full()).wait_seconds == pytest.approx(30.0)
    again = full()
    again = Sight(130.0, again.instances, (), 10)
    rest = gate.told(refusal(ahead=400.0), ask(1, 130.0), again).wait_seconds
    assert rest == pytest.approx(10.0, abs=2.5)
    assert gate.meter.capped_count == 1
    with pytest.raises(ControllerError, match="most_seconds must be"):
        RetrySettings(most_seconds=90.0)


def test_nobody_passes_those_who_were_promised_a_place() -> None:
    """A newcomer sees them as if they waited; who is due does not, and its promise is kept."""
    gate = exact()
    sight = full(waiting=40)
    told = gate.told(refusal(ahead=20.0), ask(1), sight)
    assert gate.seen_by(ask(2), sight).promised == pytest.approx(1.0)
    assert gate.seen_by(ask(1), sight).promised == 0.0
    due = Sight(100.0 + (told.wait_seconds or 0.0), sight.instances, (), 40)
    assert gate.seen_by(ask(1), due).promised < 0.0
    gate.entered(ask(1), due.now)
    assert gate.seen_by(ask(2), due).promised == 0.0
    assert (gate.meter.let_in_count, gate.meter.refused_again_count) == (1, 0)


def test_nothing_stays_idle_for_who_does_not_come() -> None:
    """A queue that will be empty at once is open to all, and late promises are void."""
    gate = exact()
    gate.told(refusal(ahead=20.0), ask(1), full(waiting=40))
    assert gate.seen_by(ask(2), full(waiting=2)).promised == 0.0
    later = Sight(110.0, full().instances, (), 40)
    assert gate.seen_by(ask(2), later).promised == 0.0
    assert gate.meter.away_count == 1
    assert gate.meter.kept_share < 1.0


def test_lower_classes_wait_for_promises_to_higher_ones_and_not_the_other_way() -> None:
    """Priority holds among promises, too."""
    gate = exact()
    batch = SloClass("batch", priority=-1, is_best_effort=True)
    gate.told(refusal(ahead=20.0), ask(1, slo=batch), full(waiting=40))
    assert gate.seen_by(ask(2), full(waiting=40)).promised == 0.0
    assert gate.seen_by(ask(3, slo=batch), full(waiting=40)).promised == pytest.approx(1.0)


def test_a_tenant_s_own_line_gets_shorter_by_its_own_requests() -> None:
    """One in four of those that leave: it takes four times as long as the whole queue would."""
    gate = exact()
    for number in range(40):
        gate.started([of("a" if number % 4 == 0 else "b")], 60.0 + number)
    own = refusal(ahead=10.0, scope="tenant")
    alone = exact().told(refusal(ahead=10.0), ask(1), full()).wait_seconds
    told = gate.told(own, ask(1), full()).wait_seconds
    assert told == pytest.approx(4 * (alone or 0), rel=0.2)


def test_where_tenants_share_their_parts_fall_as_soon_as_others_wait() -> None:
    """All that left were a's, until b began to wait: now each has half of the service.

    Requests of b are three times as long, so three in four are of a; with three times the weight
    every other one.
    """
    sight = replace(full(), waiting_of={"a": 5, "b": 5})
    for weight, share in ((1.0, 0.75), (3.0, 0.5)):
        shares = Shares()
        shares.started([of("b", 300.0, weight)], 60.0)
        for number in range(40):
            shares.started([of("a")], 60.0 + number)
        assert shares.of("a", sight) > 0.9
        assert shares.of("a", replace(sight, is_shared=True)) == pytest.approx(share)
        alone = replace(full(), waiting_of={"a": 5}, is_shared=True)
        later = replace(alone, now=101.0)
        assert shares.of("a", later) > 0.9, "who does not wait takes no more than it did"


def test_no_newcomer_takes_the_place_of_a_tenant_s_own_that_was_told_to_come() -> None:
    """The place that fell free is for who was told; after it has come the next may wait."""
    gate = Gate(Policies(Fcfs(), LeastOutstanding()), GateLimits(most_waiting_of_tenant=5))
    gate.join(Instance("one", "", seats=1, pace=PACE))
    assert gate.arrive(ask(0), 0.0) is None
    ((first, _),) = gate.starts(0.0)
    assert [gate.arrive(ask(number), 0.0) for number in range(1, 6)] == [None] * 5
    told = gate.arrive(ask(6), 0.0)
    assert told is not None
    assert told.code == "tenant_queue_full"
    gate.ended(first, 2.0)
    gate.starts(2.0)
    newcomer = gate.arrive(ask(7), 2.0)
    assert newcomer is not None
    assert (newcomer.wait_seconds or 0) > 0
    assert gate.arrive(ask(6), told.wait_seconds or 0) is None
    other = Ask(20, 2.0, "b", "m", 100, 100.0, 150.0)
    assert gate.arrive(other, 2.0) is None, "what one tenant was promised keeps nobody else out"


def limited(requests_per_minute: float, most_waiting: int = 1_000) -> Gate:
    """One tenant's bucket, and one seat that nobody leaves."""
    bucket = make_rule("token-bucket", requests_per_minute=requests_per_minute)
    policies = Policies(Fcfs(), LeastOutstanding(), [bucket])
    gate = Gate(policies, GateLimits(most_waiting_of_tenant=most_waiting), exact())
    gate.join(Instance("one", "", seats=1, pace=PACE))
    return gate


def test_no_newcomer_takes_what_a_bucket_gets_for_who_was_told_to_come() -> None:
    """One a second: each that was told finds its own, whoever asks in between."""
    gate = limited(60)
    assert [gate.arrive(ask(number), 0.0) for number in range(60)] == [None] * 60
    told = [gate.arrive(ask(number), 0.0) for number in (60, 61)]
    assert [one and one.wait_seconds for one in told] == pytest.approx([1.0, 2.0])
    newcomer = gate.arrive(ask(70), 1.0)
    assert newcomer is not None
    assert newcomer.wait_seconds == pytest.approx(2.0)
    assert newcomer.remaining == 0
    assert gate.arrive(ask(60), 1.0) is None
    assert gate.arrive(ask(61), 2.0) is None
    assert gate.arrive(ask(70), 3.0) is None


def test_who_has_to_pass_two_limits_is_told_the_longer_wait() -> None:
    """The line has a place after seconds, the bucket has something only after half a minute."""
    gate = limited(6, most_waiting=5)
    assert gate.arrive(ask(0), 0.0) is None
    gate.starts(0.0)
    assert [gate.arrive(ask(number), 0.0) for number in range(1, 6)] == [None] * 5
    told = [gate.arrive(ask(number), 0.0) for number in (10, 11, 12)]
    assert {one and one.code for one in told} == {"tenant_queue_full"}
    waits = [(one and one.wait_seconds) or 0.0 for one in told]
    assert waits == pytest.approx([10.0, 20.0, 30.0], rel=0.01)


def test_requests_alike_in_size_are_told_apart_by_their_words() -> None:
    """A newcomer is not taken for another one that was told to come, however short both are."""
    gate = exact()
    first = gate.told(refusal(ahead=50.0), ask(1, fingerprint=11), full()).wait_seconds
    for word in range(20, 40):
        gate.told(refusal(ahead=50.0), ask(1, fingerprint=word), full())
    last = gate.told(refusal(ahead=50.0), ask(1, fingerprint=99), full()).wait_seconds
    assert (last or 0) > (first or 0) + 1.5
    one, other, same = (
        read(CHAT, b'{"model": "m", "messages": [{"role": "user", "content": "%b"}]}' % text)
        for text in (b"cat", b"dog", b"cat")
    )
    assert one == same != other


def test_the_meter_judges_by_what_really_left() -> None:
    """Told five seconds, and there was room after four: a quarter off."""
    gate = exact()
    told = gate.told(refusal(ahead=50.0), ask(1), full())
    gate.started([of("a")] * 49, 103.0)
    assert gate.meter.median_error() is None
    gate.started([of("a")], 104.0)
    assert gate.meter.median_error() == pytest.approx(abs((told.wait_seconds or 0) - 4) / 4)


class Walk:
    """A gate behind one replica, step by step."""

    def __init__(self) -> None:
        self.gate = Gate(
            Policies(Fcfs(), LeastOutstanding(), (make_rule("queue-depth", requests=3),))
        )
        self.gate.join(Instance("one", "", seats=2, pace=PACE))
        self.running: list[Ask] = []

    def goes_on(self, now: float) -> None:
        """One ends, and the next starts."""
        if self.running:
            self.gate.ended(self.running.pop(0), now)
        self.running += [one for one, _ in self.gate.starts(now)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=60))
def test_what_is_told_is_always_a_time_that_clients_honour(steps: list[tuple[float, bool]]) -> None:
    """From 0 to 60 s or nothing; promises do not pile up for those that never come."""
    walk, now = Walk(), 0.0
    for number, (gap, is_end) in enumerate(steps):
        now += gap
        if is_end:
            walk.goes_on(now)
            continue
        said = walk.gate.arrive(ask(number, now), now)
        walk.running += [one for one, _ in walk.gate.starts(now)]
        if said is not None and said.wait_seconds is not None:
            assert 0 < said.wait_seconds <= 60
    walk.gate.retry_after.seen_by(ask(9_999), walk.gate.sight("m", now + 1_000))
    assert len(walk.gate.retry_after.promises) == 0


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 1), st.floats(0, 100)), max_size=30),
    st.data(),
)
def test_the_book_of_promises_counts_as_a_list_would(
    made: list[tuple[int, int, float]], data: st.DataObject
) -> None:
    """After any of them are closed."""
    book = Promises()
    open_ = []
    for order, (group, priority, due) in enumerate(made):
        one = Promise(order, order % 5, group, priority, 0.0, due, due, due + 1, 2.5)
        book.add(one)
        open_.append(one)
    while open_ and data.draw(st.booleans()):
        one = open_.pop(data.draw(st.integers(0, len(open_) - 1)))
        book.close(one)
    at = data.draw(st.floats(0, 101))
    for group in range(3):
        found = [one for one in open_ if one.group == group]
        expected = sum(one.due_at <= at and one.priority >= 0 for one in found)
        assert book.due_by(group, 0, at) == expected
        assert book.cost(group, "tokens") == pytest.approx(2.5 * len(found))
        assert book.cost(group, "requests") == len(found)
    assert len(book.void(at)) == sum(one.void_at <= at for one in open_)


def test_a_drain_rises_and_settles_at_what_the_fleet_serves() -> None:
    """Ten a second for twenty seats of two seconds."""
    made = drain(full())
    assert made is not None
    assert list(made.left) == sorted(made.left)
    assert made.between(130.0, 150.0) == pytest.approx(200.0, rel=0.05)
    assert made.between(200.0, 210.0) == pytest.approx(100.0, rel=0.05)
    assert not math.isnan(made.by(0.0))
