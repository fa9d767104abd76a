"""Latency anatomy: planted phases come out again, and what is unknown stays unknown."""

from __future__ import annotations

import random
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import views
from analysis.anatomy_crowds import concurrency
from analysis.anatomy_phases import GROUPS, tail
from analysis.anatomy_requests import waterfall
from analysis.anatomy_stack import with_unattributed
from analysis.slo_model import Slo
from store.clock import VirtualClock
from store.errors import InputError
from store.queries.scope import Scope


@pytest.fixture
def ask(database, live_scope):
    def asked(name, scope=live_scope, slos=(), **options):
        return views.compute(
            name,
            database.reader,
            scope,
            slos=slos,
            clock=VirtualClock(live_scope.end),
            options=options,
        )

    return asked


@pytest.fixture
def planted(add_requests):
    """A hundred requests; the slowest five queue for ten seconds."""

    def plant(**more):
        n = 100
        queue = [10.0 if i >= 95 else 0.1 for i in range(n)]
        columns = {
            "model": "m",
            "instance": "gpu-1:8000",
            "input_tokens": [100 * (1 + i % 10) for i in range(n)],
            "output_tokens": [50] * n,
            "queue_seconds": queue,
            "prefill_seconds": [0.2] * n,
            "decode_seconds": [1.0] * n,
            "ttft_seconds": [q + 0.25 for q in queue],
            "tpot_seconds": [0.02] * n,
            "e2e_seconds": [q + 0.2 + 1.0 + 0.1 for q in queue],
            **more,
        }
        add_requests([60.0 * (i + 1) for i in range(n)], **columns)

    return plant


class TestPhases:
    def test_means_add_up_and_the_rest_is_unattributed(self, ask, planted):
        """0.1 s that no phase explains is shown as such, not spread."""
        planted()
        found = ask("latency_phases")
        measures = found.measures
        assert measures["prefill_mean_seconds"].value == pytest.approx(0.2)
        assert measures["decode_mean_seconds"].value == pytest.approx(1.0)
        assert measures["queue_mean_seconds"].value == pytest.approx(0.595)
        assert measures["unattributed_mean_seconds"].value == pytest.approx(0.1)
        assert measures["first_token_mean_seconds"].value is None
        row = found.frames["stack"].select(
            gap=pl.col("e2e_seconds")
            - pl.sum_horizontal("queue_seconds", "prefill_seconds", "decode_seconds")
            - pl.col("unattributed_seconds")
        )
        assert row["gap"].abs().max() < 1e-9

    def test_phases_that_rows_do_not_carry_are_derived_and_said(self, ask, planted):
        """Without prefill and decode: TTFT - queue and E2E - TTFT."""
        planted(prefill_seconds=None, decode_seconds=None)
        found = ask("latency_phases")
        assert found.measures["prefill_mean_seconds"].value == pytest.approx(0.25)
        assert found.measures["decode_mean_seconds"].value == pytest.approx(1.05)
        assert found.measures["unattributed_mean_seconds"].value == pytest.approx(0.0, abs=1e-9)
        assert "prefill is TTFT - queue" in found.sentences[0]

    def test_queue_and_prefill_that_nobody_tells_apart_stay_together(self, ask, planted):
        """A gateway that knows TTFT only gives one phase up to the first token."""
        planted(prefill_seconds=None, decode_seconds=None, queue_seconds=None)
        measures = ask("latency_phases").measures
        assert measures["queue_mean_seconds"].value is None
        assert measures["prefill_mean_seconds"].value is None
        assert measures["first_token_mean_seconds"].value == pytest.approx(0.845)

    def test_a_negative_queue_is_a_bad_stamp(self, ask, add_requests):
        """An engine that never scheduled a request reports a huge negative queue."""
        add_requests([60.0], queue_seconds=-1.7e9, ttft_seconds=0.5, e2e_seconds=2.0)
        measures = ask("latency_phases").measures
        assert measures["queue_mean_seconds"].value is None
        assert measures["first_token_mean_seconds"].value == pytest.approx(0.5)

    def test_trap_04_ttft_is_not_queue_plus_prefill(self, ask, add_requests):
        """vLLM stamps the whole on the front end, phases on the core: the gap is shown."""
        add_requests(
            [60.0], queue_seconds=0.1, prefill_seconds=0.2, decode_seconds=1.0,
            ttft_seconds=0.35, e2e_seconds=1.4,
        )  # fmt: skip
        measures = ask("latency_phases").measures
        assert measures["prefill_mean_seconds"].value == pytest.approx(0.2)
        assert measures["decode_mean_seconds"].value == pytest.approx(1.0)
        assert measures["unattributed_mean_seconds"].value == pytest.approx(0.1)

    def test_phases_longer_than_the_whole_are_said(self, ask, add_requests):
        """Clocks that disagree show as negative unattributed time, never clamped."""
        add_requests(
            [60.0], queue_seconds=1.0, prefill_seconds=1.0, decode_seconds=1.0, e2e_seconds=2.0
        )
        found = ask("latency_phases")
        assert found.measures["unattributed_mean_seconds"].value == pytest.approx(-1.0)
        assert "another clock" in found.sentences[-1]

    def test_failed_requests_have_no_latency(self, ask, add_requests):
        """What failed at once does not make the fleet look fast."""
        add_requests([60.0, 61.0], status=["ok", "failed"], e2e_seconds=[2.0, 0.001])
        assert ask("latency_phases").measures["e2e_mean_seconds"].value == pytest.approx(2.0)


