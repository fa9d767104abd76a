"""Figures keep the rules that make them honest, whatever the frame."""

from __future__ import annotations

import json
import re
from datetime import datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.cards import Chart
from dashboard.figures.base import Look, Picture, log_axis, times, utc_text
from dashboard.figures.cold_starts import spread, stack
from dashboard.figures.series import over_time, quantile_over_time, week_profile
from dashboard.figures.slo import budget, burn, thresholds
from dashboard.figures.sparkline import sparkline
from dashboard.pages import fleet, slo
from dashboard.pages.workload_charts import TABS
from dashboard.theme import (
    BLUE,
    DARK_CARD,
    GREEN,
    GREY,
    LIGHT_CARD,
    PURPLE,
    SPARK,
    VERMILION,
)

ALL = [("fleet", c) for c in (*fleet.FIRST_CHARTS, *fleet.FURTHER_CHARTS)]
ALL += [("slo_detail", c) for c in slo.DETAIL_CHARTS]
ALL += [(tab.view, c) for tab in TABS.values() for c in tab.charts]
LOOK = Look()


@pytest.fixture(params=ALL, ids=lambda pair: f"{pair[0]}-{pair[1].key}")
def drawn(request, fake) -> tuple[Chart, pl.DataFrame, Picture]:
    """Every chart there is, drawn from made-up rows."""
    view_name, chart = request.param
    options = {"slo": "chat-ttft"} if view_name == "slo_detail" else {}
    frame = fake.view(view_name, {}, **options).frames[chart.frame]
    picture = chart.draw(frame, LOOK)
    assert isinstance(picture, Picture)
    return chart, frame, picture


def test_a_figure_is_strict_json_with_one_y_axis(drawn):
    """No NaN reaches the browser, and no second axis confuses the eye."""
    _, _, picture = drawn
    json.dumps(picture.figure, allow_nan=False)
    assert "yaxis2" not in picture.figure["layout"]


def test_the_axes_say_what_they_show(drawn):
    """Each axis with numbers has a title, which carries the unit."""
    chart, _, picture = drawn
    layout = picture.figure["layout"]
    for name in ("xaxis", "yaxis"):
        if layout[name]["type"] != "category":
            assert layout[name]["title"]["text"], f"{chart.key} {name}"


def test_rates_and_shares_start_at_zero(drawn):
    """A linear axis never starts in the air, where noise becomes a wall."""
    _, _, picture = drawn
    y = picture.figure["layout"]["yaxis"]
    if y["type"] == "linear":
        assert y.get("rangemode") == "tozero" or y["range"][0] <= 0


def test_only_counts_are_stacked(drawn):
    """Percentiles do not add; the one stacked figure shows counts."""
    chart, _, picture = drawn
    stacked = picture.figure["layout"].get("barmode") == "stack"
    stacked |= any("stackgroup" in trace for trace in picture.figure["data"])
    assert not stacked or chart.key == "events"


def test_series_differ_by_more_than_colour(drawn):
    """Two lines of a figure never share both name and dash."""
    _, _, picture = drawn
    lines = [
        t
        for t in picture.figure["data"]
        if t.get("name") and t["type"] == "scatter" and t.get("line", {}).get("dash")
    ]
    looks = [(t["line"]["dash"], t["line"].get("color"), t["line"].get("width")) for t in lines]
    assert len(set(looks)) == len(looks)


def test_the_summary_is_one_sentence_without_jargon_for_nothing(drawn):
    """Who cannot see the figure gets what it says."""
    _, _, picture = drawn
    assert re.match(r"^[A-Z0-9].{15,400}\.$", picture.summary)
    assert "None" not in picture.summary
    assert "nan" not in picture.summary


def test_a_chart_asks_a_question(drawn):
    """The title of a card is a question, its definition a sentence."""
    chart, _, _ = drawn
    assert chart.title.endswith("?")
    assert chart.about.endswith(".")


def test_gaps_stay_gaps():
    """A bin without data is not drawn as zero, nor bridged."""
    at = [datetime(2026, 1, 1, h) for h in range(4)]
    frame = pl.DataFrame({"at": at, "v": [1.0, None, float("nan"), 2.0]})
    picture = over_time(frame, "v", "v (s)", "s", LOOK)
    trace = picture.figure["data"][0]
    assert trace["y"] == [1.0, None, None, 2.0]
    assert trace["connectgaps"] is False
    assert "fill" not in trace


