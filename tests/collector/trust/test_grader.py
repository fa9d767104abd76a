"""What a stream of scrapes says about the trust in each signal."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.model import HistogramSample, PageNotes, Refused, Sample, Scrape
from collector.trust.grader import TargetGrader
from collector.trust.grades import CLOCK, WHOLE_TARGET, TrustSettings, Verdict

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
OUTCOMES = (
    *("ok", "unreachable", "timeout", "http_error", "not_metrics"),
    *("truncated", "too_large", "unsupported", "failed"),
)


class Watched:
    """A target and its grader, five seconds from scrape to scrape."""

    def __init__(self, seeds=None, **settings):
        self.grader = TargetGrader(1, TrustSettings(**settings), seeds)
        self.held = {name: told.grade for name, (told, _) in (seeds or {}).items()}
        self.said = {}
        self.rows = []
        self.number = 0
        self.every_seconds = 5

    def see(self, values=None, histograms=(), outcome="ok", notes=None, **more):
        """One scrape; gives the signals whose grade it changed."""
        at = BEGIN + timedelta(seconds=self.every_seconds * self.number)
        self.number += 1
        samples = tuple(
            Sample(*(key if isinstance(key, tuple) else (key, "{}")), float(value))
            for key, value in (values or {}).items()
        )
        scrape = Scrape(
            1, at, 0.01, outcome, samples=samples, histograms=tuple(histograms), notes=notes, **more
        )
        changed = {}
        for change in self.grader.grade(scrape):
            self.rows.append(change)
            self.held[change.signal] = changed[change.signal] = change.verdict.grade
            self.said[change.signal] = change.verdict
        return changed

    def ever(self):
        """Every grade that was given at any time."""
        return {row.verdict.grade for row in self.rows}

    def whole(self):
        return self.held[WHOLE_TARGET]


def busy(number, **more):
    """A vLLM at work."""
    return {
        "requests_running": 8 + number % 3,
        "requests_waiting": number % 2,
        "kv_cache_usage_ratio": 0.3 + (number % 7) / 100,
        "generation_tokens_total": 1000.0 * number,
        "engine_steps_total": 50.0 * number,
        "process_cpu_seconds_total": 2.5 * number,
        "engine_start_unix_seconds": 1_770_000_000.5,
        **more,
    }


def queue(count, total, low=None, signal="queue_seconds"):
    low = count if low is None else low
    return HistogramSample(signal, "{}", count, total, (0.3, 1.0), (low, count))


def test_a_busy_engine_is_fresh_and_says_so_once():
    """One row a signal and one for the target, however long all is well."""
    target = Watched()
    first = target.see(busy(0))
    assert first == dict.fromkeys((*busy(0), WHOLE_TARGET), "fresh")
    assert [target.see(busy(number)) for number in range(1, 100)] == [{}] * 99


@pytest.mark.parametrize(
    ("outcome", "grade"),
    [
        ("unreachable", "silent"),
        ("timeout", "silent"),
        ("http_error", "silent"),
        ("not_metrics", "silent"),
        ("truncated", "partial"),
        ("too_large", "stale"),
        ("unsupported", "absent"),
        ("failed", "silent"),
    ],
)
def test_an_answer_without_a_page_is_no_zero(outcome, grade):
    """What the engine does not say is unknown, and the first page afterwards ends it."""
    target = Watched()
    target.see(busy(0))
    assert target.see(outcome=outcome, error="HTTP 502") == {WHOLE_TARGET: grade}
    verdict = target.said[WHOLE_TARGET]
    assert "HTTP 502" in verdict.evidence
    assert "5 s before" in verdict.evidence
    assert verdict.advice
    assert target.see(outcome=outcome) == {}
    assert target.see(busy(3)) == {WHOLE_TARGET: "fresh"}


def test_silence_is_not_idleness():
    """An engine that went away is silent for as long as it is; one that idles is idle."""
    away, idle = Watched(), Watched()
    nothing = {"requests_running": 0, "requests_waiting": 0, "generation_tokens_total": 5}
    for number in range(40):
        away.see(outcome="unreachable") if number else away.see(nothing)
        idle.see(nothing)
    assert (away.whole(), idle.whole()) == ("silent", "idle")
    assert "not zero" in away.said[WHOLE_TARGET].evidence
    assert "demand is zero" in idle.said[WHOLE_TARGET].evidence
    assert idle.see({**nothing, "generation_tokens_total": 9}) == {WHOLE_TARGET: "fresh"}


def test_trap_05_a_sum_that_falls_alone_is_bad_data_and_no_reset():
    """vLLM's queue sum may go down while its count does not: impossible, never a restart."""
    target = Watched()
    target.see(busy(0), [queue(10, 8.0)])
    changed = target.see(busy(1), [queue(11, -1e6)])
    assert changed == {"queue_seconds": "impossible"}
    assert "went down" in target.said["queue_seconds"].evidence
    assert "restart" in target.said["queue_seconds"].advice
    for number in range(2, 12):
        assert target.see(busy(number), [queue(11 + number, -1e6 + number)]) == {}
    assert target.see(busy(20), [queue(40, -1e6 + 50)]) == {}
    assert target.see(busy(21), [queue(41, -1e6 + 51)]) == {"queue_seconds": "fresh"}