class TestTail:
    def test_queueing_in_the_slowest_hundredth_is_found(self, ask, planted):
        """The tail's own phases: its queue, not the mean one."""
        planted()
        found = ask("latency_tail")
        frame = found.frames["tail"]
        assert frame["group"].to_list() == list(GROUPS)
        assert frame["requests"].to_list() == [50, 40, 9, 1]
        slow = frame.row(-1, named=True)
        assert slow["queue_seconds"] == pytest.approx(10.0)
        assert slow["decode_seconds"] == pytest.approx(1.0)
        assert "queueing" in found.sentences[0]

    @given(st.lists(st.tuples(st.integers(-50, 90), st.integers(1, 500)), min_size=1, max_size=60))
    def test_groups_hold_every_request_once(self, bins):
        """A bin that a rank cuts is shared out: sums over the groups are those of all rows."""
        counts = dict(bins)
        rows = [
            {
                "log_bin": b,
                "requests": n,
                "e2e": n * 2.0 ** (b / 16),
                "queue": n * 2.0 ** (b / 16) * 0.25,
                "prefill": None,
                "first_token": None,
                "decode": n * 2.0 ** (b / 16) * 0.5,
            }
            for b, n in counts.items()
        ]
        schema = {"log_bin": pl.Int32, "requests": pl.Int64} | dict.fromkeys(
            ("e2e", "queue", "prefill", "first_token", "decode"), pl.Float64
        )
        frame = tail(pl.DataFrame(rows, schema=schema))
        total = sum(counts.values())
        if total < 200:
            return  # a hundredth of less is no request
        assert abs(frame["requests"].sum() - total) <= len(GROUPS)
        whole = (frame["e2e_seconds"] * frame["requests"]).sum()
        assert whole == pytest.approx(sum(row["e2e"] for row in rows), rel=0.05)
        parts = frame.select(pl.col("queue_seconds") / pl.col("e2e_seconds"))["queue_seconds"]
        assert parts.to_list() == pytest.approx([0.25] * frame.height)

    def test_unattributed_is_what_is_left(self):
        """E2E minus the known phases; unknown ones count as nothing known."""
        sums = pl.DataFrame(
            {
                "queue": [1.0],
                "prefill": [None],
                "first_token": [None],
                "decode": [2.0],
                "e2e": [5.0],
            },
            schema=dict.fromkeys(("queue", "prefill", "first_token", "decode", "e2e"), pl.Float64),
        )
        assert with_unattributed(sums)["unattributed"].to_list() == [2.0]