def test_a_single_known_bin_is_seen():
    """The first sample of a new fleet is a dot, not an invisible line of no length."""
    at = [datetime(2026, 1, 1, h) for h in range(3)]
    frame = pl.DataFrame({"at": at, "v": [None, 3.0, None]})
    picture = over_time(frame, "v", "v (s)", "s", LOOK)
    assert "markers" in picture.figure["data"][0]["mode"]


def test_a_quantile_from_buckets_is_drawn_as_intervals():
    """Each bin shows its two edges; the open last bucket shows what is at least true."""
    frame = pl.DataFrame(
        {
            "at": [datetime(2026, 1, 1, h) for h in range(4)],
            "p95": pl.Series([None] * 4, dtype=pl.Float64),
            "p95_low": [0.2, None, 60.0, None],
            "p95_high": [0.4, 0.3, None, None],
        }
    )
    picture = quantile_over_time(frame, "p95", "TTFT p95 (s)", LOOK)
    inner, first, marks = picture.figure["data"]
    assert (inner["name"], inner["base"][0], inner["y"][0]) == ("between bucket edges", 0.2, 0.2)
    assert (first["base"][1], first["y"]) == (0.0, [None, 0.3, None, None])
    assert marks["y"] == [None, None, 60.0, None]
    assert [trace["name"] for trace in (first, marks)] == [
        "at most (first bucket)",
        "at least (last bucket)",
    ]
    assert "\u2265 60 s" in picture.summary


@given(low=st.floats(1e-6, 1e6), factors=st.lists(st.floats(1, 1e4), min_size=1, max_size=5))
def test_a_logarithmic_axis_has_labels(low, factors):
    """Also where all its values lie between two powers of ten."""
    values = [low, *(low * factor for factor in factors)]
    made = log_axis("x", values)
    inside = [
        t for t in made.get("tickvals") or [] if min(values) * 0.99 <= t <= max(values) * 1.01
    ]
    spans_powers = max(values) / min(values) > 300
    assert spans_powers or len(inside) >= (2 if max(values) > min(values) * 1.01 else 1)
    assert len(made.get("tickvals") or []) <= 12


def test_the_budget_is_drawn_from_its_first_request_on():
    """A window that reaches back before a trace draws no time before it."""
    at = [datetime(1969, 12, 31, 23), datetime(1970, 1, 1), datetime(1970, 1, 1, 1)]
    frame = pl.DataFrame({"at": at, "budget_left_ratio": [None, 1.0, 0.5]})
    assert budget(frame, LOOK).figure["data"][0]["x"][0] == "1970-01-01T00:00:00"


def test_a_quantity_nobody_reports_is_words():
    """No line at zero for a signal that was never seen."""
    frame = pl.DataFrame({"at": [datetime(2026, 1, 1)], "v": pl.Series([None], dtype=pl.Float64)})
    assert isinstance(over_time(frame, "v", "v (s)", "s", LOOK), str)


def test_times_are_drawn_in_the_display_zone_and_come_back_as_utc():
    """Plotly ignores offsets, so both ways are ours."""
    look = Look(ZoneInfo("Asia/Shanghai"))
    frame = pl.DataFrame({"at": [datetime(2023, 11, 16, 18, 17, 3)]})
    assert times(frame, "at", look) == ["2023-11-17T02:17:03"]
    assert utc_text("2023-11-17 02:17:03.5", look) == "2023-11-16T18:17:03.500Z"


def test_a_relative_clock_ignores_the_display_zone():
    """Day 1 of a trace starts at its first second everywhere."""
    look = Look(ZoneInfo("Asia/Shanghai"), "relative")
    frame = pl.DataFrame({"at": [datetime(1970, 1, 1)]})
    assert times(frame, "at", look) == ["1970-01-01T00:00:00"]


def test_an_overspent_budget_is_not_clamped():
    """Minus 36 % is drawn and said as overspent."""
    frame = pl.DataFrame(
        {"at": [datetime(2026, 1, d) for d in (1, 2)], "budget_left_ratio": [1.0, -0.36]}
    )
    picture = budget(frame, LOOK)
    assert picture.figure["layout"]["yaxis"]["range"][0] < -0.36
    assert "overspent by 36.0 %" in picture.summary


