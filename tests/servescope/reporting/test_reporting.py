"""Scheduled reports: once a period, whatever happens to the server, and with an outcome."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest

from servescope.reporting.channels.base import Answer
from store.errors import ConfigError, InputError
from store.queries import reports as queries


class Receiver:
    """A channel that answers what it was told to answer."""

    kind = "webhook"

    def __init__(self, *answers, name="room"):
        self.name, self.answers, self.got = name, list(answers), []

    def place(self):
        return "nowhere"

    def send(self, parcel):
        self.got.append(parcel)
        answer = self.answers.pop(0) if self.answers else "acknowledged"
        return answer if isinstance(answer, Answer) else Answer(answer, answer)


ROOM = {"name": "room", "kind": "webhook", "webhook": "http://127.0.0.1:1/x"}


def states(reporting):
    rows = queries.runs(reporting.database.reader).sort("asked_at").to_dicts()
    return [(row["period"], row["state"], row["cause"]) for row in rows]


def newest(reporting):
    return queries.runs(reporting.database.reader).to_dicts()[0]


def test_a_year_of_weeks_gives_one_report_a_week(bureau, weekly):
    """A virtual clock over a year with both changes of clocks: every week once, none twice."""
    with bureau.open([weekly]) as reporting:
        for _ in range(53):
            for hours in (2, 1, 24, 7 * 24 - 27):  # at both ends of the hour that clocks move
                bureau.clock.advance(hours * 3600)
                reporting.turn()
        weeks = [period for _, period in bureau.press.orders]
    assert len(weeks) == len(set(weeks)) == 53
    assert weeks == sorted(weeks)


def test_what_is_new_is_not_due_for_what_was_before_it(bureau, weekly):
    """A schedule added at 09:00 on Monday waits for the next Monday."""
    bureau.clock.advance(3 * 3600)
    with bureau.open([weekly]) as reporting:
        reporting.turn()
        assert bureau.press.orders == []


def test_a_missed_period_is_made_once_and_only_the_newest(bureau, weekly):
    """Three weeks without a server: the last of them is made, late, and says so."""
    with bureau.open([weekly]) as reporting:
        reporting.turn()
    bureau.clock.advance(24 * 86_400)
    for _ in range(2):
        with bureau.open([weekly]) as reporting:
            reporting.turn()
            reporting.turn()
            assert states(reporting) == [("2026-W49", "made", "late")]
            text = newest(reporting)["text"]
    assert bureau.press.orders == [("weekly", "2026-W49")]
    assert "late: it was due at 2026-12-07 07:00 UTC; 3 older periods left out" in text


def test_a_period_is_never_claimed_twice(bureau, weekly):
    """Not by a schedule that comes more often than its period, either."""
    with bureau.open([{**weekly, "when": "hourly"}]) as reporting:
        for _ in range(48):
            bureau.clock.advance(3600)
            reporting.turn()
        assert bureau.press.orders == [("weekly", "2026-W46")]


def test_a_process_that_ends_while_it_makes_makes_it_again(bureau, weekly):
    """And the run is the same one."""
    with bureau.open([weekly]) as reporting:
        bureau.clock.advance(3700)
        reporting.maker = lambda *order: (_ for _ in ()).throw(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            reporting.turn()
        assert states(reporting) == [("2026-W46", "making", "due")]
    with bureau.open([weekly]) as reporting:
        reporting.turn()
        assert states(reporting) == [("2026-W46", "made", "due")]


def test_only_what_was_not_acknowledged_is_sent_again(bureau, weekly):
    """A crash between two channels: the second one gets it, the first one not twice."""
    rooms = [{**ROOM, "name": "a"}, {**ROOM, "name": "b"}]
    first, second = Receiver(name="a"), Receiver(name="b")
    schedule = {**weekly, "channels": ["a", "b"]}
    with bureau.open([schedule], rooms) as reporting:
        bureau.clock.advance(3700)
        crash = Receiver(name="b")
        crash.send = lambda parcel: (_ for _ in ()).throw(KeyboardInterrupt)
        reporting.channels.update(a=first, b=crash)
        with pytest.raises(KeyboardInterrupt):
            reporting.turn()
    with bureau.open([schedule], rooms) as reporting:
        reporting.channels.update(a=first, b=second)
        reporting.turn()
        reporting.turn()
        assert newest(reporting)["text"] == "sent, 4 charts, 17 B"
    assert (len(first.got), len(second.got)) == (1, 1)
    assert len(bureau.press.orders) == 1
    assert first.got[0].key == "weekly.2026-W46.1/a"


def test_a_channel_is_asked_again_with_growing_pauses_and_then_given_up(bureau, weekly):
    """Three more times; the run has failed, and an event says so for alerts."""
    room = Receiver(*["failed"] * 9)
    with bureau.open([{**weekly, "channels": ["room"]}], [ROOM]) as reporting:
        reporting.channels["room"] = room
        bureau.clock.advance(3700)
        pauses = []
        for wait in (0, 9, 1, 19, 1, 39, 1, 79, 1):
            bureau.clock.advance(wait)
            before = len(room.got)
            reporting.turn()
            if len(room.got) > before:
                pauses.append(bureau.clock.monotonic())
        assert [round(b - a) for a, b in pairwise(pauses)] == [10, 20, 40]
        assert newest(reporting)["state"] == "failed"
        assert "room: failed (4 attempts)" in newest(reporting)["text"]
        events = reporting.database.reader.frame("SELECT kind, subject, text FROM event").to_dicts()
    assert events == [{
        "kind": "report_failed", "subject": "weekly",
        "text": "report weekly for 2026-W46 failed: room: failed (4 attempts)",
    }]  # fmt: skip


def test_retry_after_is_heard_within_reason(bureau, weekly):
    """Longer than our own pause counts; longer than is allowed does not."""
    room = Receiver(Answer("failed", "busy", 120.0), Answer("failed", "busy", 1e9))
    with bureau.open([{**weekly, "channels": ["room"]}], [ROOM]) as reporting:
        reporting.channels["room"] = room
        bureau.clock.advance(3700)
        for wait, expected in ((0, 1), (119, 1), (1, 2), (899, 2), (1, 3)):
            bureau.clock.advance(wait)
            reporting.turn()
            assert len(room.got) == expected
        assert newest(reporting)["state"] == "sent"


def test_a_refusal_for_good_is_not_asked_again(bureau, weekly):
    """Such as a webhook that was deleted; the other channel has it."""
    rooms = [{**ROOM, "name": "a"}, {**ROOM, "name": "b"}]
    with bureau.open([{**weekly, "channels": ["a", "b"]}], rooms) as reporting:
        gone = Receiver(Answer("refused", "HTTP 410"), name="a")
        reporting.channels.update(a=gone, b=Receiver(name="b"))
        bureau.clock.advance(3700)
        reporting.turn()
        reporting.turn()
        told = newest(reporting)["text"]
    assert told == "failed: a: HTTP 410 (one attempt); 1 of 2 channels have it"
    assert len(gone.got) == 1


def test_nothing_to_say_is_skipped_and_said_so(bureau, weekly):
    """An empty report is not sent; it is no failure."""
    room = Receiver()
    bureau.press.skips = "no section has anything to say"
    with bureau.open([{**weekly, "channels": ["room"]}], [ROOM]) as reporting:
        reporting.channels["room"] = room
        bureau.clock.advance(3700)
        reporting.turn()
        assert newest(reporting)["text"] == "skipped: no section has anything to say"
        assert reporting.database.reader.scalar("SELECT count(*) FROM event") == 0
    assert room.got == []


def test_what_cannot_be_made_has_failed_with_the_reason(bureau, weekly):
    """And is not tried for ever."""
    bureau.press.problem = "it was stopped after 120 s"
    with bureau.open([weekly]) as reporting:
        bureau.clock.advance(3700)
        reporting.turn()
        reporting.turn()
        assert newest(reporting)["text"] == "failed: it was stopped after 120 s"
        assert states(reporting) == [("2026-W46", "failed", "due")]


def test_the_file_wins_over_what_was_added(bureau, weekly):
    """Of the same name; the one that was added is back once the file has none."""
    added = {**weekly, "template": "daily"}
    with bureau.open() as reporting:
        reporting.book.add(added, "ann", may_replace=False)
    with bureau.open([weekly]) as reporting:
        one = reporting.book.one("weekly")
        assert (one.place, one.definition.template) == ("file", "weekly")
        with pytest.raises(InputError, match=r"servescope\.toml"):
            reporting.book.add(added, "ann", may_replace=True)
        with pytest.raises(InputError, match=r"servescope\.toml"):
            reporting.book.remove("weekly", "ann")
        rows = queries.schedules(reporting.database.reader).to_dicts()
        assert [row["is_twice"] for row in rows] == [True]
    with bureau.open() as reporting:
        assert reporting.book.one("weekly").definition.template == "daily"


def test_one_that_rests_is_not_made_up_for(bureau, weekly):
    """What it missed while it was disabled stays away; the next one comes."""
    with bureau.open([weekly]) as reporting:
        reporting.book.switch("weekly", "ann", on=False)
        assert reporting.book.one("weekly").why_off == "disabled by ann"
        bureau.clock.advance(86_400)
        reporting.turn()
        reporting.book.switch("weekly", "ann", on=True)
        reporting.turn()
        assert bureau.press.orders == []
        bureau.clock.advance(7 * 86_400)
        reporting.turn()
        assert bureau.press.orders == [("weekly", "2026-W47")]


def test_what_was_removed_and_added_again_is_new(bureau, weekly):
    """It works, although the old one was disabled, and is due from now on."""
    with bureau.open() as reporting:
        book = reporting.book
        book.add(weekly, "ann", may_replace=False)
        book.switch("weekly", "ann", on=False)
        book.remove("weekly", "ann")
        with pytest.raises(InputError, match="no report schedule"):
            book.one("weekly")
        bureau.clock.advance(86_400)
        assert book.add(weekly, "bo", may_replace=False).is_on
        reporting.turn()
        assert bureau.press.orders == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "No Name"}, "cannot name"),
        ({"template": "weekli"}, "no report template"),
        ({"template": "incident"}, "never due"),
        ({"when": "now and then"}, "is no schedule"),
        ({"zone": "Berlin"}, "time zone"),
        ({"formats": ["docx"]}, "docx"),
        ({"channels": ["nowhere"]}, "no channel 'nowhere'"),
        ({"recipients": ["a@example.org"]}, "kind email"),
        ({"scope": {"from": "now-7d"}}, "scope has no from"),
        ({"wen": "daily 08:00"}, "no setting wen"),
        ({"enabled": "no"}, "true or false"),
    ],
)
def test_a_schedule_with_a_mistake_is_refused_before_anything_starts(bureau, weekly, change, said):
    """With the name of the schedule."""
    opened = bureau.open([{**weekly, **change}])
    with pytest.raises(ConfigError, match=said) as told, opened:
        pass
    assert change.get("name") or "weekly" in str(told.value)


def test_files_are_kept_up_to_a_count(bureau, weekly):
    """The newest; and their rows stay."""
    with bureau.open([weekly], most_kept=2) as reporting:
        for _ in range(4):
            bureau.clock.advance(7 * 86_400)
            reporting.turn()
        assert reporting.forget() == {"runs": 0, "folders": 2}
        kept = [reporting.shelf.manifest(run["run_id"]) is not None
                for run in queries.runs(reporting.database.reader).to_dicts()]  # fmt: skip
    assert sorted(kept) == [False, False, True, True]


def test_old_runs_are_forgotten_but_not_the_claim_of_the_newest_period(bureau, weekly):
    """Otherwise that period would be made again."""
    with bureau.open([weekly], retention_days=30) as reporting:
        for _ in range(3):
            bureau.clock.advance(7 * 86_400)
            reporting.turn()
        reporting.book.switch("weekly", "ann", on=False)
        bureau.clock.advance(100 * 86_400)
        assert reporting.forget()["runs"] == 2
        assert [row[0] for row in states(reporting)] == ["2026-W48"]


def test_the_alert_lasts_until_a_report_is_sent_again(bureau, weekly):
    """One reading a schedule; what was removed is nobody's alert."""
    from analysis.alerts.rules_own import report_failed

    def readings(reporting):
        watch = SimpleNamespace(reader=reporting.database.reader)
        return [(one.labels, one.active, one.summary) for one in report_failed(watch)]

    with bureau.open() as reporting:
        reporting.book.add(weekly, "ann", may_replace=False)
        assert readings(reporting) == []
        bureau.press.problem = "it was stopped after 120 s"
        bureau.clock.advance(3700)
        reporting.turn()
        ((labels, active, text),) = readings(reporting)
        assert (labels, active) == ({"schedule": "weekly"}, True)
        assert text == "Report weekly for 2026-W46 failed: it was stopped after 120 s"
        bureau.press.problem = None
        bureau.clock.advance(7 * 86_400)
        reporting.turn()
        assert [one[1] for one in readings(reporting)] == [False]
        reporting.book.remove("weekly", "ann")
        assert readings(reporting) == []


def test_the_view_says_what_is_next_and_what_became_of_the_last(bureau, weekly):
    """As page, API and command show it."""
    from analysis.views import compute
    from store.queries.scope import Scope

    scope = Scope((1,), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    with bureau.open([weekly]) as reporting:
        bureau.clock.advance(3700)
        reporting.turn()
        view = compute("reports", reporting.database.reader, scope, clock=bureau.clock)
    row = view.frames["schedules"].to_dicts()[0]
    assert row["next_at"] == datetime(2026, 11, 23, 7, 0)
    assert (row["last_state"], row["last_period"]) == ("made", "2026-W46")
    assert row["last_result"] == "made, 4 charts, 17 B"
    assert row["last_at"] - datetime(2026, 11, 16, 7, 0) < timedelta(minutes=5)
