"""Who is told of what, and when; nobody twice of the same."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from analysis.alerts.grouping import Sent, Timing, key_of, key_text
from analysis.alerts.inhibition import inhibited
from analysis.alerts.message import NEVER, Places, webhook
from analysis.alerts.model import Alert, Link, all_labels, fingerprint
from servescope.alerting.outbox import Outbox, wait_after

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIMING = Timing(10.0, 60.0, 3600.0)


def alert(rule="outage", severity="page", *, state="firing", at=NOW, fired=NOW, **about):
    labels = all_labels(rule, severity, about)
    return Alert(
        fingerprint(labels), rule, severity, labels, state, at, fired, fired, f"{rule} says", 1.0,
        Link("slo/chat", {"source": "live"}, 3600),
    )  # fmt: skip


def outbox(**more):
    return Outbox("pager", (), ("alertname",), replace(TIMING, **more))


class Receiver:
    """One whose deliveries succeed."""

    def __init__(self, box):
        self.box, self.sent, self.told = box, {}, []

    def look(self, alerts, now, ended=(), muted=()):
        held = {one.fingerprint: one for one in alerts}
        over = {one.episode: one for one in ended}
        due = self.box.due(held, over, dict.fromkeys(muted, "x"), self.sent, now)
        for notice in due:
            self.box.done(notice.key, now)
            self.sent["pager", key_text(notice.key)] = Sent(now, notice.known)
            self.told.append((len(notice.firing), len(notice.resolved)))
        return due


def seconds(number):
    return NOW + timedelta(seconds=number)


def test_what_comes_together_goes_together():
    """A new group waits; what joins it meanwhile is in the same message."""
    one, two = alert(model="a"), alert(model="b", at=seconds(5), fired=seconds(5))
    receiver = Receiver(outbox())
    assert not receiver.look([one], NOW)
    assert not receiver.look([one, two], seconds(5))
    assert receiver.look([one, two], seconds(10))
    assert receiver.told == [(2, 0)]


def test_news_of_a_group_wait_for_its_interval_and_repeats_for_theirs():
    """Told once, then news after a minute at the soonest, then again after an hour."""
    one, two = alert(model="a"), alert(model="b", fired=seconds(12))
    receiver = Receiver(outbox())
    receiver.look([one], seconds(10))
    assert not receiver.look([one, two], seconds(15))
    assert receiver.look([one, two], seconds(70))
    assert not receiver.look([one, two], seconds(140))
    assert receiver.look([one, two], seconds(70 + 3600))
    assert receiver.told == [(1, 0), (2, 0), (2, 0)]


def test_the_end_is_told_to_whom_the_beginning_was():
    """Resolved once; and never of what it did not hear of."""
    one = alert(model="a")
    over = replace(one, state="resolved", changed_at=seconds(100))
    receiver = Receiver(outbox())
    receiver.look([one], seconds(10))
    assert receiver.look([], seconds(100), ended=[over])
    assert not receiver.look([], seconds(400), ended=[over])
    assert receiver.told == [(1, 0), (0, 1)]
    deaf = Receiver(outbox())
    assert not deaf.look([], seconds(100), ended=[over])


def test_a_new_firing_of_the_same_alert_is_news():
    """It was over and fires again: an episode of its own."""
    one = alert(model="a")
    again = replace(one, fired_at=seconds(500), changed_at=seconds(500))
    over = replace(one, state="resolved", changed_at=seconds(300))
    receiver = Receiver(outbox())
    receiver.look([one], seconds(10))
    receiver.look([again], seconds(600), ended=[over])
    assert receiver.told == [(1, 0), (1, 1)]


def test_what_is_silenced_is_told_when_the_silence_ends():
    """Nothing while it holds, then once; and one that was told goes on to be known."""
    one, two = alert(model="a"), alert(model="b")
    receiver = Receiver(outbox())
    assert not receiver.look([one], seconds(10), muted=[one.fingerprint])
    assert receiver.look([one], seconds(20))
    assert not receiver.look([one], seconds(100), muted=[one.fingerprint])
    # Another of the group while the first is silenced: only the other is in the message.
    receiver.look([one, two], seconds(200), muted=[one.fingerprint])
    assert receiver.told == [(1, 0), (1, 0)]
    assert not receiver.look([one, two], seconds(400))


def test_who_fails_is_asked_again_later_and_hears_how_it_stands_then():
    """5 s, 10 s, … at most five minutes."""
    box, one = outbox(), alert(model="a")
    held = {one.fingerprint: one}
    due = box.due(held, {}, {}, {}, seconds(10))
    assert box.failed(due[0].key, seconds(10)) == 1
    assert not box.due(held, {}, {}, {}, seconds(14))
    assert box.due(held, {}, {}, {}, seconds(15))
    waits = [wait_after(number).total_seconds() for number in range(1, 12)]
    assert waits[:4] == [5, 10, 20, 40]
    assert max(waits) == 300


def test_what_is_over_while_a_receiver_is_away_is_not_told():
    """It never heard of it."""
    box, one = outbox(), alert(model="a")
    due = box.due({one.fingerprint: one}, {}, {}, {}, seconds(10))
    box.failed(due[0].key, seconds(10))
    over = replace(one, state="resolved", changed_at=seconds(12))
    assert not box.due({}, {over.episode: over}, {}, {}, seconds(20))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40), st.integers(0, 39))
def test_a_restart_tells_nobody_twice(flips, at):
    """Alerts go on and off; the receiver's beliefs survive a restart, its groups do not."""
    receiver, held, ended, heard = Receiver(outbox()), {}, {}, []
    for number, (name, fires) in enumerate(flips):
        now = seconds(120 * number)
        if number == at:
            receiver.box = outbox()  # all that is not in the store is lost
        if fires and name not in held:
            held[name] = alert(model=name, at=now, fired=now)
        elif not fires and name in held:
            one = replace(held.pop(name), state="resolved", changed_at=now)
            ended[one.episode] = one
        for later in (now + timedelta(seconds=20), now + timedelta(seconds=100)):
            for notice in receiver.look(list(held.values()), later, ended.values()):
                heard += [("firing", one.episode) for one in notice.firing]
                heard += [("over", one.episode) for one in notice.resolved]
    over = [name for kind, name in heard if kind == "over"]
    assert len(over) == len(set(over))
    believed = frozenset().union(*(sent.firing for sent in receiver.sent.values()), ())
    assert believed == {one.episode for one in held.values()}