def test_a_budget_that_goes_is_drawn_until_it_is_gone():
    """Dashed and shaded behind now, named, and said in words."""
    frame = pl.DataFrame(
        {
            "at": [datetime(2026, 1, d) for d in (1, 2, 4)],
            "budget_left_ratio": [1.0, 0.4, None],
            "projected_ratio": [None, 0.4, 0.0],
        }
    )
    picture = budget(frame, LOOK)
    ahead = picture.figure["data"][1]
    assert (ahead["x"][-1], ahead["y"], ahead["fill"]) == (
        "2026-01-04T00:00:00", [0.4, 0.0], "tozeroy",
    )  # fmt: skip
    assert (
        "40.0 % left at its end; at the pace of the last 6 hours gone by 4 Jan" in picture.summary
    )


def test_a_threshold_curve_marks_the_objective_and_what_it_wants():
    """Where it is, and from which threshold on the target would be met."""
    frame = pl.DataFrame(
        {
            "threshold_seconds": [0.25, 0.5, 1.0],
            "attainment_ratio": [0.9, 0.992, 0.9995],
            "is_objective": [False, True, False],
        }
    )
    picture = thresholds(frame, LOOK, target_ratio=0.999)
    assert picture.figure["data"][1]["text"] == ["500 ms: 99.20 %"]
    assert picture.figure["layout"]["shapes"][0]["y0"] == 0.999
    assert "99.20 % at its own, 500 ms; 99.90 % would be met at 1 s" in picture.summary


def test_burn_lines_are_those_of_the_objective_s_own_alerts():
    """A line nobody is called at would be a lie."""
    frame = pl.DataFrame({"at": [datetime(2026, 1, 1)], "burn_1h": [2.0]})
    picture = burn(frame, LOOK, alert_lines=(9.0, 2.0))
    assert [shape["y0"] for shape in picture.figure["layout"]["shapes"]] == [9.0, 2.0]
    assert "9\N{MULTIPLICATION SIGN}" in picture.figure["layout"]["yaxis"]["ticktext"]


def test_starts_are_spread_by_group_and_marked_where_the_first_token_came(fake):
    """One row a group, never pooled; a first token long after is left to the table."""
    frames = fake.view("cold_starts", {}).frames
    groups, starts = frames["groups"], frames["starts"]
    rows = spread(starts, groups).figure["data"]
    assert len(set(rows[0]["y"])) == groups.drop_nulls("ready_p50_seconds").height
    assert [trace["name"] for trace in rows] == ["a start", "median", "p95, the lead time"]
    longest = float((frames["segments"]["start_seconds"] + frames["segments"]["seconds"]).max())
    told = starts.with_row_index("n").with_columns(
        warm_seconds=pl.when(pl.col("n") == 0).then(longest * 9).otherwise(longest)
    )
    marks = stack(frames["segments"], LOOK, told).figure["data"][-1]
    assert marks["name"] == "first token"
    assert set(marks["x"]) == {longest}


def test_one_hour_of_data_makes_no_week():
    """A profile is refused while it would be a single cell."""
    frame = pl.DataFrame({"weekday": [3], "hour": [18], "requests_per_second": [5.5]})
    assert isinstance(week_profile(frame, LOOK), str)


