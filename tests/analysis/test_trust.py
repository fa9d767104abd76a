"""What may be acted on: the grade of the target stands above that of the signal, and grows old."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analysis.trust import called, trust, usable
from store.clock import VirtualClock
from store.database import Database
from store.queries import trust as trust_queries
from store.queries.scope import Scope
from store.settings import StoreSettings
from store.targets import describe, register

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUNNING = "requests_running"


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as opened:
        yield opened


def seconds(number):
    return (NOW + timedelta(seconds=number)).replace(tzinfo=None)


def grade(database, *rows, url="http://gpu-1:8000/metrics", scraped=(-10, -5, 0)):
    """A target with grades (signal, grade, seconds from NOW) and scrapes."""
    target_id = register(database.writer, url, NOW - timedelta(days=1)).result()
    describe(database.writer, target_id, engine="vllm", model="m").result()
    if rows:
        frame = pl.DataFrame(
            {
                "target_id": [target_id] * len(rows),
                "signal": [row[0] for row in rows],
                "graded_at": [seconds(row[2]) for row in rows],
                "grade": [row[1] for row in rows],
                "evidence": [f"{row[1]} it is." for row in rows],
                "advice": [
                    None if row[1] in ("fresh", "idle") else "Do something." for row in rows
                ],
            },
            schema_overrides={"advice": pl.String},
        )
        database.writer.append("signal_grade", frame).result()
    if scraped:
        frame = pl.DataFrame(
            {
                "target_id": [target_id] * len(scraped),
                "scraped_at": [seconds(number) for number in scraped],
                "duration_seconds": [0.01] * len(scraped),
                "outcome": ["ok"] * len(scraped),
            }
        )
        database.writer.append("scrape", frame).result()
    return target_id


def ask(database, at=1, signal=RUNNING):
    (found,) = usable(database.reader, [signal], NOW + timedelta(seconds=at))
    return found


@pytest.mark.parametrize(
    ("whole", "own", "counts", "is_usable", "is_zero"),
    [
        ("fresh", "fresh", "fresh", True, False),
        ("fresh", "frozen", "frozen", False, False),
        ("fresh", "impossible", "impossible", False, False),
        ("fresh", "partial", "partial", False, False),
        ("partial", "fresh", "fresh", True, False),
        ("silent", "fresh", "silent", False, False),
        ("absent", "fresh", "absent", False, False),
        ("two_scrapers", "fresh", "two_scrapers", False, False),
        ("idle", "fresh", "idle", True, True),
        ("idle", "impossible", "impossible", False, False),
        ("reset", "fresh", "reset", True, False),
    ],
)
def test_the_rule(database, whole, own, counts, is_usable, is_zero):
    """Each pair of grades, and whether a controller may act."""
    grade(database, ("", whole, -60), (RUNNING, own, -60))
    found = ask(database)
    assert (found.grade, found.is_usable, found.is_zero_demand) == (counts, is_usable, is_zero)


def test_no_rate_across_a_restart(database):
    """Gauges are good at once, counters count from zero since."""
    grade(database, ("", "reset", -20), (RUNNING, "fresh", -600))
    assert ask(database).rates_from == seconds(-20)
    grade(database, ("", "fresh", -1))
    assert ask(database).grade == "fresh"
    assert ask(database).rates_from == seconds(-20)
    assert ask(database, at=-30).grade == "absent"


def test_grades_that_nobody_renews_grow_old(database):
    """The server that graded may be dead itself: three intervals later nothing is trusted."""
    grade(database, ("", "fresh", -600), (RUNNING, "fresh", -600))
    assert ask(database, at=10).is_usable
    late = ask(database, at=60)
    assert (late.grade, late.is_usable) == ("stale", False)
    assert "Nobody has asked it" in late.evidence


def test_what_was_never_seen_is_absent(database):
    """No row is no trust: neither of a signal nor of a whole target."""
    grade(database, ("", "fresh", -60))
    assert (ask(database).grade, ask(database).is_usable) == ("absent", False)
    grade(database, url="http://gpu-2:8000/metrics", scraped=())
    found = usable(database.reader, [RUNNING], NOW)
    assert [told.is_usable for told in found] == [False, False]


def view(database, **scope):
    return trust(
        database.reader, Scope((1,), NOW - timedelta(hours=1), NOW, **scope), now=NOW
    )  # fmt: skip


def test_targets_of_agents_keep_their_names():
    """Two nodes' localhost are two targets, each with its agent."""
    assert called("agent://gpu-3/http://localhost:8000/metrics") == "localhost:8000 (agent gpu-3)"
    assert called("http://gpu-1:8000/metrics") == "gpu-1:8000"
    assert called("host://gpu-3") == "host://gpu-3"