class TestSpread:
    def test_quantiles_cells_and_curves_count_the_same_requests(self, ask, planted):
        """Heat map, quantile lines and curves are one count."""
        planted()
        found = ask("latency")
        assert found.frames["shown"].row(0) == ("e2e", "model", "requests")
        assert found.frames["heatmap"]["requests"].sum() == 100
        assert found.measures["e2e_p50_seconds"].value == pytest.approx(1.4, rel=0.023)
        assert found.measures["e2e_p99_seconds"].value == pytest.approx(11.3, rel=0.023)
        ends = found.frames["ecdf"].group_by("series").agg(pl.col("share_high").max())
        assert ends.rows() == [("m", 1.0)]

    @pytest.mark.parametrize("quantity", ["e2e", "ttft", "tpot", "queue", "prefill", "decode"])
    @pytest.mark.parametrize("by", ["model", "instance"])
    def test_every_latency_can_be_chosen(self, ask, planted, quantity, by):
        """All six, told apart by model or instance."""
        planted()
        found = ask("latency", quantity=quantity, by=by)
        assert found.frames["heatmap"]["requests"].sum() == 100
        series = "m" if by == "model" else "gpu-1:8000"
        assert found.frames["ecdf"]["series"].unique().to_list() == [series]

    def test_another_quantity_is_refused_by_name(self, ask):
        """The hint lists what there is."""
        with pytest.raises(InputError, match="quantity 'median'") as refused:
            ask("latency", quantity="median")
        assert "ttft" in refused.value.hint

    def test_the_objective_is_drawn_where_it_belongs(self, ask, planted):
        """A TTFT objective shows on TTFT and not on E2E."""
        planted()
        slo = Slo("fast", "ttft", 0.95, 86_400, ttft_seconds=0.5)
        shown = ask("latency", slos=(slo,), quantity="ttft").frames["objectives"]
        assert shown.rows() == [("fast", 0.5)]
        assert ask("latency", slos=(slo,), quantity="e2e").frames["objectives"].is_empty()

    def test_a_latency_that_is_not_known_leaves_the_others(self, ask, planted):
        """Choosing prefill where no row carries it empties one card, not the page."""
        planted(prefill_seconds=None)
        found = ask("latency", quantity="prefill")
        assert found.empty is None
        assert found.frames["heatmap"].is_empty()
        assert found.measures["e2e_p50_seconds"].value is not None

    def test_rows_without_latencies_say_so(self, ask, add_requests):
        """The reason is the records, not the range."""
        add_requests([60.0], input_tokens=10)
        for name in ("latency", "latency_phases", "latency_tail", "latency_requests"):
            assert ask(name).empty.kind == "metric_absent", name

    def test_the_other_empty_states(self, ask, add_requests, live_scope):
        """Nothing connected, outside the range, no traffic with these labels."""
        assert ask("latency").empty.kind == "nothing_connected"
        add_requests([9 * 3600.0], e2e_seconds=1.0, model="m")
        assert ask("latency").empty.kind == "outside_range"
        add_requests([60.0], e2e_seconds=1.0, model="m")
        other = Scope((1,), live_scope.start, live_scope.end, models=("x",))
        assert ask("latency", other).empty.kind == "no_traffic"


class TestScraped:
    EDGES = (0.3, 0.5, 1.0, 2.0)

    def test_histograms_give_intervals_and_exact_means(self, ask, add_target):
        """The p95 is an interval, the mean of each phase is exact, ranks are not invented."""
        add_target(
            "http://gpu-1:8000",
            e2e_seconds=(self.EDGES, (2, 6, 9, 10), 10, 7.0),
            queue_seconds=(self.EDGES, (10, 10, 10, 10), 10, 1.0),
            decode_seconds=(self.EDGES, (5, 9, 10, 10), 10, 4.0),
        )
        found = ask("latency")
        p95 = found.measures["e2e_p95_seconds"]
        assert p95.value is None
        assert (p95.low, p95.high) == (1.0, 2.0)
        queue = found.measures["queue_p95_seconds"]
        assert (queue.low, queue.high) == (None, 0.3)
        assert found.frames["shown"]["basis"].item() == "buckets"
        curve = found.frames["ecdf"].filter(pl.col("seconds") == 0.5).row(0, named=True)
        assert (curve["share_low"], curve["share_high"]) == (pytest.approx(0.6), pytest.approx(0.9))
        stack = ask("latency_phases").frames["stack"]
        assert stack["queue_seconds"].to_list() == pytest.approx([0.1] * stack.height)
        assert stack["unattributed_seconds"].to_list() == pytest.approx([0.2] * stack.height)
        assert ask("latency_tail").empty.kind == "metric_absent"

    def test_an_engine_without_histograms_is_named(self, ask, add_target):
        """llama.cpp counts tokens and requests, and no latency of any request."""
        add_target("http://gpu-1:8080", engine="llama.cpp", requests_running=1)
        empty = ask("latency").empty
        assert empty.kind == "metric_absent"
        assert empty.text.startswith("llama.cpp exports no histogram of latencies")

    def test_the_truth_lies_inside_the_stated_interval(self, ask, add_target):
        """Drawn values whose buckets were scraped: their own p95 is inside."""
        rng = random.Random(3)  # noqa: S311
        drawn = sorted(rng.lognormvariate(-1.0, 0.7) for _ in range(1000))
        counts = tuple(sum(v <= edge for v in drawn) for edge in self.EDGES)
        add_target("http://gpu-1:8000", ttft_seconds=(self.EDGES, counts, 1000, sum(drawn)))
        p95 = ask("latency").measures["ttft_p95_seconds"]
        assert (p95.low or 0.0) < drawn[949] <= (p95.high or float("inf"))