def test_sparklines_need_two_values_and_break_at_gaps():
    """One number is no course; a gap lifts the pen."""
    assert sparkline([1.0]) is None
    picture = sparkline([1.0, 2.0, None, 1.0, 3.0])
    assert picture.startswith("data:image/svg+xml,")
    assert picture.count("M") >= 2


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [BLUE, VERMILION, GREEN, PURPLE, GREY, SPARK])
@pytest.mark.parametrize("card", [LIGHT_CARD, DARK_CARD])
def test_every_series_colour_is_seen_in_both_themes(colour, card):
    """Graphics need 3:1 against what is behind them (WCAG 1.4.11)."""
    high, low = sorted((_luminance(colour), _luminance(card)), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 3


class TestLatency:
    """Figures of the latency and cold start pages."""

    AT = (datetime(2026, 1, 31, 12, 0), datetime(2026, 1, 31, 12, 10))

    def quantiles(self, **values):
        from analysis.anatomy_scraped import QUANTILES_SCHEMA

        rows = [{"at": at, "requests": 9.0, **values} for at in self.AT]
        return pl.DataFrame(rows, schema=QUANTILES_SCHEMA)

    def heat(self, cells, quantiles, objectives=()):
        from analysis.anatomy_scraped import HEATMAP_SCHEMA
        from dashboard.figures.latency_heat import heatmap

        frame = pl.DataFrame(cells, schema=HEATMAP_SCHEMA, orient="row")
        named = pl.DataFrame(
            list(objectives), schema={"name": pl.String, "threshold_seconds": pl.Float64},
            orient="row",
        )  # fmt: skip
        return heatmap(frame, quantiles, named, "E2E (s)", Look())

    def test_a_bin_without_requests_is_a_column_of_its_own(self):
        """An hour of silence is not drawn as if the last bin had lasted."""
        far = datetime(2026, 1, 31, 13, 0)
        cells = [(at, 1.0, 2.0, 5.0) for at in (*self.AT, far)]
        picture = self.heat(cells, self.quantiles(p50_seconds=1.5))
        assert len(picture.figure["data"][0]["x"]) == 7
        assert picture.figure["data"][0]["z"][0][3] is None

    def test_a_wide_bucket_fills_all_rows_it_covers(self):
        """Where layouts of buckets differ, a coarse one covers what it spans and no more."""
        first, second = self.AT
        cells = [(first, 1.0, 2.0, 9.6), (first, 2.0, 4.0, 85.0), (second, 1.0, 4.0, 850.0)]
        trace = self.heat(cells, self.quantiles()).figure["data"][0]
        assert trace["y"] == [1.0, 2.0, 4.0]
        assert trace["customdata"] == [[10, 850], [85, 850]]
        assert trace["z"] == [[1.13, 3.08], [2.08, 3.08]]

    def test_a_quantile_from_buckets_is_two_lines_never_one(self):
        """Both edges are drawn; the summary gives the interval."""
        ends = {
            f"{name}_seconds_{side}": value
            for name in ("p50", "p95", "p99")
            for side, value in (("low", 1.0), ("high", 2.0))
        }
        picture = self.heat([(at, 1.0, 2.0, 5.0) for at in self.AT], self.quantiles(**ends))
        lines = [trace for trace in picture.figure["data"] if trace["type"] == "scatter"]
        assert len(lines) == 6
        assert "1 \N{EN DASH} 2 s" in picture.summary

    def test_the_objective_stands_on_its_line(self):
        """A logarithmic axis wants the logarithm for labels."""
        cells = [(at, 0.25, 0.5, 5.0) for at in self.AT]
        picture = self.heat(cells, self.quantiles(p50_seconds=0.3), [("fast", 0.1)])
        assert picture.figure["layout"]["annotations"][0]["y"] == pytest.approx(-1.0)
        assert picture.figure["layout"]["shapes"][0]["y0"] == 0.1

    def test_unattributed_time_is_stacked_even_when_negative(self):
        """It is shown as it is; phases nobody knows have no bar."""
        from dashboard.figures import latency

        frame = pl.DataFrame(
            {
                "at": list(self.AT),
                "queue_seconds": [1.0, 1.0],
                "prefill_seconds": [None, None],
                "first_token_seconds": [None, None],
                "decode_seconds": [2.0, 2.0],
                "unattributed_seconds": [-0.5, 0.5],
                "e2e_seconds": [2.5, 3.5],
                "requests": [1, 1],
            },
            schema_overrides={"prefill_seconds": pl.Float64, "first_token_seconds": pl.Float64},
        )
        picture = latency.stack(frame, Look())
        names = [trace["name"] for trace in picture.figure["data"]]
        assert names == ["queue", "decode", "unattributed"]
        assert picture.figure["layout"]["barmode"] == "relative"

    def test_each_phase_of_a_start_is_told_with_its_witness(self):
        """The hover says who said so; the newest start is at the top."""
        from analysis.cold_start_frames import SEGMENTS_SCHEMA
        from dashboard.figures import cold_starts

        rows = [
            ("b", "b:1", self.AT[1], "weights", 0.0, 5.0, "log"),
            ("b", "b:1", self.AT[1], "unattributed", 5.0, 1.0, None),
            ("a", "a:1", self.AT[0], "weights", 0.0, 9.0, "span"),
        ]
        frame = pl.DataFrame(rows, schema=SEGMENTS_SCHEMA, orient="row")
        picture = cold_starts.stack(frame, Look())
        weights = picture.figure["data"][0]
        assert weights["customdata"] == ["5 s, by log", "9 s, by span"]
        assert picture.figure["layout"]["yaxis"]["categoryarray"][0].startswith("b:1")