def test_trap_09_gauges_that_froze_after_a_mass_cancel():
    """KV at 99 % and requests running, but no step of the engine: frozen, and no zero demand."""
    target = Watched()
    for number in range(5):
        target.see(busy(number))
    left = busy(5, requests_running=12, kv_cache_usage_ratio=0.99)
    for number in range(5, 40):
        target.see({**left, "process_cpu_seconds_total": 2.5 * number})
    for signal in ("requests_running", "requests_waiting", "kv_cache_usage_ratio"):
        assert target.held[signal] == "frozen"
    assert target.held["generation_tokens_total"] == "fresh"
    assert target.whole() == "fresh"
    assert "0.99" in target.said["kv_cache_usage_ratio"].evidence
    changed = target.see(busy(41))
    assert changed["requests_running"] == "fresh"


def test_gauges_that_stand_while_tokens_flow_are_frozen():
    """The other way round: the counters move in every scrape, the fill of the cache never."""
    target = Watched()
    for number in range(60):
        target.see(busy(number, requests_running=3, requests_waiting=0, kv_cache_usage_ratio=0.4))
    assert target.held["kv_cache_usage_ratio"] == "frozen"
    assert target.held["generation_tokens_total"] == "fresh"


def test_counters_that_stand_while_gauges_move_are_frozen():
    """Requests come and go by the gauges, and nothing is ever counted."""
    target = Watched()
    for number in range(60):
        target.see(busy(number, generation_tokens_total=7, engine_steps_total=7))
    assert target.held["generation_tokens_total"] == "frozen"
    assert target.held["requests_running"] == "fresh"


