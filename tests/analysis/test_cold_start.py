"""Cold starts: phases partition the time to ready, and nothing unlike is pooled."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import views
from analysis.cold_start_frames import nearest_rank
from analysis.cold_start_phases import (
    DEPTHS,
    MARKS,
    SHOWN,
    UNATTRIBUTED,
    Observation,
    partition,
)
from analysis.cold_start_starts import starts
from store.clock import VirtualClock
from store.queries.scope import Scope
from store.targets import register

SPANS = st.tuples(st.integers(-20, 120), st.integers(0, 60))
OBSERVATIONS = st.lists(
    st.builds(
        lambda phase, span, who: Observation(phase, span[0], span[0] + span[1], who),
        st.sampled_from([*DEPTHS, *MARKS, "no such phase"]),
        SPANS,
        st.sampled_from(["span a", "metric b", "log of c", "agent: d", "kubernetes: e", "rumour"]),
    ),
    max_size=20,
)


class TestPartition:
    @given(OBSERVATIONS, st.integers(0, 50), st.integers(0, 80))
    def test_segments_cover_the_whole_once(self, observations, begin, length):
        """Sum of phases and unattributed is the total; no overlap, no hole, in order."""
        end = begin + length
        segments = partition(observations, begin, end)
        assert sum(s.ended_us - s.started_us for s in segments) == length
        for before, after in itertools.pairwise(segments):
            assert before.ended_us == after.started_us
        assert all(s.started_us < s.ended_us for s in segments)
        if segments:
            assert (segments[0].started_us, segments[-1].ended_us) == (begin, end)
        assert {s.phase for s in segments} <= set(SHOWN)

    @given(OBSERVATIONS, st.randoms(use_true_random=False))
    def test_the_order_of_arrival_plays_no_part(self, observations, shuffler):
        """Evidence comes from many doors at any time."""
        mixed = list(observations)
        shuffler.shuffle(mixed)
        assert partition(mixed, 0, 100) == partition(observations, 0, 100)

    @given(OBSERVATIONS)
    def test_nothing_is_attributed_that_nobody_saw(self, observations):
        """Every attributed moment lies inside an observation of that phase."""
        for segment in partition(observations, 0, 100):
            if segment.phase == UNATTRIBUTED:
                continue
            assert any(
                DEPTHS.get(o.phase, ("", 0))[0] == segment.phase
                and o.started_us <= segment.started_us
                and o.ended_us > segment.started_us
                for o in observations
            )

    def test_the_more_specific_phase_counts(self):
        """Weights lie inside engine, which lies inside the container."""
        seen = [
            Observation("container", 0, 100, "kubernetes"),
            Observation("engine", 20, 90, "span"),
            Observation("weights", 30, 60, "log"),
        ]
        found = [(s.phase, s.started_us, s.ended_us) for s in partition(seen, 0, 120)]
        assert found == [
            ("container", 0, 20),
            ("engine", 20, 30),
            ("weights", 30, 60),
            ("engine", 60, 90),
            ("container", 90, 100),
            ("unattributed", 100, 120),
        ]

    def test_among_equals_the_better_evidence_counts(self):
        """Two leaf phases dispute ten seconds: the span is believed before the log line."""
        seen = [
            Observation("weights", 0, 60, "log of vllm"),
            Observation("compile", 50, 80, "vLLM span 'Compile graph'"),
        ]
        found = {s.phase: s.seconds * 1e6 for s in partition(seen, 0, 80)}
        assert found == pytest.approx({"weights": 50, "compile": 30})

    def test_each_segment_names_its_witness(self):
        """The source of each phase is told."""
        seen = [Observation("image", 0, 10, "kubernetes: image of pod a")]
        assert [s.source for s in partition(seen, 0, 20)] == ["kubernetes", ""]


T0 = datetime(2026, 3, 1, 10, 0)


def row(phase, start, end, instance="a:8000", evidence="log", **more):
    """One observation, seconds after T0."""
    return {
        "instance": instance,
        "model": "m",
        "node": "n1",
        "phase": phase,
        "started_at": T0 + timedelta(seconds=start),
        "ended_at": T0 + timedelta(seconds=end),
        "cache_state": None,
        "evidence": evidence,
        **more,
    }


def found_in(*rows, now=T0 + timedelta(hours=2)):
    """The starts in some observations."""
    return starts(pl.DataFrame(list(rows), infer_schema_length=None), now)


class TestStarts:
    def test_ready_and_warm_are_told_apart(self):
        """Ready is when traffic could come, warm when a token came."""
        (start,) = found_in(
            row("process", 0, 10), row("ready", 10, 10), row("first_token", 300, 302)
        )
        assert start.ready_seconds == 10
        assert start.warm_at == T0 + timedelta(seconds=302)
        assert start.first_token_seconds == 2

    def test_kubernetes_says_when_traffic_comes(self):
        """The engine's own word comes earlier; the wait between is the readiness probe."""
        (start,) = found_in(
            row("process", 0, 30),
            row("ready", 30, 30, evidence="log: startup complete"),
            row("ready", 42, 42, evidence="kubernetes: condition Ready"),
        )
        assert start.ready_seconds == 42
        assert [(s.phase, s.seconds) for s in start.segments] == [("process", 30), ("probe", 12)]

    def test_a_second_start_of_an_instance_is_another_start(self):
        """After it was ready, another process is another start."""
        found = found_in(
            row("process", 0, 10), row("ready", 10, 10),
            row("process", 100, 120), row("ready", 120, 120),
        )  # fmt: skip
        assert [start.ready_seconds for start in found] == [10, 20]

    def test_a_crash_loop_is_many_starts_that_never_got_ready(self):
        """A process that begins again without having been ready was no success."""
        found = found_in(
            row("process", 0, 10), row("weights", 10, 30),
            row("process", 40, 50), row("weights", 50, 70),
            row("process", 80, 90), row("weights", 90, 110), row("ready", 110, 110),
        )  # fmt: skip
        assert [start.outcome for start in found] == ["never ready", "never ready", "ready"]

    def test_a_young_start_is_in_progress_and_an_old_one_given_up(self):
        """Half an hour without a sign."""
        rows = (row("process", 0, 10), row("weights", 10, 30))
        assert found_in(*rows, now=T0 + timedelta(minutes=5))[0].outcome == "in progress"
        assert found_in(*rows, now=T0 + timedelta(minutes=45))[0].outcome == "never ready"

    def test_a_container_that_ended_never_was_ready(self):
        """The platform says so at once."""
        found = found_in(
            row("process", 0, 10), row("failed", 20, 20), now=T0 + timedelta(seconds=30)
        )
        assert found[0].outcome == "never ready"

    def test_marks_alone_are_no_start(self):
        """A first token of an engine that was found running tells nothing about its start."""
        assert found_in(row("ready", 0, 0), row("first_token", 5, 6)) == []


