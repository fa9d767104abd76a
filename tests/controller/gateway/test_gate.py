"""The gate: nobody is lost, counted twice, or sent where there is no place."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.admission.base import Refusal, RuleSpec
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance, Sight
from controller.gateway.gate import Gate, GateLimits, Policies
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.routing.least_outstanding import LeastOutstanding


def ask(number: int, tenant: str = "a", model: str = "m", **more: object) -> Ask:
    """A request of 100 tokens that expects 50."""
    return Ask(number, float(number), tenant, model, 100, 50.0, 80.0, **more)  # type: ignore[arg-type]


def gate(seats: int = 1, **limits: int) -> Gate:
    """One replica."""
    made = Gate(Policies(Fcfs(), LeastOutstanding()), GateLimits(**limits))
    made.join(Instance("one", "http://one", seats=seats))
    return made


def test_a_free_replica_is_used_at_once_and_a_busy_one_makes_wait() -> None:
    """The second request starts when the first is over, not before."""
    one = gate()
    first, second = ask(1), ask(2)
    assert one.arrive(first, 0.0) is None
    assert one.arrive(second, 0.0) is None
    assert [asked for asked, _ in one.starts(0.0)] == [first]
    assert one.starts(0.5) == []
    one.ended(first, 1.0)
    assert [asked for asked, _ in one.starts(1.0)] == [second]


def test_a_tenant_cannot_fill_the_queue_alone() -> None:
    """Its own limit refuses it, and others still come in."""
    one = gate(most_waiting_of_tenant=2)
    for number in range(2):
        assert one.arrive(ask(number, "flood"), 0.0) is None
    refusal = one.arrive(ask(3, "flood"), 0.0)
    assert refusal is not None
    assert (refusal.code, refusal.scope) == ("tenant_queue_full", "tenant")
    assert one.arrive(ask(4, "other"), 0.0) is None


def test_policies_change_while_requests_wait_and_run() -> None:
    """Those that wait go on in the order of arrival; the one that runs frees its place."""
    one = gate()
    asks = [ask(number) for number in range(3)]
    for each in asks:
        one.arrive(each, each.arrived)
    one.starts(0.0)
    one.change(Policies(Fcfs(), LeastOutstanding()), 5.0)
    order = []
    for last in asks:
        one.ended(last, 6.0)
        order += [asked.number for asked, _ in one.starts(6.0)]
    assert order == [1, 2]


def test_a_refusal_books_nothing_anywhere() -> None:
    """A later rule's refusal leaves the earlier rule's books as they were."""

    class Books:
        spec = RuleSpec("books", "Books", "test")

        def __init__(self, refuses: bool) -> None:
            self.refuses, self.entered_count = refuses, 0

        def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
            return Refusal("no", "no") if self.refuses else None

        def entered(self, ask: Ask, now: float) -> None:
            self.entered_count += 1

        def ended(self, ask: Ask, now: float) -> None:
            self.entered_count -= 1

    first, second = Books(refuses=False), Books(refuses=True)
    one = Gate(Policies(Fcfs(), LeastOutstanding(), rules=(first, second)))
    assert one.arrive(ask(1), 0.0) == Refusal("no", "no")
    assert (first.entered_count, second.entered_count, len(one.waiting)) == (0, 0, 0)


def test_a_replica_that_leaves_keeps_what_it_has_and_gets_nothing_new() -> None:
    """It is forgotten when its last request ended."""
    one = gate(seats=2)
    first = ask(1)
    one.arrive(first, 0.0)
    one.starts(0.0)
    one.leave("one")
    one.arrive(ask(2), 0.0)
    assert one.starts(0.0) == []
    one.ended(first, 1.0)
    assert "one" not in one.instances


def test_one_that_made_way_may_go_to_the_same_replica_again() -> None:
    """A replica that failed it is not preferred; one that it left for others is."""
    one = gate(seats=1)
    one.join(Instance("two", "http://two", seats=1))
    first = ask(1)
    one.arrive(first, 0.0)
    one.starts(0.0)
    home = first.instance
    one.put_back(first, 1.0, is_failed=False)
    assert [there.name for _, there in one.starts(1.0)] == [home]
    one.put_back(first, 2.0)
    assert [there.name for _, there in one.starts(2.0)] != [home]


def happens(one: Gate, running: list[Ask], what: str, which: int, number: int) -> None:
    """One step of a random course."""
    now, waiting = float(number), list(one.waiting.values())
    chosen = running[which % len(running)] if running else None
    if what == "a":
        one.arrive(ask(number, f"t{which}", deadline=now + 9 * which), now)
    elif what == "s":
        running += [asked for asked, _ in one.starts(now)]
    elif what == "x":
        one.expired(now)
    elif what == "c":
        one.change(Policies(Fcfs(), LeastOutstanding()), now)
    elif what == "l" and waiting:
        one.left(waiting[which % len(waiting)], now)
    elif what in "pef" and chosen is not None:
        went_on(one, running, chosen, what, which, now)


def went_on(one: Gate, running: list[Ask], chosen: Ask, what: str, which: int, now: float) -> None:
    """A running request gets tokens, ends or fails."""
    if what == "p":
        one.produced(chosen, which, now)
        return
    running.remove(chosen)
    one.ended(chosen, now, is_failed=what == "f")


STEPS = st.lists(st.tuples(st.sampled_from("aabsspppeeflxc"), st.integers(0, 7)), max_size=120)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 3), st.integers(1, 6))
def test_every_request_ends_once_and_sums_hold(steps: list, seats: int, most: int) -> None:
    """Whatever happens in whatever order: arrived = refused + waiting + running + ended."""
    one = gate(seats, most_waiting=most)
    running: list[Ask] = []
    for number, (what, which) in enumerate(steps):
        happens(one, running, what, which, number)
    counted, replica = one.counted, one.instances["one"]
    gone = counted.ended + counted.failed + counted.left + counted.expired
    assert counted.arrived == sum(counted.refused.values()) + len(one.waiting) + len(running) + gone
    assert list(replica.running.values()) == running
    assert replica.held_tokens == sum(each.held_tokens for each in running)
    assert replica.prompt_tokens_ahead == sum(100 for each in running if not each.has_first)
    sight = one.sight("m", 1e6)
    assert sight.waiting == len(one.waiting)
    assert sum(sight.waiting_of.values()) == len(one.waiting)
    assert len(running) <= seats


def test_a_retry_goes_to_another_replica_where_there_is_one() -> None:
    """The one that failed is asked again only when it is the only one with a place."""
    one = gate()
    first = ask(1)
    one.arrive(first, 0.0)
    one.starts(0.0)
    one.join(Instance("two", "http://two", seats=1))
    one.put_back(first, 1.0)
    assert [to.name for _, to in one.starts(1.0)] == ["two"]
    one.put_back(first, 2.0)
    one.instances["two"].mark("ejected", 2.0)
    assert [to.name for _, to in one.starts(2.0)] == ["one"]


def test_an_ejected_replica_gets_nothing_and_starts_slowly_when_it_is_back() -> None:
    """What waits goes on when it is ready again, and its ready time is then."""
    one = gate()
    one.instances["one"].mark("ejected", 1.0)
    one.arrive(ask(1), 2.0)
    assert one.starts(2.0) == []
    one.instances["one"].mark("ready", 3.0)
    assert len(one.starts(3.0)) == 1
    assert one.instances["one"].ready_since == 3.0
