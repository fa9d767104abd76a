"""Silences that are made here and in an Alertmanager; a double that answers as a real one does.

The real one is asked in tests/end_to_end/test_alertmanager.py.
"""

import json
import uuid
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from analysis.alerts.matchers import parse_matcher

SETTINGS = """
[[alerts.receiver]]
name = "am"
kind = "alertmanager"
url = "{url}"
"""


class Manager:
    """Keeps silences as Alertmanager's API shows them; refuses those whose comment says so."""

    def __init__(self):
        self.silences, self.posted = {}, 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(200, list(owner.silences.values()))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/api/v2/alerts":
                    return self.answer(200, {})
                owner.posted += 1
                if "refuse" in body["comment"]:
                    return self.answer(400, "bad matcher")
                return self.answer(200, {"silenceID": owner.add(body)})

            def do_DELETE(self):
                owner.end(self.path.rpartition("/")[2])
                self.answer(200, {})

            def answer(self, status, document):
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def add(self, body):
        name = str(uuid.uuid4())
        self.silences[name] = {**body, "id": name, "status": {"state": "active"}}
        return name

    def end(self, name):
        self.silences[name]["status"]["state"] = "expired"

    def active(self):
        return [one for one in self.silences.values() if one["status"]["state"] == "active"]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def manager():
    made = Manager()
    yield made
    made.close()


@pytest.fixture
def server(place, manager):
    """Gives the alerts of a server over the same store; again after a restart."""
    place.settings = SETTINGS.format(url=manager.url)

    async def started():
        alerting = place.runtime().alerting
        await alerting.load()
        await later(alerting, place)
        return alerting

    return started


async def later(alerting, place, seconds=61):
    place.clock.advance(seconds)
    await alerting.evaluate()
    await alerting.tell()


def silenced(alerting, place, comment="roll-out"):
    until = place.clock.now() + timedelta(hours=1)
    return alerting.silence([parse_matcher("model=llama")], None, until, "ana", comment)


async def test_a_silence_is_written_there_at_once_for_our_alerts_only(server, place, manager):
    """Once, however often they talk; nobody else's alerts fall silent."""
    alerting = await server()
    made = silenced(alerting, place)
    for seconds in (1, 61, 61):
        await later(alerting, place, seconds)
    (one,) = manager.active()
    assert manager.posted == 1
    assert one["comment"] == f"roll-out [servescope {made.silence_id}]"
    by_name = {matcher["name"]: matcher for matcher in one["matchers"]}
    assert by_name["alertname"]["isRegex"]
    assert "outage" in by_name["alertname"]["value"].split("|")
    assert list(alerting.book.silences) == [made.silence_id]  # not taken in as one of theirs
    await alerting.aclose()


async def test_what_was_ended_before_a_kill_is_ended_there_after_it(server, place, manager):
    """Neither forgotten nor taken for somebody else's."""
    alerting = await server()
    made = silenced(alerting, place)
    await later(alerting, place)
    alerting.unsilence(made.silence_id, "ben")
    await alerting.aclose()
    again = await server()
    assert manager.active() == []
    assert [one.ends_at > place.clock.now() for one in again.book.silences.values()] == [False]
    await again.aclose()


async def test_ended_there_it_ends_here(server, place, manager):
    """And is not written again."""
    alerting = await server()
    made = silenced(alerting, place)
    await later(alerting, place)
    manager.end(manager.active()[0]["id"])
    await later(alerting, place)
    await later(alerting, place)
    assert alerting.book.silences[made.silence_id].ends_at <= place.clock.now()
    assert (manager.active(), manager.posted) == ([], 1)
    await alerting.aclose()


async def test_that_of_another_servescope_is_somebody_elses(server, place, manager):
    """Its mark is not ours: it holds here and is left alone."""
    now = place.clock.now()
    other = {
        "matchers": [{"name": "model", "value": "x", "isRegex": False, "isEqual": True}],
        "startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=2)).isoformat(),
        "createdBy": "eve", "comment": f"theirs [servescope {uuid.uuid4()}]",
    }  # fmt: skip
    name = manager.add(other)
    alerting = await server()
    assert alerting.book.silences[name].origin == "am"
    assert len(manager.active()) == 1
    await alerting.aclose()


async def test_one_that_is_refused_is_said_and_holds_nothing_up(server, place, manager):
    """The other is written, alerts count as told, and the problem is shown until it is over."""
    alerting = await server()
    bad = silenced(alerting, place, "refuse me")
    silenced(alerting, place)
    await later(alerting, place)
    assert [one["comment"].partition(" [")[0] for one in manager.active()] == ["roll-out"]
    (stand,) = alerting.receivers()
    assert "its silences: answered 400" in stand["problem"]
    assert stand["failed"] == 0
    alerting.unsilence(bad.silence_id, "ana")
    await later(alerting, place)
    assert alerting.receivers()[0]["problem"] is None
    await alerting.aclose()