class TestDrivers:
    def test_the_slope_of_ttft_is_found(self, ask, add_requests):
        """50 ms + 1 s per 9000 tokens is 111 ms per 1k tokens."""
        tokens = [int(64 * 1.25 ** (i % 24)) for i in range(480)]
        add_requests(
            [10.0 + i for i in range(480)],
            input_tokens=tokens,
            ttft_seconds=[0.05 + t / 9000 for t in tokens],
        )
        slope = ask("latency_drivers").measures["ttft_slope_seconds_per_1k_tokens"]
        assert slope.value == pytest.approx(1 / 9, rel=0.03)
        assert slope.n == 480

    def test_too_few_lengths_have_no_slope(self, ask, add_requests):
        """One length says nothing, and says why."""
        add_requests([60.0, 61.0], input_tokens=100, ttft_seconds=0.2)
        slope = ask("latency_drivers").measures["ttft_slope_seconds_per_1k_tokens"]
        assert slope.value is None
        assert slope.why

    @given(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 30)),
            min_size=1,
            max_size=40,
        )
    )
    def test_concurrency_is_what_counting_gives(self, spans):
        """Against counting one by one: entered by then, not left by then, itself at least."""
        where = np.array([place for place, _, _ in spans])
        entered = np.array([start for _, start, _ in spans])
        left = np.array([start + length for _, start, length in spans])
        found = concurrency(where, entered, left)
        for place, at, crowd in zip(where, entered, found, strict=True):
            inside = int(((where == place) & (entered <= at) & (left > at)).sum())
            assert crowd == max(inside, 1)

    def test_instances_do_not_keep_each_other_company(self, ask, add_requests):
        """Two requests at once on two instances are alone on each."""
        add_requests(
            [60.0, 60.0], instance=["a", "b"], e2e_seconds=5.0, tpot_seconds=0.02, input_tokens=9,
            ttft_seconds=0.1,
        )  # fmt: skip
        crowds = ask("latency_drivers").frames["tpot_medians"]
        assert crowds["mean"].to_list() == [1.0]

    def test_waiting_requests_are_not_company_yet(self, ask, add_requests):
        """Admission is arrival plus queue time: who still waits is not in the engine."""
        add_requests(
            [100.0, 99.0], instance="a", queue_seconds=[0.0, 20.0], e2e_seconds=[10.0, 25.0],
            tpot_seconds=0.02, ttft_seconds=[1.0, 21.0], input_tokens=9,
        )  # fmt: skip
        assert ask("latency_drivers").frames["tpot_medians"]["mean"].to_list() == [1.0]


class TestStragglers:
    def test_the_slow_one_of_four_stands_out(self, ask, add_requests):
        """Twice the TPOT of its peers, and the sentence names it."""
        rng = random.Random(1)  # noqa: S311
        for name, mean in (("a", 0.03), ("b", 0.03), ("c", 0.03), ("slow", 0.06)):
            add_requests(
                [10.0 + i for i in range(200)],
                instance=name, model="m", ttft_seconds=0.2,
                tpot_seconds=[rng.gauss(mean, 0.002) for _ in range(200)],
            )  # fmt: skip
        found = ask("latency_stragglers")
        assert found.frames["instances"]["instance"][0] == "slow"
        assert found.frames["instances"]["stands_out"].to_list() == [True, False, False, False]
        assert found.sentences[0].startswith("slow stands out: TPOT 2")

    def test_models_are_not_each_others_peers(self, ask, add_requests):
        """A large model is slower than a small one by nature."""
        for name, model, tpot in (("a", "small", 0.01), ("b", "large", 0.05)):
            add_requests([60.0], instance=name, model=model, tpot_seconds=tpot, ttft_seconds=0.1)
        frame = ask("latency_stragglers").frames["instances"]
        assert frame["tpot_to_peers"].to_list() == [None, None]
        assert frame["outlier_score"].to_list() == [None, None]

    def test_scraped_instances_show_preemptions_and_restarts(self, ask, add_target):
        """What targets say stands beside the latencies."""
        for name in ("a", "b"):
            add_target(
                f"http://{name}:8000",
                tpot_seconds=((0.1,), (10,), 10, 0.3),
                preemptions_total=2,
                kv_cache_usage_ratio=0.5,
            )
        frame = ask("latency_stragglers").frames["instances"]
        assert frame["preemptions"].to_list() == [718.0, 718.0]
        assert frame["kv_cache_usage_ratio"].to_list() == [0.5, 0.5]
        assert frame["basis"].unique().to_list() == ["mean of histograms"]
        assert frame["tpot_p50_seconds"].to_list() == pytest.approx([0.03, 0.03])


