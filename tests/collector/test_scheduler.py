"""The scrape loop under a virtual clock, and the sinks it feeds."""

import asyncio
from collections import Counter
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.checks import check_sink
from collector.model import HistogramSample, Sample, Scrape, TargetFacts
from collector.scheduler import Scheduler
from collector.settings import ScrapeSettings
from collector.sink import MemorySink, StoreSink, frames
from store.clock import VirtualClock
from store.database import Database
from store.errors import WriterOverloaded
from store.settings import StoreSettings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FIVE = ScrapeSettings(
    scrape_interval_seconds=5,
    scrape_timeout_seconds=4,
    store_every_seconds=0,
    close_timeout_seconds=1,
)


class Target:
    """A source that answers after `seconds` of virtual time, or as `behave` says."""

    def __init__(self, target_id, clock, seconds=0.0, behave=None):
        self.target_id = target_id
        self.clock = clock
        self.seconds = seconds
        self.behave = behave
        self.asked = []
        self.closed = 0

    async def scrape(self, timeout_seconds):
        at, start = self.clock.now(), self.clock.monotonic()
        self.asked.append(start)
        if self.seconds:
            await self.clock.sleep(self.seconds)
        if self.behave is not None:
            return self.behave(at)
        sample = Sample("requests_running", "{}", 1.0)
        return Scrape(self.target_id, at, self.clock.monotonic() - start, "ok", samples=(sample,))

    async def aclose(self):
        self.closed += 1


async def settle():
    """Let everything run that can run without time passing."""
    for _ in range(30):
        await asyncio.sleep(0)  # noqa: TID251 - hands over the loop, waits for nothing


async def pass_time(clock, seconds, step=0.25):
    for _ in range(round(seconds / step)):
        clock.advance(step)
        await settle()


@pytest.fixture
def clock():
    return VirtualClock(NOON)


async def test_every_target_is_asked_once_an_interval(clock):
    """The first at once, the others spread over the interval, then in step."""
    targets = [Target(n, clock) for n in range(5)]
    sink = MemorySink()
    async with Scheduler(targets, sink, clock, FIVE):
        await settle()
        assert [len(target.asked) for target in targets] == [1, 0, 0, 0, 0]
        await pass_time(clock, 19.75)
        assert [len(target.asked) for target in targets] == [4] * 5
    first = sorted(target.asked[0] for target in targets)
    gaps = [later - earlier for earlier, later in pairwise(first)]
    assert min(gaps) >= 0.5
    assert len(sink.scrapes) == 20


async def test_a_slow_target_is_skipped_and_delays_nobody(clock):
    """While a scrape goes on the next moment is left out and counted; others keep their pace."""
    settings = ScrapeSettings(scrape_interval_seconds=1, scrape_timeout_seconds=10)
    slow, quick = Target(1, clock, seconds=3.5), Target(2, clock)
    async with Scheduler([slow, quick], MemorySink(), clock, settings) as scheduler:
        await settle()
        await pass_time(clock, 7.75)
        assert len(slow.asked) == 2
        assert len(quick.asked) == 8
        states = {state.target_id: state for state in scheduler.states()}
        assert states[1].skipped_count == scheduler.counts().skipped == 6


async def test_a_target_beyond_its_limit_is_stopped(clock):
    """A source that does not keep its own limit ends as a timeout, and the loop goes on."""
    stuck = Target(1, clock, seconds=1000)
    sink = MemorySink()
    async with Scheduler([stuck], sink, clock, FIVE):
        await settle()
        await pass_time(clock, 11)
    assert [scrape.outcome for scrape in sink.scrapes] == ["timeout", "timeout"]


async def test_a_fault_of_a_source_is_one_failed_scrape(clock):
    """Even a bug in a source is a value, and the next scrape happens."""

    def crash(at):
        raise RuntimeError("a bug")

    target, sink = Target(1, clock, behave=crash), MemorySink()
    async with Scheduler([target], sink, clock, FIVE):
        await settle()
        await pass_time(clock, 5)
    assert [scrape.outcome for scrape in sink.scrapes] == ["failed", "failed"]
    assert "RuntimeError" in sink.scrapes[0].error


async def test_states_tell_outages_and_recovery(clock):
    """The last success stays known while a target is down; facts stay, too."""
    facts = TargetFacts("vllm", "1", "m")
    answers = [
        lambda at: Scrape(1, at, 0.1, "ok", facts=facts),
        lambda at: Scrape(1, at, 0.1, "unreachable", "refused"),
    ]
    target = Target(1, clock, behave=lambda at: answers[min(len(target.asked), 2) - 1](at))
    async with Scheduler([target], MemorySink(), clock, FIVE) as scheduler:
        await settle()
        await pass_time(clock, 10)
        [state] = scheduler.states()
    assert (state.outcome, state.error, state.facts) == ("unreachable", "refused", facts)
    assert state.last_success_at == NOON
    assert state.last_scrape_at == NOON + timedelta(seconds=10)
    assert (state.scrape_count, state.failure_count) == (3, 2)
    assert scheduler.counts().scrapes == {"ok": 1, "unreachable": 2}


