"""Time limits that one thread keeps."""

from __future__ import annotations

import threading

from store.alarms import Alarms


def test_alarms_ring_in_order_of_their_time() -> None:
    """The nearer limit rings first, whichever was set first."""
    alarms, rung, done = Alarms(), [], threading.Event()
    alarms.after(0.03, lambda: (rung.append("far"), done.set()))
    alarms.after(0.0, lambda: rung.append("near"))
    assert done.wait(10)
    alarms.close()
    assert rung == ["near", "far"]


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