def test_an_outage_explains_the_tickets_it_makes():
    """Of its model; not those of another, and never a page."""
    out = alert(model="a")
    slow = alert("slo-burn-slow", "ticket", slo="x", model="a")
    other = alert("slo-burn-slow", "ticket", slo="y", model="b")
    everybody = alert("slo-burn-slow", "ticket", slo="z")
    fast = alert("slo-burn-fast", "page", slo="x", model="a")
    pending = replace(out, state="pending")
    found = inhibited([out, slow, other, everybody, fast])
    assert set(found) == {slow.fingerprint, everybody.fingerprint}
    assert not inhibited([pending, slow])


def test_a_message_has_the_shape_of_alertmanagers_webhook():
    """Every field, the common ones alike in all, the rest counted."""
    one = alert(model="a")
    two = replace(alert(model="b"), state="resolved", changed_at=seconds(60))
    receiver = Receiver(outbox())
    receiver.look([one, replace(two, state="firing", changed_at=NOW)], seconds(10))
    notice = receiver.look([one], seconds(100), ended=[two])[0]
    places = Places("https://s.example", "https://r.example/runbooks/")
    message = webhook(notice, "pager", places, seconds(100), most=1)
    assert message["truncatedAlerts"] == 1
    whole = webhook(notice, "pager", places, seconds(100), most=10)
    assert whole["version"] == "4"
    assert whole["status"] == "firing"
    assert whole["groupLabels"] == {"alertname": "outage"}
    assert whole["commonLabels"] == {"alertname": "outage", "severity": "page"}
    first, last = whole["alerts"]
    assert (first["status"], first["endsAt"]) == ("firing", NEVER)
    assert (last["status"], last["endsAt"]) == ("resolved", "2026-03-01T12:01:00.000Z")
    assert first["annotations"]["runbook_url"] == "https://r.example/runbooks/outage.md"
    assert first["generatorURL"] == (
        "https://s.example/ui/slo/chat?source=live"
        "&from=2026-03-01T11:00:00Z&to=2026-03-01T12:01:40Z"
    )


def test_groups_are_named_as_alertmanager_names_them():
    """`...` puts each alert in its own."""
    labels = {"alertname": "outage", "model": "a"}
    assert key_text(key_of(labels, ("alertname",))) == '{}:{alertname="outage"}'
    assert key_of(labels, ("...",)) == (("alertname", "outage"), ("model", "a"))
