"""Reports are made by processes of their own, which are stopped when they take too much."""

from threading import Event

import pytest

from servescope.reporting import worker
from servescope.reporting.definition import read
from servescope.reporting.settings import ReportsSettings
from servescope.reporting.workshop import NotMade, Order, Workshop

ORDER = Order(read({"name": "w", "template": "weekly", "when": "daily 08:00"}), "2026-W46")
NOBODY = "http://127.0.0.1:1"


def made(tmp_path, stop=None, **settings):
    return Workshop(NOBODY, ReportsSettings(**settings))(ORDER, tmp_path, stop or Event())


def test_a_server_that_does_not_answer_is_the_reason(tmp_path):
    """In one line, as the command would say it."""
    channel = {"name": "x", "kind": "slack", "webhook": "https://h/SECRET"}
    with pytest.raises(NotMade, match="no answer"):
        made(tmp_path, channel=(channel,))
    assert "SECRET" not in (tmp_path / worker.TASK).read_text(), "it knows nothing of channels"


def test_one_that_takes_too_long_is_ended(tmp_path):
    """And says which setting it was."""
    with pytest.raises(NotMade, match=r"stopped after 0.3 s") as told:
        made(tmp_path, limit_seconds=0.3)
    assert "reports.limit_seconds" in told.value.hint


@pytest.mark.parametrize("memory_bytes", [60 << 20, 204 << 20, 300 << 20])
def test_one_that_needs_too_much_memory_is_ended(tmp_path, memory_bytes):
    """Wherever it is when there is none left; this process goes on."""
    with pytest.raises(NotMade, match=f"{memory_bytes:,} bytes of memory") as told:
        made(tmp_path, memory_bytes=memory_bytes)
    assert "reports.memory_bytes" in told.value.hint


def test_it_ends_with_the_server(tmp_path):
    """Without an outcome: the next server makes it."""
    stop = Event()
    stop.set()
    with pytest.raises(NotMade, match="the server ends"):
        made(tmp_path, stop)
