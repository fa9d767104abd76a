"""What doors do not take is counted, bounded and handed over once."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from collector.drops import MOST_CHARACTERS, OTHER, Drop, Drops


def test_counts_of_one_reason_come_together_and_are_handed_over_once():
    """Two additions, one count; the second taking finds nothing, the total stays."""
    drops = Drops()
    drops.add("otlp", "no trace id", 2, "span GET /")
    drops.add("otlp", "no trace id", 3, "another")
    drops.add("remote_write", "no name")
    assert drops.take() == [
        Drop("otlp", "no trace id", 5, "span GET /"),
        Drop("remote_write", "no name", 1),
    ]
    assert drops.take() == []
    assert drops.totals() == {("otlp", "no trace id"): 5, ("remote_write", "no name"): 1}


def test_what_could_not_be_kept_is_handed_over_again():
    """A failed store loses no count, and nothing is counted twice in the totals."""
    drops = Drops()
    drops.add("scrape", "bad line", 4)
    taken = drops.take()
    drops.add("scrape", "bad line", 1)
    drops.put_back(taken)
    assert drops.take() == [Drop("scrape", "bad line", 5)]
    assert drops.totals() == {("scrape", "bad line"): 5}


def test_nothing_is_no_drop():
    """A count of zero or less leaves no trace."""
    drops = Drops()
    drops.add("otlp", "nothing", 0)
    drops.add("otlp", "nothing", -3)
    assert drops.take() == []
    assert drops.totals() == {}


@given(st.lists(st.tuples(st.text(max_size=4), st.text(), st.integers(1, 9), st.text())))
def test_memory_is_bounded_and_no_count_is_lost(added):
    """However many reasons come, few are told apart and the sum is right."""
    drops = Drops(most_reasons=3)
    for told in added:
        drops.add(*told)
    taken = drops.take()
    assert sum(drop.count for drop in taken) == sum(count for _, _, count, _ in added)
    doors = {door for door, *_ in added}
    assert len([drop for drop in taken if drop.reason != OTHER]) <= 3
    assert len(taken) <= 3 + len(doors)
    for drop in taken:
        assert len(drop.example) <= MOST_CHARACTERS
        assert drop.example.isprintable() or not drop.example
        drop.example.encode()


def test_many_threads_may_add():
    """No addition gets lost between threads."""
    drops = Drops()
    threads = [
        threading.Thread(target=lambda: [drops.add("otlp", "x") for _ in range(1_000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drops.totals() == {("otlp", "x"): 4_000}
