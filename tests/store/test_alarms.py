"""Time limits that one thread keeps."""

from __future__ import annotations

import threading

from store.alarms import Alarms


def test_a_nearer_alarm_does_not_wait_for_a_farther_one() -> None:
    """The nearer limit rings, though one that is farther was set before it."""
    alarms, rung, done = Alarms(), [], threading.Event()
    alarms.after(60.0, lambda: rung.append("far"))
    alarms.after(0.0, lambda: (rung.append("near"), done.set()))
    assert done.wait(10)
    alarms.close()
    assert rung == ["near"]


def test_a_cancelled_alarm_stays_silent() -> None:
    """What was finished in time is not stopped later."""
    alarms, rung, done = Alarms(), [], threading.Event()
    alarms.after(0.0, lambda: rung.append("cancelled")).cancel()
    alarms.after(0.01, done.set)
    assert done.wait(10)
    alarms.close()
    assert rung == []


def test_closed_alarms_ring_no_more() -> None:
    """Closing ends the thread and drops what is left; twice is no mistake."""
    others = set(threading.enumerate())
    alarms, rung = Alarms(), []
    alarms.after(3600.0, lambda: rung.append("late"))
    alarms.close()
    alarms.close()
    alarms.after(0.0, lambda: rung.append("after"))
    assert rung == []
    started = set(threading.enumerate()) - others
    assert "query-alarms" not in {thread.name for thread in started}