@pytest.fixture
def observe(database, live_scope):
    """Append observations, seconds before the end of the scope."""

    def append(*rows):
        shift = live_scope.end.replace(tzinfo=None) - timedelta(hours=2) - T0
        moved = [
            {**r, "started_at": r["started_at"] + shift, "ended_at": r["ended_at"] + shift}
            for r in rows
        ]
        frame = pl.DataFrame(moved, infer_schema_length=None)
        return database.writer.append("instance_start", frame).result()

    return append


@pytest.fixture
def ask(database, live_scope):
    def asked(scope=live_scope):
        clock = VirtualClock(live_scope.end)
        return views.compute("cold_starts", database.reader, scope, clock=clock)

    return asked


class TestView:
    def test_hardware_and_caches_are_never_pooled(self, observe, ask):
        """Two nodes and two cache states give four rows, each with its n."""
        rows = []
        for k, (node, cache, seconds) in enumerate(
            itertools.product(("a100", "h100"), ("cold", "warm"), (10, 20, 30))
        ):
            more = {"node": node, "cache_state": cache, "instance": f"i{k}"}
            rows += [row("weights", 0, seconds, **more), row("ready", seconds, seconds, **more)]
        observe(*rows)
        groups = ask().frames["groups"]
        assert groups.select("node", "cache_state").n_unique() == 4
        assert groups["starts"].to_list() == [3, 3, 3, 3]
        assert groups["ready_p50_seconds"].to_list() == [20.0] * 4
        assert groups["ready_p95_seconds"].to_list() == [30.0] * 4

    def test_rows_of_the_table_add_up(self, observe, ask):
        """Phases and unattributed are the time to ready, to the microsecond."""
        observe(row("image", 1, 5, evidence="kubernetes"), row("weights", 6, 9),
                row("container", 0, 2, evidence="kubernetes"), row("ready", 12, 12))  # fmt: skip
        frame = ask().frames["starts"]
        parts = frame.select(pl.sum_horizontal(pl.col(f"{name}_seconds") for name in SHOWN))
        assert parts.item() == pytest.approx(frame["ready_seconds"].item())
        assert frame["unattributed_seconds"].item() == pytest.approx(4.0)
        assert frame["sources"].item() == "container: kubernetes, image: kubernetes, weights: log"

    def test_the_cost_is_what_queued_meanwhile(self, observe, ask, add_requests):
        """Requests of the model that queued while it started; another model's do not count."""
        observe(row("weights", 0, 60), row("ready", 60, 60))
        two_hours = 2 * 3600.0
        add_requests(
            [two_hours - 10, two_hours - 58, two_hours - 20, two_hours - 90],
            model=["m", "m", "other", "m"],
            queue_seconds=[3.0, 6.0, 9.0, 5.0],
        )
        found = ask()
        # The second one queued for six seconds, of which two during the start.
        assert found.measures["waited_request_seconds"].value == pytest.approx(5.0)
        assert found.frames["starts"]["waited_request_seconds"].to_list() == pytest.approx([5.0])

    def test_two_starts_at_once_cost_once(self, observe, ask, add_requests):
        """The sum over starts would count one waiting request twice; the total does not."""
        observe(
            row("weights", 0, 60, instance="a"), row("ready", 60, 60, instance="a"),
            row("weights", 0, 60, instance="b"), row("ready", 60, 60, instance="b"),
        )  # fmt: skip
        add_requests([2 * 3600.0 - 10], model="m", queue_seconds=3.0)
        found = ask()
        assert found.frames["starts"]["waited_request_seconds"].to_list() == [3.0, 3.0]
        assert found.measures["waited_request_seconds"].value == pytest.approx(3.0)

    def test_without_rows_the_gauge_tells_what_waited(self, observe, ask, add_target):
        """Half a request waiting for a minute is thirty request-seconds."""
        add_target("http://a:8000", requests_waiting=0.5)
        observe(row("weights", 7000, 7060), row("ready", 7060, 7060))
        measure = ask().measures["waited_request_seconds"]
        assert measure.value == pytest.approx(30.0)
        assert "gauges" in measure.why

    def test_a_replica_that_was_hardly_used_was_not_worth_its_start(
        self, observe, ask, add_requests
    ):
        """A minute to start, half a minute of use, then kept alive: a utility of one half."""
        observe(row("weights", 0, 60), row("ready", 60, 60),
                row("weights", 3000, 3060), row("ready", 3060, 3060))  # fmt: skip
        base = 2 * 3600.0
        add_requests(
            [base - 60, base - 80], model="m", instance="a:8000", e2e_seconds=10.0, ttft_seconds=0.5
        )
        worth = ask().frames["worth"].row(0, named=True)
        assert (worth["replicas"], worth["still_running"]) == (1, 1)
        assert worth["utility_p50"] == pytest.approx(0.5)
        assert worth["below_one_ratio"] == 1.0

    def test_ready_is_not_full_speed(self, observe, ask, add_requests):
        """Three slow answers after ready; the fourth is as fast as usual."""
        observe(row("weights", 0, 60), row("ready", 60, 60))
        for number in range(40):
            slow = 3.0 if number < 3 else 0.2
            add_requests(
                [2 * 3600.0 - 61 - number], model="m", instance="a:8000", ttft_seconds=slow
            )
        newest = ask().frames["starts"].row(0, named=True)
        assert newest["full_speed_seconds"] == pytest.approx(4.0)
        assert newest["slow_requests"] == 3

    def test_days_without_a_start_are_drawn(self, observe, ask, live_scope):
        """A gap of two days is two empty days."""
        observe(row("weights", 0, 9), row("ready", 9, 9),
                row("weights", -3 * 86_400, 9 - 3 * 86_400, instance="b"),
                row("ready", 9 - 3 * 86_400, 9 - 3 * 86_400, instance="b"))  # fmt: skip
        wide = Scope((1,), live_scope.end - timedelta(days=5), live_scope.end)
        assert ask(wide).frames["per_day"]["ready"].to_list() == [1, 0, 0, 1]

    def test_the_four_reasons_to_be_empty(self, observe, ask, database, live_scope):
        """Nothing connected, never observed, outside the range, none with these labels."""
        assert ask().empty.kind == "nothing_connected"
        register(database.writer, "http://a:8000", live_scope.start).result()
        assert ask().empty.kind == "metric_absent"
        observe(row("weights", -9 * 3600, 9 - 9 * 3600))
        assert ask().empty.kind == "outside_range"
        observe(row("weights", 0, 9))
        other = Scope((1,), live_scope.start, live_scope.end, models=("x",))
        assert ask(other).empty.kind == "no_traffic"
        trace = Scope((2,), live_scope.start, live_scope.end)
        assert ask(trace).empty.kind == "metric_absent"

    def test_observations_sent_again_change_nothing(self, observe, ask):
        """At least once at the door, exactly once in the table."""
        rows = (row("weights", 0, 9), row("ready", 9, 9))
        assert observe(*rows) == 2
        assert observe(*rows) == 0
        assert ask().measures["starts"].value == 1


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 1.0]))
def test_nearest_rank_is_one_of_the_values(values, q):
    """At least a share q of them lies at or below it, and fewer below."""
    found = nearest_rank(values, q)
    assert found in values
    assert sum(v <= found for v in values) >= q * len(values) - 1e-9
    assert sum(v < found for v in values) < q * len(values)