@pytest.mark.parametrize("every_seconds", [1, 5])
def test_a_sample_repeated_by_an_exporter_is_not_frozen(every_seconds):
    """dcgm-exporter collects every 30 s: a scrape every second sees each value thirty times."""
    target = Watched()
    target.every_seconds = every_seconds
    for number in range(300):
        told = {"kv_cache_usage_ratio": 0.3 + number * every_seconds // 30 / 1000}
        target.see(busy(number, requests_running=3, requests_waiting=0, **told))
    assert target.ever() == {"fresh"}


def test_a_steady_load_is_not_frozen():
    """A full engine runs exactly its most requests all the time, and that is well."""
    target = Watched()
    for number in range(100):
        target.see(
            {"requests_running": 4, "requests_waiting": 0, "generation_tokens_total": 9.0 * number}
        )
    assert target.ever() == {"fresh"}


def test_a_kept_copy_of_a_page_is_frozen():
    """A cache in front of an idle engine: even the CPU time of the process stands."""
    target = Watched()
    for _ in range(60):
        target.see(busy(1, requests_running=0, requests_waiting=0))
    assert target.whole() == "frozen"
    assert "kept copy" in target.said[WHOLE_TARGET].evidence


def test_a_start_time_that_moves_is_a_restart_even_when_counters_grew():
    """A busy restart may pass the old counts before the next scrape."""
    target = Watched()
    target.see(busy(0))
    assert target.see(busy(9, engine_start_unix_seconds=1_770_000_900)) == {WHOLE_TARGET: "reset"}
    grades = [target.see(busy(10 + n, engine_start_unix_seconds=1_770_000_900)) for n in range(20)]
    assert {WHOLE_TARGET: "fresh"} in grades
    assert grades[:11] == [{}] * 11


def test_several_workers_behind_one_address_are_told_from_restarts():
    """Start times that come and go: each page shows one worker, so no number can be used."""
    target = Watched()
    for number in range(30):
        start = 1_770_000_000 + 7 * (number % 2)
        target.see(busy(number + 100 * (number % 2), engine_start_unix_seconds=start))
    assert target.whole() == "impossible"
    assert "in turns" in target.said[WHOLE_TARGET].evidence
    assert len([row for row in target.rows if row.signal == WHOLE_TARGET]) == 3


def test_a_signal_that_a_release_dropped_is_missed_for_a_day():
    """An upgrade takes it away for good: the page is whole again after a while."""
    target = Watched()
    target.every_seconds = 600
    target.see(busy(0, lora_adapters_max=4))
    for number in range(1, 200):
        target.see(busy(number))
    assert target.held["lora_adapters_max"] == "absent"
    assert [row.verdict.grade for row in target.rows if row.signal == WHOLE_TARGET] == [
        "fresh", "partial", "fresh",
    ]  # fmt: skip


def test_counters_that_all_fall_are_a_restart_and_one_alone_is_its_own():
    """Without a start time, the counters tell whether the process is another one."""
    target = Watched()
    page = {"prompt_tokens_total": 50, "generation_tokens_total": 90, "preemptions_total": 4}
    target.see(page)
    assert target.see({**page, "preemptions_total": 1}) == {"preemptions_total": "reset"}
    changed = target.see(dict.fromkeys(page, 0))
    assert changed == {WHOLE_TARGET: "reset"}
    assert "from 90 to 0" in target.said[WHOLE_TARGET].evidence


def test_a_bucket_that_falls_resets_its_histogram():
    """Any bucket's fall means that the whole histogram started again."""
    target = Watched()
    target.see(busy(0), [queue(10, 5.0, low=9)])
    assert target.see(busy(1), [queue(12, 6.0, low=3)]) == {"queue_seconds": "reset"}


def test_a_missing_rank_is_partial_and_no_reset():
    """Three of four ranks: the sum fell, but nothing started again."""
    target = Watched()
    four = PageNotes(parts={"generation_tokens_total": 4, "requests_running": 4})
    target.see(busy(4), notes=four)
    three = PageNotes(parts={"generation_tokens_total": 3, "requests_running": 3})
    changed = target.see(busy(5, generation_tokens_total=3100), notes=three)
    assert changed == {
        "generation_tokens_total": "partial",
        "requests_running": "partial",
        WHOLE_TARGET: "partial",
    }
    assert "3 of 4" in target.said["requests_running"].evidence
    changed = target.see(busy(6), notes=four)
    assert set(changed.values()) == {"fresh"}


def test_a_renamed_family_is_absent_and_named():
    """The signal is gone and a new name stands on the page: both are said."""
    target = Watched()
    target.see(busy(0))
    page = busy(1)
    del page["requests_running"]
    changed = target.see(page, notes=PageNotes(unknown_families=("vllm:num_reqs_running",)))
    assert changed == {"requests_running": "absent", WHOLE_TARGET: "partial"}
    assert "vllm:num_reqs_running" in target.said["requests_running"].evidence
    assert "renamed" in target.said["requests_running"].advice
    assert target.see(busy(2)) == {"requests_running": "fresh", WHOLE_TARGET: "fresh"}


def test_rare_counters_may_miss_after_a_restart():
    """A refusal counter appears with the first refusal: its absence makes no partial page."""
    target = Watched()
    target.see(busy(5, requests_refused_total=3))
    changed = target.see(busy(1, engine_start_unix_seconds=1_770_000_900))
    assert changed == {"requests_refused_total": "absent", WHOLE_TARGET: "reset"}


def test_nan_is_idle_without_work_and_impossible_with_it():
    """0/0 of an idle engine is zero demand; NaN under load is a fault."""
    nan = PageNotes(refused=(Refused("kv_cache_usage_ratio", "{}", math.nan),))
    idle, loaded = Watched(), Watched()
    quiet = {"requests_running": 0, "generation_tokens_total": 7}
    idle.see({**quiet, "kv_cache_usage_ratio": 0.1})
    assert idle.see(quiet, notes=nan) == {"kv_cache_usage_ratio": "idle"}
    loaded.see(busy(0))
    page = busy(1)
    del page["kv_cache_usage_ratio"]
    assert loaded.see(page, notes=nan) == {"kv_cache_usage_ratio": "impossible"}


def test_values_out_of_range_are_impossible():
    """A blank of DCGM and a ratio of 1.7 are both refused, each with its words."""
    target = Watched()
    blank, high = 9223372036854775794.0, 1.7
    for value, word in ((blank, "blank"), (high, "release notes")):
        notes = PageNotes(refused=(Refused("kv_cache_usage_ratio", "{}", value),))
        target.see(busy(target.number), notes=notes, bad_line_count=1)
        assert target.held["kv_cache_usage_ratio"] == "impossible"
        assert word in target.said["kv_cache_usage_ratio"].advice
        assert target.whole() == "fresh"


def test_more_than_can_be_is_impossible():
    """More hits than questions, more tokens than the cache holds."""
    target = Watched()
    page = {
        "prefix_cache_hit_tokens_total": 90,
        "prefix_cache_queried_tokens_total": 80,
        "kv_cache_used_tokens": 2000,
        "kv_cache_capacity_blocks": 100,
        "kv_cache_block_tokens": 16,
    }
    target.see(page)
    wrong = {name for name, grade in target.held.items() if grade == "impossible"}
    assert wrong == {"prefix_cache_hit_tokens_total", "kv_cache_used_tokens"}


def test_a_clock_an_hour_off_is_its_own_fault():
    """The samples carry our time and stay good; the clock of the target is graded alone."""
    target = Watched()
    target.see(busy(0), notes=PageNotes(clock_offset_seconds=0.4))
    changed = target.see(busy(1), notes=PageNotes(clock_offset_seconds=3600.2))
    assert changed == {CLOCK: "impossible"}
    assert "1 h 0 min ahead of ours" in target.said[CLOCK].evidence


def test_unreadable_lines_make_the_page_partial():
    """The good lines are used, the broken ones are counted."""
    target = Watched()
    target.see(busy(0), bad_line_count=0)
    changed = target.see(busy(1), bad_line_count=7, sample_count=530)
    assert changed == {WHOLE_TARGET: "partial"}
    assert "7 lines" in target.said[WHOLE_TARGET].evidence


def llama(tokens, seconds, shown):
    return {
        "generation_tokens_total": tokens,
        "decode_busy_seconds_total": seconds,
        "decode_since_scrape_tokens_per_second": shown,
    }


def test_trap_15_two_scrapers_of_llama_cpp():
    """Its tokens per second start again with every scrape: a second scraper shows by the totals."""
    alone, shared = Watched(), Watched()
    for number in range(1, 20):
        # 300 tokens in 3 s between our scrapes; the other scraper leaves us the last 40 in 0.5 s.
        alone.see(llama(300 * number, 3.0 * number, 100.0))
        shared.see(llama(300 * number, 3.0 * number, 80.0 if number > 4 else 100.0))
    assert alone.ever() == {"fresh"}
    assert shared.held["decode_since_scrape_tokens_per_second"] == "two_scrapers"
    assert shared.held["generation_tokens_total"] == "fresh"
    evidence = shared.said["decode_since_scrape_tokens_per_second"].evidence
    assert "80" in evidence
    assert "100" in evidence


def test_one_look_by_hand_is_no_second_scraper():
    """Somebody who runs curl once changes one value, which is not worth a word."""
    target = Watched()
    for number in range(1, 20):
        target.see(llama(300 * number, 3.0 * number, 80.0 if number == 9 else 100.0))
    assert target.ever() == {"fresh"}


def test_our_own_failed_scrape_is_no_second_scraper():
    """A scrape that timed out may have reset the mean: what follows it is not judged."""
    target = Watched()
    for number in range(1, 30):
        target.see(outcome="timeout")
        target.see(llama(300 * number, 3.0 * number, 80.0))
    assert target.ever() == {"fresh", "silent"}


def test_a_target_that_comes_and_goes_writes_few_rows():
    """Every other scrape fails: it is called silent until it has been well for a minute."""
    target = Watched()
    for number in range(400):
        target.see(busy(number), outcome="timeout" if number % 2 else "ok")
    rows = [row for row in target.rows if row.signal == WHOLE_TARGET]
    assert len(rows) < 12
    assert target.whole() == "silent"
    for number in range(400, 414):
        target.see(busy(number))
    assert target.whole() == "fresh"


def test_buckets_that_contradict_each_other_are_impossible():
    """A wider bucket cannot hold less than a narrower one."""
    target = Watched()
    told = HistogramSample("ttft_seconds", "{}", 5.0, 1.0, (0.1, 1.0), (4.0, 3.0))
    target.see(busy(0), [told])
    assert target.held["ttft_seconds"] == "impossible"


def test_nothing_at_all_is_stale():
    """A scrape loop that stopped is neither silence of the engine nor idleness."""
    target = Watched()
    target.see(busy(0))
    target.see(busy(1))
    assert target.grader.overdue(BEGIN + timedelta(seconds=15)) == []
    (change,) = target.grader.overdue(BEGIN + timedelta(seconds=60))
    assert (change.signal, change.verdict.grade) == (WHOLE_TARGET, "stale")
    assert target.grader.overdue(BEGIN + timedelta(seconds=65)) == []


def test_a_scrape_that_comes_late_or_twice_changes_nothing():
    """Batches are written again after a failure, and agents send old ones."""
    target = Watched()
    target.see(busy(5))
    target.see(busy(6))
    target.number = 0
    assert target.see(busy(1), outcome="timeout") == {}
    assert target.see(busy(6)) == {}


def seeded(target):
    """The seeds that a store would give after what `target` saw."""
    return {
        change.signal: (
            Verdict(change.verdict.grade, change.verdict.evidence, change.verdict.advice),
            change.at,
        )
        for change in target.rows
    }


def pages_idle(number):
    return {"requests_running": 0, "generation_tokens_total": 5}


def pages_left_over(number):
    return {**busy(5, requests_running=12), "process_cpu_seconds_total": 2.5 * number}


def pages_stuck(number):
    return busy(number, requests_running=3, requests_waiting=0, kv_cache_usage_ratio=0.4)


@pytest.mark.parametrize("pages", [busy, pages_idle, pages_left_over, pages_stuck])
@pytest.mark.parametrize("away", [0, 1, 200])
def test_a_restart_of_ours_is_no_change(pages, away):
    """A new process that sees the same target writes no row, at once or after a while."""
    first = Watched()
    for number in range(60):
        first.see(pages(number))
    second = Watched(seeds=seeded(first))
    second.number = 60 + away
    for number in range(60 + away, 140 + away):
        assert second.see(pages(number)) == {}


def test_what_changed_while_we_were_away_is_told():
    """A signal that vanished meanwhile is absent; an idle engine that works is fresh."""
    first = Watched()
    for _ in range(60):
        first.see({"requests_running": 0, "generation_tokens_total": 5, "preemptions_total": 1})
    second = Watched(seeds=seeded(first))
    second.number = 100
    changed = second.see({"requests_running": 3, "generation_tokens_total": 50})
    assert changed == {"preemptions_total": "absent", WHOLE_TARGET: "partial"}


def test_memory_is_bounded():
    """A million series of one target cost no more than those that are watched."""
    target = Watched(most_series=100)
    many = {("requests_refused_total", f'{{"reason":"{n}"}}'): 1 for n in range(1000)}
    target.see(many)
    target.see(many)
    assert len(target.grader._memory.courses) == 100
    assert target.whole() == "partial"


NUMBERS = st.sampled_from([0.0, 0.5, 1.0, 7.0, 1e18, -1.0])
PAGES = st.tuples(
    st.sampled_from(OUTCOMES),
    st.dictionaries(
        st.sampled_from(["requests_running", "generation_tokens_total", "kv_cache_usage_ratio"]),
        NUMBERS,
    ),
    st.lists(st.tuples(NUMBERS, NUMBERS), max_size=1),
)


@given(st.lists(PAGES, max_size=30))
def test_any_stream_gives_each_change_once(pages):
    """Whatever comes, nothing is raised and no row repeats the grade before it with its cause."""
    target = Watched()
    for outcome, values, histograms in pages:
        target.see(values, [queue(*told) for told in histograms], outcome)
    last = {}
    for row in target.rows:
        told = (row.verdict.grade, row.verdict.cause)
        assert last.get(row.signal) != told
        assert row.verdict.evidence.endswith(".")
        last[row.signal] = told
