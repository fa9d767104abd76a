"""A server finds what is wrong, keeps it, tells it once, and goes on after a restart."""

from datetime import timedelta

import pytest

from analysis.alerts.rules import RULES
from servescope.alerting.intake import events_of
from store.errors import InputError
from store.queries import alerts as queries

HOOK = """
[alerts]
off = ["slo-burn-fast", "slo-burn-slow"]
[[alerts.receiver]]
name = "pager"
url = "{url}"
"""


def settings(place, listener, more=""):
    place.settings = HOOK.format(url=listener.url) + more


async def started(runtime):
    await runtime.alerting.load()
    return runtime.alerting


async def later(alerting, clock, seconds):
    """Some time passes; rules are asked, receivers told."""
    clock.advance(seconds)
    changes = await alerting.evaluate()
    await alerting.tell()
    return changes


async def test_an_outage_is_found_told_and_over(place, listener, requests):
    """From the first failure to the page in three minutes; and its end when it is over."""
    settings(place, listener)
    runtime = place.runtime()
    requests(runtime)
    alerting = await started(runtime)
    await later(alerting, place.clock, 0)
    await later(alerting, place.clock, 10)
    assert [one["status"] for one in listener.told] == ["firing"]
    told = listener.told[0]["alerts"][0]
    assert told["labels"] == {"alertname": "outage", "model": "llama", "severity": "page"}
    assert "110 of 110 requests (100 %) to llama" in told["annotations"]["summary"]
    # Told once, whatever goes on.
    await later(alerting, place.clock, 20)
    assert len(listener.told) == 1
    place.clock.advance(300)
    requests(runtime, "ok", 200)
    await later(alerting, place.clock, 0)
    await later(alerting, place.clock, 121)
    requests(runtime, "ok", 100)
    await later(alerting, place.clock, 0)
    assert [one["status"] for one in listener.told] == ["firing", "resolved"]
    assert listener.told[1]["alerts"][0]["fingerprint"] == told["fingerprint"]
    place.clock.advance(10)
    view = runtime.view("alerts", {})
    assert view.frames["active"].is_empty()
    assert view.frames["history"]["state"].to_list() == ["resolved", "firing"]
    await alerting.aclose()


async def test_silence_of_all_requests_resolves_nothing(place, listener, requests):
    """After the outage nobody asks any more: that is no recovery."""
    settings(place, listener)
    runtime = place.runtime()
    requests(runtime)
    alerting = await started(runtime)
    await later(alerting, place.clock, 0)
    for _ in range(5):
        assert not await later(alerting, place.clock, 1000)
    assert [one.state for one in alerting.book.held.values()] == ["firing"]
    await alerting.aclose()


async def test_a_restart_loses_nothing_and_tells_nobody_twice(place, listener, requests):
    """What was told is known after a restart; what was not is told."""
    settings(place, listener)
    runtime = place.runtime()
    requests(runtime)
    alerting = await started(runtime)
    await later(alerting, place.clock, 0)
    await alerting.aclose()
    # Killed before anybody was told.
    alerting = await started(place.runtime())
    await alerting.tell()
    assert not listener.told  # the rules are asked first
    await later(alerting, place.clock, 20)
    assert len(listener.told) == 1
    await alerting.aclose()
    # And once more, after it was.
    alerting = await started(place.runtime())
    await later(alerting, place.clock, 20)
    await later(alerting, place.clock, 600)
    assert len(listener.told) == 1
    rows, _ = queries.history(place.runtime().database.reader, *span(place.clock))
    assert rows["state"].to_list() == ["firing"]
    await alerting.aclose()


def span(clock):
    now = clock.now().replace(tzinfo=None)
    return now - timedelta(days=1), now + timedelta(days=1)


async def test_a_receiver_that_is_away_is_told_when_it_is_back(place, listener, requests):
    """Tried again; the failure is shown, counted and kept, and no other receiver waits."""
    second = '[[alerts.receiver]]\nname = "dead"\nurl = "http://127.0.0.1:1/x"\n'
    settings(place, listener, second)
    listener.status = 500
    runtime = place.runtime()
    requests(runtime)
    alerting = await started(runtime)
    await later(alerting, place.clock, 0)
    await later(alerting, place.clock, 10)
    stands = {one["receiver"]: one for one in alerting.receivers()}
    assert "answered 500" in stands["pager"]["problem"]
    assert "dead" in stands
    listener.status = 200
    await later(alerting, place.clock, 6)
    assert len(listener.told) == 1
    stands = {one["receiver"]: one for one in alerting.receivers()}
    assert (stands["pager"]["sent"], stands["pager"]["failed"]) == (1, 1)
    assert stands["dead"]["failed"] == 2
    assert stands["pager"]["problem"] is None
    place.clock.advance(10)
    rows = runtime.view("alerts", {}).frames["notifications"]
    pager = rows.filter(rows["receiver"] == "pager")
    assert pager["outcome"].to_list() == ["sent", "failed"]
    await alerting.aclose()