def test_the_worst_comes_first_with_advice(database):
    """An operator reads from the top: what, since when, why and what to do."""
    grade(database, ("", "fresh", -60), ("a", "fresh", -60), (RUNNING, "frozen", -30))
    grade(database, ("", "silent", -40), url="http://gpu-2:8000/metrics")
    shown = view(database)
    assert shown.frames["targets"]["grade"].to_list() == ["silent", "fresh"]
    assert shown.frames["signals"]["grade"].to_list() == ["frozen", "fresh"]
    assert shown.frames["targets"]["usable_signals"].to_list() == [0, 1]
    assert shown.sentences == (
        "gpu-2:8000 is silent: silent it is. Do something.",
        "gpu-1:8000 requests_running is frozen: frozen it is. Do something.",
    )
    assert shown.frames["history"]["at"].to_list()[0] == seconds(-30)


def test_a_history_that_is_cut_off_tells_how_long_it_is(database, monkeypatch):
    """Of the targets shown; a short one is whole."""
    grade(database, *[("", ("fresh", "stale")[k % 2], -100 + k) for k in range(5)])
    grade(database, ("", "fresh", -50), url="http://gpu-2:8000/metrics")
    scope = Scope((1,), NOW - timedelta(hours=1), NOW, instances=("gpu-1:8000",))
    whole = trust(database.reader, scope, now=NOW)
    assert (whole.frames["history"].height, whole.total("history")) == (5, 5)
    monkeypatch.setattr(trust_queries, "MOST_HISTORY", 2)
    cut = trust(database.reader, scope, now=NOW)
    assert (cut.frames["history"].height, cut.total("history")) == (2, 5)
    assert cut.frames["history"]["at"].to_list() == [seconds(-96), seconds(-97)]


def test_when_all_is_well_one_sentence_says_so(database):
    """Idle targets are named as zero demand, which is not missing data."""
    grade(database, ("", "fresh", -60))
    grade(database, ("", "idle", -60), url="http://gpu-2:8000/metrics")
    (sentence,) = view(database).sentences
    assert sentence.startswith("All signals of 2 targets can be trusted. 1 of them idle")


def test_a_scope_narrows_it_to_an_instance(database):
    """The table of one target is asked for by its name."""
    grade(database, ("", "fresh", -60))
    grade(database, ("", "silent", -60), url="http://gpu-2:8000/metrics")
    assert view(database, instances=("gpu-1:8000",)).frames["targets"].height == 1
    assert view(database, models=("other",)).frames["targets"].is_empty()


def test_without_targets_the_view_says_why_it_is_empty(database):
    """Nothing connected is no fault."""
    shown = view(database)
    assert shown.empty.kind == "nothing_connected"
    assert shown.sentences == ()


def push(database, url, *seconds_ago, outcome=None):
    target_id = register(database.writer, url, NOW - timedelta(days=1)).result()
    frame = pl.DataFrame(
        {
            "target_id": [target_id] * len(seconds_ago),
            "signal": [RUNNING] * len(seconds_ago),
            "kind": ["gauge"] * len(seconds_ago),
            "unit": ["requests"] * len(seconds_ago),
            "labels": ["{}"] * len(seconds_ago),
            "sampled_at": [seconds(-number) for number in seconds_ago],
            "value": [3.0] * len(seconds_ago),
        }
    )
    database.writer.append("sample", frame).result()
    if outcome:
        told = {"target_id": [target_id], "scraped_at": [seconds(-1)], "duration_seconds": [0.0]}
        row = pl.DataFrame({**told, "outcome": [outcome], "error": ["up = 0"]})
        database.writer.append("scrape", row).result()


@pytest.mark.parametrize(
    ("ago", "outcome", "grade"),
    [
        ((5, 20), None, "fresh"),
        ((200, 215), None, "stale"),
        ((5, 20), "unreachable", "silent"),
        ((2000,), None, "absent"),
    ],
)
def test_pushed_data_is_judged_by_its_age(database, ago, outcome, grade):
    """Pushes come in pieces, so no page can be graded; their age and their sender's word can."""
    push(database, "remote-write://vllm/gpu-1:8000", *ago, outcome=outcome)
    found = ask(database, at=0)
    assert (found.grade, found.is_usable) == (grade, grade == "fresh")