async def test_a_pause_of_the_process_is_not_made_up_for(clock):
    """After a long stop each target is asked once, and the missed moments are counted."""
    target = Target(1, clock)
    async with Scheduler([target], MemorySink(), clock, FIVE) as scheduler:
        await settle()
        clock.advance(52)
        await settle()
        assert len(target.asked) == 2
        await pass_time(clock, 3)
        assert target.asked[-1] == 55.0
        assert scheduler.counts().skipped == 9


async def test_no_more_scrapes_at_once_than_allowed(clock):
    """Beyond the limit targets wait for their turn."""
    settings = ScrapeSettings(
        scrape_interval_seconds=10, scrape_timeout_seconds=60, most_concurrent_scrapes=2
    )
    targets = [Target(n, clock, seconds=20) for n in range(6)]
    async with Scheduler(targets, MemorySink(), clock, settings):
        await settle()
        await pass_time(clock, 15)
        assert sum(len(target.asked) for target in targets) == 2
        await pass_time(clock, 10)
        assert sum(len(target.asked) for target in targets) == 4


async def test_many_targets_that_hang_make_nobody_else_late(clock):
    """A rack that is gone costs each of the others one late scrape at most."""
    hang = [
        Target(n, clock, 4, lambda at, n=n: Scrape(n, at, 4.0, "timeout")) for n in range(1, 41)
    ]
    healthy = Target(0, clock)
    settings = ScrapeSettings(most_concurrent_scrapes=4, store_every_seconds=0)
    async with Scheduler([*hang, healthy], MemorySink(), clock, settings):
        await settle()
        await pass_time(clock, 50)  # every one of them has been asked once
        before = len(healthy.asked)
        await pass_time(clock, 50)
        assert len(healthy.asked) - before == 10


async def test_targets_come_and_go(clock):
    """A new target is scraped without a restart, a removed one no more, twice is no mistake."""
    first, second = Target(1, clock), Target(2, clock)
    async with Scheduler([first], MemorySink(), clock, FIVE) as scheduler:
        await settle()
        scheduler.add(second)
        scheduler.add(second)
        await pass_time(clock, 5)
        assert second.asked
        await scheduler.remove(1)
        await scheduler.remove(1)
        count = len(first.asked)
        await pass_time(clock, 10)
        assert len(first.asked) == count
        assert first.closed == 1
        assert [state.target_id for state in scheduler.states()] == [2]


async def test_results_go_to_the_store_together(clock):
    """Scrapes of half a second are one write, because a commit costs the same for all of them."""
    batches = []

    class Counting(MemorySink):
        async def write(self, batch):
            batches.append(len(batch))
            await clock.sleep(0.2)

    settings = ScrapeSettings(scrape_interval_seconds=1, store_every_seconds=0.5)
    async with Scheduler([Target(n, clock) for n in range(10)], Counting(), clock, settings):
        await settle()
        await pass_time(clock, 3, step=0.05)
    assert sum(batches) >= 28
    assert len(batches) <= 8


class Refusing(MemorySink):
    """A sink that refuses the first `times` writes."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    async def write(self, batch):
        if self.times:
            self.times -= 1
            raise WriterOverloaded("full")
        await super().write(batch)


async def test_a_batch_is_offered_again(clock):
    """A store that is full for a moment loses nothing."""
    sink = Refusing(2)
    async with Scheduler([Target(1, clock)], sink, clock, FIVE) as scheduler:
        await settle()
        await pass_time(clock, 4)
        assert len(sink.scrapes) == 1
        assert (scheduler.counts().sink_failures, scheduler.counts().dropped) == (2, 0)


async def test_what_cannot_be_stored_is_counted(clock):
    """A store that stays full costs the batch; scraping goes on."""
    sink = Refusing(3)
    async with Scheduler([Target(1, clock)], sink, clock, FIVE) as scheduler:
        await settle()
        await pass_time(clock, 10)
        assert scheduler.counts().dropped == 1
        assert len(sink.scrapes) == 2


async def test_a_store_that_hangs_does_not_fill_the_memory(clock):
    """Beyond the bound the oldest results are dropped and counted, closing is not held up."""
    settings = ScrapeSettings(
        scrape_interval_seconds=1, most_waiting_scrapes=3, close_timeout_seconds=0
    )

    class Hanging(MemorySink):
        async def write(self, batch):
            await asyncio.Event().wait()

    scheduler = Scheduler([Target(1, clock)], Hanging(), clock, settings)
    await scheduler.start()
    await settle()
    await pass_time(clock, 9, step=1)
    assert scheduler.counts().waiting == 3
    assert scheduler.counts().dropped == 6
    await scheduler.aclose()
    assert scheduler.counts().dropped == 10


async def test_closing_stores_what_came_in_and_closes_everything(clock):
    """Twice, without a start, and before a start: all fine."""
    target, sink = Target(1, clock), MemorySink()
    scheduler = Scheduler([target], sink, clock, FIVE)
    await scheduler.start()
    await scheduler.start()
    await settle()
    await scheduler.aclose()
    await scheduler.aclose()
    await scheduler.start()
    assert len(sink.scrapes) == 1
    assert target.closed == 1
    await Scheduler([Target(2, clock)], MemorySink(), clock).aclose()


@pytest.mark.parametrize(
    "wrong",
    [
        {"scrape_interval_seconds": 0},
        {"scrape_timeout_seconds": 0},
        {"most_body_bytes": 0},
        {"close_timeout_seconds": -1},
        {"scrape_interval_seconds": float("nan")},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    """The message names the setting."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ScrapeSettings(**wrong)