async def test_a_silence_keeps_quiet_and_its_end_tells(place, listener, requests):
    """The alert goes on below it, and says who silenced it."""
    from analysis.alerts.matchers import parse_matcher

    settings(place, listener)
    runtime = place.runtime()
    requests(runtime)
    alerting = await started(runtime)
    until = place.clock.now() + timedelta(hours=1)
    made = alerting.silence([parse_matcher("model=llama")], None, until, "ana", "roll-out")
    await later(alerting, place.clock, 0)
    await later(alerting, place.clock, 60)
    assert not listener.told
    view = runtime.view("alerts", {})
    assert "by ana: roll-out" in view.frames["active"]["why_quiet"][0]
    assert view.measures["quiet"].value == 1
    assert view.measures["firing"].value == 0
    # It holds after a restart, too.
    await alerting.aclose()
    runtime = place.runtime()
    alerting = await started(runtime)
    await later(alerting, place.clock, 60)
    assert not listener.told
    alerting.unsilence(made.silence_id, "ben")
    await later(alerting, place.clock, 5)
    assert len(listener.told) == 1
    with pytest.raises(InputError, match="no silence"):
        alerting.unsilence(made.silence_id, "ben")
    await alerting.aclose()


async def test_a_rule_that_fails_is_told_and_the_others_go_on(place, listener, monkeypatch):
    """Unknown, counted by rule, shown with its error."""
    from analysis.alerts import rules_own

    def broken(watch):
        raise RuntimeError("no such table")

    monkeypatch.setattr(rules_own, "job_failing", broken)
    runtime = place.runtime()
    alerting = await started(runtime)
    await alerting.evaluate()
    assert alerting.asking.failing == {"job-failing": "RuntimeError: no such table"}
    assert alerting.asking.failures["job-failing"] == 1
    await alerting.aclose()


async def test_all_rules_can_be_asked_of_an_empty_store(place):
    """Nothing is known, nothing fires, nothing fails."""
    runtime = place.runtime()
    alerting = await started(runtime)
    assert not await alerting.evaluate()
    assert alerting.asking.failing == {}
    assert {one.rule.name for one in alerting.settings.chosen()} == set(RULES)


async def test_secrets_are_read_from_files_and_shown_nowhere(place, listener, requests, tmp_path):
    """A bearer token goes out in its header; the receiver's document has no address."""
    (tmp_path / "token").write_text("s3cret\n", "utf-8")
    (tmp_path / "url").write_text(listener.url, "utf-8")
    place.settings = f"""
[[alerts.receiver]]
name = "pager"
url_file = "{tmp_path / "url"}"
bearer_token_file = "{tmp_path / "token"}"
"""
    runtime = place.runtime()
    alerting = await started(runtime)
    assert (await alerting.test("pager"))["ok"]
    assert listener.heads[0]["Authorization"] == "Bearer s3cret"
    assert listener.told[0]["alerts"][0]["labels"]["alertname"] == "test"
    assert "s3cret" not in str(alerting.receivers())
    with pytest.raises(InputError, match="no receiver is called"):
        await alerting.test("nobody")
    await alerting.aclose()


async def test_more_than_may_be_held_is_counted(place, requests):
    """The first stay."""
    place.settings = "[alerts]\nmost_open = 1\n"
    runtime = place.runtime()
    requests(runtime, model="a")
    requests(runtime, model="b")
    alerting = await started(runtime)
    await alerting.evaluate()
    assert len(alerting.book.held) == 1
    assert alerting.book.left_out >= 1
    await alerting.aclose()


def test_alerts_of_others_become_events_and_nothing_is_taken_of_nonsense():
    """Version 4 only; a beginning and an end are two events of one start."""
    alert = {
        "status": "firing", "labels": {"alertname": "HighLoad", "severity": "warning"},
        "annotations": {"summary": "load is high"}, "startsAt": "2026-03-01T11:00:00.5Z",
        "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "abc", "generatorURL": "http://p",
    }  # fmt: skip
    over = {**alert, "status": "resolved", "endsAt": "2026-03-01T13:10:00+02:00"}
    events = events_of({"version": "4", "alerts": [alert, over]})
    assert events["ended_at"].null_count() == 1
    assert events["event_id"].n_unique() == 2
    assert events["ended_at"].max().hour == 11
    for wrong in (
        [], {"version": "3", "alerts": []}, {"version": "4", "alerts": {}},
        {"version": "4", "alerts": [{**alert, "status": "odd"}]},
        {"version": "4", "alerts": [{**alert, "startsAt": "soon"}]},
        {"version": "4", "alerts": [{**over, "endsAt": "0001-01-01T00:00:00Z"}]},
        {"version": "4", "alerts": [{**alert, "labels": 5}]},
    ):  # fmt: skip
        with pytest.raises(InputError):
            events_of(wrong)
