"""The verdict: which objective, since when, who, and which phase; with the evidence for it."""

import importlib.util
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from analysis.fleet import fleet
from analysis.slo_model import Slo
from analysis.verdict_view import why
from store.queries.scope import Scope

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TTFT = Slo("chat-ttft", "ttft", 0.9, 86_400.0, ttft_seconds=1.0)
EVERY = 5.0


@pytest.fixture
def burning(add_requests):
    """Four hours of two models; since 11:00 most of model b waits two seconds for its turn."""
    ago = [EVERY * i + 1 for i in range(2880)]
    slow = [a < 3600 and i % 2 == 0 and i % 20 != 0 for i, a in enumerate(ago)]
    add_requests(
        ago,
        model=["b" if i % 2 == 0 else "a" for i in range(len(ago))],
        queue_seconds=[2.0 if s else 0.1 for s in slow],
        prefill_seconds=[0.9 if s else 0.2 for s in slow],
        ttft_seconds=[2.9 if s else 0.3 for s in slow],
        decode_seconds=3.0,
        e2e_seconds=[5.9 if s else 3.3 for s in slow],
    )


def test_one_sentence_says_what_since_when_who_and_which_phase(database, burning, live_scope):
    """The whole of it, in the order in which people ask."""
    sentence = why(database.reader, live_scope, slos=[TTFT]).sentences[0]
    # Since 11:00 90 % of b is bad: of all requests 45 %, 4.5 times what the budget allows. The
    # burn over an hour passed 1 at 11:13:20, within the five minutes that begin at 11:10.
    assert sentence.startswith("chat-ttft burns at 4.5x since 11:10")
    assert "; 100 % of the bad requests are model b, which is 50 % of the traffic;" in sentence
    # 2.0 - 0.1 of queueing and 0.9 - 0.2 of prefill: 1.9 of 2.6.
    assert sentence.endswith("; 73 % of their excess time is queueing.")