async def test_the_memory_sink_keeps_the_contract():
    """The double behaves as a real sink does."""

    async def kept(sink):
        return [(scrape.target_id, scrape.at) for scrape in sink.scrapes]

    await check_sink(MemorySink, kept)


async def test_the_store_sink_keeps_the_contract(clock):
    """Scrapes are durable once, however often they are sent."""
    settings = StoreSettings(memory_limit_bytes=256 << 20)
    with Database.open(None, settings, clock) as database:

        async def kept(_):
            found = database.reader.frame("SELECT target_id, scraped_at FROM scrape")
            return found.rows()

        await check_sink(lambda: StoreSink(database.writer), kept)
        assert database.reader.scalar("SELECT count(*) FROM sample") == 1


async def test_the_store_sink_notes_what_targets_are(clock):
    """Facts go to whoever keeps the targets, once they are told."""
    told = []

    def describe(target_id, facts):
        told.append((target_id, facts))
        done = Future()
        done.set_result(None)
        return done

    class Writer:
        def append(self, table, frame):
            done = Future()
            done.set_result(frame.height)
            return done

    facts = TargetFacts("vllm", "1", "m")
    await StoreSink(Writer(), describe).write(
        [Scrape(1, NOON, 0.1, "ok", facts=facts), Scrape(2, NOON, 0.1, "timeout", "slow")]
    )
    assert told == [(1, facts)]


def test_rows_carry_units_and_naive_utc_times():
    """What the store gets: catalogue kind and unit, trace-free times, lists for buckets."""
    scrape = Scrape(
        *(3, NOON, 0.2, "ok"),
        samples=(Sample("generation_tokens_total", '{"model":"m"}', 5.0),),
        histograms=(HistogramSample("ttft_seconds", "{}", 4.0, None, (0.1, 1.0), (1.0, 3.0)),),
    )
    rows = {table: frame.to_dicts() for table, frame in frames([scrape]).items()}
    at = NOON.replace(tzinfo=None)
    assert rows["sample"] == [
        {
            "target_id": 3,
            "signal": "generation_tokens_total",
            "kind": "counter",
            "unit": "tokens",
            "labels": '{"model":"m"}',
            "sampled_at": at,
            "value": 5.0,
        }
    ]
    [bucket_row] = rows["histogram_sample"]
    assert (bucket_row["edges"], bucket_row["cumulative_counts"]) == ([0.1, 1.0], [1.0, 3.0])
    assert (bucket_row["unit"], bucket_row["observation_sum"]) == ("s", None)
    assert rows["scrape"][0]["bad_line_count"] is None


def test_empty_batches_keep_their_columns():
    """Nothing in, nothing out, with the types of the store."""
    empty = frames([])
    assert [frame.height for frame in empty.values()] == [0, 0, 0]
    full = frames([Scrape(1, NOON, 0.1, "ok", samples=(Sample("requests_running", "{}", 1.0),))])
    assert {name: frame.schema for name, frame in empty.items()} == {
        name: frame.schema for name, frame in full.items()
    }


@given(st.integers(2, 200))
def test_targets_are_spread_over_the_interval(count):
    """Few targets share a moment: at most one more than their fair share of the twenty moments."""
    clock = VirtualClock(NOON)
    scheduler = Scheduler([Target(n, clock) for n in range(count)], MemorySink(), clock, FIVE)
    together = Counter(watch.phase_seconds for watch in scheduler._watches.values())
    assert max(together.values()) <= -(-count // 20) + 1
    assert all(0 <= phase < 5.0 for phase in together)