class TestRequests:
    def test_pages_follow_each_other_without_gap_or_repetition(self, ask, add_requests):
        """120 requests are three pages, slowest first."""
        add_requests(
            [float(i + 1) for i in range(120)], e2e_seconds=[float(i % 40) for i in range(120)]
        )
        seen = [ask("latency_requests", page=str(page)).frames["requests"] for page in (1, 2, 3)]
        assert [frame.height for frame in seen] == [50, 50, 20]
        whole = pl.concat(seen)
        assert whole["request"].n_unique() == 120
        assert whole["e2e_seconds"].to_list() == sorted(whole["e2e_seconds"], reverse=True)

    def test_filters_are_the_stores(self, ask, add_requests):
        """Status and duration narrow both the page and the count."""
        add_requests(
            [1.0, 2.0, 3.0, 4.0],
            status=["ok", "failed", "ok", "failed"],
            e2e_seconds=[1.0, 5.0, 6.0, 7.0],
        )
        found = ask("latency_requests", status="failed", over="5", sort="arrived_at")
        assert found.measures["requests"].value == 2
        assert found.frames["requests"]["e2e_seconds"].to_list() == [7.0, 5.0]

    @pytest.mark.parametrize(
        "options",
        [{"sort": "prompt"}, {"page": "0"}, {"page": "x"}, {"status": "lost"}, {"over": "-1"}],
    )
    def test_bad_options_are_refused(self, ask, options):
        """Each with a hint."""
        with pytest.raises(InputError) as refused:
            ask("latency_requests", **options)
        assert refused.value.hint

    def test_one_request_is_found_by_its_name(self, ask, planted):
        """The identity of the table opens the waterfall."""
        planted()
        name = ask("latency_requests").frames["requests"]["request"][0]
        found = ask("latency_request", request=name)
        spans = found.frames["spans"]
        assert spans["phase"].to_list() == ["queue", "prefill", "decode", "unattributed"]
        assert spans["start_seconds"].to_list() == pytest.approx([0.0, 10.0, 10.2, 11.2])
        assert "88 % of it queue" in found.sentences[0]

    def test_retries_are_seen_in_the_trace(self, ask, add_requests):
        """Two requests of one trace, the first failed."""
        add_requests(
            [20.0, 10.0], status=["failed", "ok"], e2e_seconds=[1.0, 2.0], trace_id="ab" * 16
        )
        name = ask("latency_requests").frames["requests"]["request"][0]
        found = ask("latency_request", request=name)
        assert found.frames["attempts"]["status"].to_list() == ["failed", "ok"]

    @pytest.mark.parametrize(
        "name", ["x", "1:2", "1:2:3", "1:99999999999999999:18446744073709551615"]
    )
    def test_a_name_of_nothing_is_refused(self, ask, name):
        """Malformed, or no such row."""
        with pytest.raises(InputError):
            ask("latency_request", request=name)

    def test_without_a_name_it_is_blank(self, ask):
        """The page asks on every visit."""
        assert not ask("latency_request").frames

    @given(
        st.fixed_dictionaries(
            {
                name: st.none() | st.floats(0, 100)
                for name in (
                    "queue_seconds", "prefill_seconds", "decode_seconds", "ttft_seconds",
                    "e2e_seconds",
                )
            }
        )
    )  # fmt: skip
    def test_a_waterfall_never_exceeds_or_misses_the_whole(self, row):
        """Whatever a row carries, the spans add up to E2E when that is known."""
        spans = waterfall(row)
        if row["e2e_seconds"] is not None:
            assert spans["seconds"].sum() == pytest.approx(row["e2e_seconds"], abs=1e-5)


def test_a_month_reads_roll_ups_and_says_the_same(ask, add_requests, database, live_scope):
    """Over ten days the counts come from elsewhere; the numbers do not change."""
    from store.rollup import refresh_due

    add_requests([3600.0 * i + 5 for i in range(1, 200)], e2e_seconds=2.0, model="m")
    wide = Scope((1,), live_scope.end - timedelta(days=10), live_scope.end)
    raw = ask("latency", wide)
    refresh_due(database.writer, live_scope.end + timedelta(hours=1))
    rolled = ask("latency", wide)
    assert rolled.frames["heatmap"].equals(raw.frames["heatmap"])
    assert rolled.measures == raw.measures