@pytest.mark.parametrize(("calm_bins", "since"), [(2, "10:40"), (3, "11:50")])
def test_a_burn_that_wavers_about_1_goes_on(database, add_requests, live_scope, calm_bins, since):
    """Two calm bins of five minutes do not move its beginning; after three it is another one."""
    # 72 bad requests an hour are a burn of 1: bins 16 and 15 bring 80, and leave one by one. What
    # was long before spent the budget.
    again = 5 - calm_bins
    spoiled = {44: 60, 43: 60, 42: 60, 16: 40, 15: 40, again: 60, again - 1: 60}
    ago = [EVERY * i + 1 for i in range(2880)]
    slow = [a % 300 < EVERY * spoiled.get(int(a // 300), 0) for a in ago]
    add_requests(ago, ttft_seconds=[2.0 if is_slow else 0.3 for is_slow in slow])
    sentence = why(database.reader, live_scope, slos=[TTFT]).sentences[0]
    assert sentence.startswith(f"chat-ttft burns at 1.67x since {since}")


def test_the_fleet_page_says_the_same(database, burning, live_scope):
    """Every sentence, in the same order."""
    for slos in ([TTFT], [], [replace(TTFT, ttft_seconds=9.0)]):
        shown = fleet(database.reader, live_scope, slos=slos).sentences
        assert why(database.reader, live_scope, slos=slos).sentences == shown


def test_phases_are_measured_against_good_requests(database, burning, live_scope):
    """Excess is what a phase took beyond its median among good requests of the same model."""
    view = why(database.reader, live_scope, slos=[TTFT])
    phases = {row["phase"]: row for row in view.frames["phases"].to_dicts()}
    # Decoding cannot break a bound on the first token.
    assert list(phases) == ["queue", "prefill"]
    bad = phases["queue"]["bad"]
    assert phases["queue"]["typical_seconds"] == pytest.approx(0.1)
    assert phases["queue"]["bad_mean_seconds"] == pytest.approx(2.0)
    assert phases["queue"]["excess_seconds"] == pytest.approx(1.9 * bad)
    shares = [row["excess_share_ratio"] for row in phases.values()]
    assert sum(shares) == pytest.approx(1.0)
    assert view.measures["excess_share_ratio"].value == shares[0]
    assert view.measures["requests_bad"].value == bad


def test_looking_from_a_past_time_sees_what_was_known_then(database, burning):
    """Before the trouble all was well, and says so with its numbers."""
    before = Scope((1,), NOW - timedelta(hours=3), NOW - timedelta(hours=1, minutes=5))
    view = why(database.reader, before, slos=[TTFT])
    (sentence,) = view.sentences
    assert sentence.startswith(
        "All 1 SLOs are healthy; the lowest budget left is 100 % (chat-ttft)"
    )
    assert "requests/s" in sentence
    assert view.measures["burning"].value == 0
    assert view.measures["burn_long"].why == "no objective is in trouble"


def test_the_worst_is_the_one_that_burns_fastest(database, burning, live_scope):
    """A budget that was spent long ago does not hide what burns now."""
    slow = Slo("all-e2e", "e2e", 0.999, 86_400.0, e2e_seconds=3.29)
    view = why(database.reader, live_scope, slos=[TTFT, slow])
    rows = view.frames["objectives"].to_dicts()
    assert [row["name"] for row in rows] == ["all-e2e", "chat-ttft"]
    assert view.sentences[0].startswith("all-e2e burns at 1e+03x")
    assert rows[0]["is_worst"]
    assert not rows[1]["is_worst"]
    assert rows[1]["since_at"] is not None


def test_who_was_turned_away_did_not_wait_too_long(database, add_requests, live_scope):
    """Most bad requests were refused: that is said, not a phase of the few that were served."""
    ago = [EVERY * i + 1 for i in range(700)]
    refused = [i % 3 == 0 for i in range(700)]
    add_requests(ago, status=["refused" if r else "ok" for r in refused],
                 ttft_seconds=[None if r else 0.5 for r in refused])  # fmt: skip
    sentence = why(database.reader, live_scope, slos=[TTFT]).sentences[0]
    assert sentence.endswith("; 100 % of the bad requests were refused.")


def test_too_few_requests_are_no_verdict(database, add_requests, live_scope):
    """Nobody is told that an objective burns because of a dozen requests."""
    add_requests([10.0 * i + 1 for i in range(12)], ttft_seconds=5.0)
    view = why(database.reader, live_scope, slos=[TTFT])
    assert (
        "None of the 1 SLOs can be judged from this data (12 requests in the window"
        in (view.sentences[0])
    )
    assert view.measures["burning"].value == 0


def test_an_empty_store_says_that_nothing_is_connected(database, live_scope):
    """No verdict from nothing."""
    assert why(database.reader, live_scope, slos=[TTFT]).empty.kind == "nothing_connected"


def test_what_happened_near_the_onset_stands_beside_it(database, burning, live_scope):
    """Events before and after the beginning of the burn, with how long before."""
    at = [NOW - timedelta(hours=1, minutes=5), NOW - timedelta(hours=5)]
    rows = {
        "event_id": ["1", "2"], "source_id": [1, 1], "kind": ["deployment", "deployment"],
        "started_at": [time.replace(tzinfo=None) for time in at], "text": ["v2 is out", "v1"],
    }  # fmt: skip
    database.writer.append("event", pl.DataFrame(rows)).result()
    events = why(database.reader, live_scope, slos=[TTFT]).frames["events"]
    assert events["text"].to_list() == ["v2 is out"]
    assert -1500 < events["after_onset_seconds"][0] < -600


def test_unreachable_and_odd_instances_are_suspects(database, add_target, live_scope):
    """What the Fleet page says of instances is evidence here."""
    add_target("http://gpu-1:8000/metrics", requests_running=1)
    add_target("http://gpu-2:8000/metrics", requests_running=1, last_failed=10)
    suspects = why(database.reader, live_scope, slos=[]).frames["suspects"]
    assert suspects.rows()[0][:2] == ("gpu-2:8000", "unreachable")


def test_the_way_on_names_whom_the_verdict_names(database, burning, live_scope):
    """Each next look carries the objective, the stretch and the label."""
    rows = why(database.reader, live_scope, slos=[TTFT]).frames["next"].to_dicts()
    assert rows[0]["command"] == "servescope slo check chat-ttft"
    assert rows[0]["page"].startswith("slo/chat-ttft?from=2026-03-01T10:1")
    assert "--model b" in rows[1]["command"]
    assert rows[1]["page"].endswith("&model=b")


BUCKETS = (0.5, 1.0, 2.0)


def test_engine_metrics_alone_tell_the_model_but_no_phase(database, add_target, live_scope):
    """Buckets say which of two models misses its objective."""
    add_target(
        "http://gpu-1:8000/metrics", model="slow", ttft_seconds=(BUCKETS, (1, 2, 10), 10, 15.0)
    )
    add_target(
        "http://gpu-2:8000/metrics", model="fast", ttft_seconds=(BUCKETS, (9, 30, 30), 30, 9.0)
    )
    view = why(database.reader, live_scope, slos=[TTFT])
    sentence = view.sentences[0]
    assert sentence.startswith("chat-ttft burns at 2x ")
    assert sentence.endswith(
        "100 % of the bad requests are model slow, which is 25 % of the traffic."
    )
    told = view.frames["contributors"].filter(pl.col("dimension") == "instance").row(0, named=True)
    assert (told["value"], told["traffic_share_ratio"]) == ("gpu-1:8000", 0.25)
    assert view.frames["phases"].is_empty()
    assert view.measures["requests_bad"].why == "engine metrics tell of no single request"


def test_where_nobody_stands_out_it_says_what_is_missing(database, add_target, live_scope):
    """One engine is everybody: tenants and phases need request rows."""
    add_target("http://gpu-1:8000/metrics", ttft_seconds=(BUCKETS, (2, 4, 20), 20, 30.0))
    sentence = why(database.reader, live_scope, slos=[TTFT]).sentences[0]
    assert sentence.startswith("chat-ttft burns at 8x")
    assert sentence.endswith("no model and no instance stands out; tenants and phases need request"
                             " rows.")  # fmt: skip


def test_a_slowed_instance_is_a_suspect_with_its_evidence(database, add_requests, live_scope):
    """What the page Degradation says stands beside the verdict, while something is wrong."""
    place = Path(__file__).parents[1] / "data" / "degraded_fleet.py"
    spec = importlib.util.spec_from_file_location("servescope_degraded_fleet", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    fleet = module.Fleet(database, NOW)
    fleet.engine("http://a:8000/metrics", {(900, 0): 1.7})
    fleet.engine("http://b:8000/metrics")
    fleet.machine("http://a:9100/metrics", node_processes_running=(2, {(900, 0): 9}),
                  node_processes_blocked=3)  # fmt: skip
    add_requests([EVERY * i + 1 for i in range(400)], ttft_seconds=3.0)
    rows = why(database.reader, live_scope, slos=[TTFT]).frames["suspects"].rows()
    assert rows[0][:2] == ("a:8000", "slowed down")
    assert "1.7 times as long per token" in rows[0][2]
    assert rows[1][1] == "suspect 1"
    calm = why(database.reader, live_scope, slos=[]).frames["suspects"]
    assert "slowed down" not in calm["kind"]


def test_an_address_carries_no_tenant(database, add_requests, live_scope):
    """Pseudonyms replace names in texts; a name inside an address would stay."""
    ago = [EVERY * i + 1 for i in range(400)]
    who = ["acme" if i % 4 == 0 else "other" for i in range(400)]
    add_requests(ago, tenant=who, ttft_seconds=[3.0 if w == "acme" else 0.1 for w in who])
    view = why(database.reader, live_scope, slos=[TTFT])
    assert "tenant acme" in view.sentences[0]
    assert any("--tenant acme" in text for text in view.frames["next"]["command"])
    assert not any("acme" in text for text in view.frames["next"]["page"])
