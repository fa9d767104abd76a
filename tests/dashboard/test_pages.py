"""Pages: complete, linked, and showing only what they were handed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import pytest

from analysis.measure import Empty
from analysis.views import VIEWS
from dashboard.cards import Slot, Unshown, grid
from dashboard.controls import (
    age_words,
    filters,
    refresh_seconds,
    share_search,
    time_controls,
)
from dashboard.navigation import NAVIGATION
from dashboard.panels import answer
from dashboard.range_words import range_words
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.shell import navigation
from dashboard.tables import ROW_LIMIT, table
from dashboard.url_state import parse
from store.errors import InputError

PATHS = ["/ui/", "/ui/slo", "/ui/slo/chat-ttft", "/ui/admin", "/ui/workload"]
PATHS += [
    "/ui/fairness",
    "/ui/latency",
    "/ui/cold-starts",
    "/ui/predictors",
    "/ui/controller",
    "/ui/what-if",
    "/ui/reports",
    "/ui/reports/weekly",
    "/ui/reports/new",
]
PATHS += [
    f"/ui/workload/{tab}"
    for tab in (
        "burstiness",
        "lengths",
        "clients",
        "sessions",
        "prefix",
        "failures",
        "compare",
        "export",
    )
]
TRACES = "?source=azure-2023-conv,azure-2023-code"


def words(component) -> str:
    """A component as strict JSON."""
    return json.dumps(component, default=lambda c: c.to_plotly_json(), ensure_ascii=False)


def scene_at(fake, path, search=""):
    """The scene of an address."""
    return scene_of(fake.services(), parse(path, search, "/ui/"), "/ui/")


def drawn(fake, path, search=""):
    """All panels of a page, as JSON text."""
    services, scene = fake.services(), scene_at(fake, path, search)
    page = page_of(scene.address)
    parts = [list(page.top(scene))] if page.top else []
    parts += [answer(panel, scene, services, None, beat=False)[0] for panel in page.panels]
    return words(parts)


@pytest.fixture(params=PATHS)
def page_text(request, fake):
    """Every page, drawn."""
    return drawn(fake, request.param)


def test_no_page_leads_nowhere(page_text, fake):
    """Every link inside the dashboard has a page at its other end."""
    links = re.findall(r'"href": "(/ui/[^"]*)"', page_text)
    for link in links:
        path, _, search = link.partition("?")
        address = parse(path, search, "/ui/")
        assert page_of(address) is not None, link


def test_every_id_is_there_once(page_text):
    """Two equal ids would send numbers to the wrong card."""
    ids = re.findall(r'"id": (\{[^}]*\}|"[^"]*")', page_text)
    assert len(ids) == len(set(ids))


def test_every_picture_has_a_sentence(page_text):
    """Charts are images with words for those who do not see them."""
    graphs = page_text.count('"type": "Graph"')
    labelled = len(re.findall(r'"role": "img"[^}]*', page_text))
    assert labelled >= graphs


@pytest.mark.parametrize("path", PATHS)
def test_pages_ask_only_for_views_that_exist(path, fake):
    """A page names views of the one list everybody uses."""
    drawn(fake, path)
    assert {name for name, _ in fake.asked} <= set(VIEWS)
    for name, options in fake.asked:
        assert set(options) <= set(VIEWS[name].options)


def test_numbers_have_addresses_in_the_api(fake):
    """CSV and JSON of a chart carry the same scope as the page."""
    text = drawn(fake, "/ui/slo/chat-ttft", "?from=now-1h&model=m&refresh=5")
    assert "/api/v1/views/slo_detail/burn?from=now-1h&model=m&slo=chat-ttft&format=csv" in text


def test_a_table_stands_in_for_its_chart_when_the_address_says_so(fake):
    """The table toggle is part of the address, so a link shows the same."""
    chart = drawn(fake, "/ui/workload", TRACES)
    as_table = drawn(fake, "/ui/workload", TRACES + "&table=rate")
    assert chart.count('"type": "Graph"') == as_table.count('"type": "Graph"') + 1
    assert "Chart: How many requests arrive?" in as_table


def test_what_cannot_be_drawn_is_listed_instead_of_an_empty_box(fake):
    """An hour of data has no week; the page says so in one line."""
    text = drawn(fake, "/ui/workload", TRACES)
    assert "Not shown for this data" in text
    assert "at least two days" in text


def test_the_export_links_carry_scope_and_format(fake):
    """A download is of what is on the page."""
    text = drawn(fake, "/ui/workload/export", TRACES)
    for key in ("mooncake", "azure", "burstgpt", "parquet"):
        assert (
            f"/api/v1/export/requests?source=azure-2023-conv,azure-2023-code&format={key}" in text
        )


def test_the_budget_has_what_happened_in_its_own_window(fake, monkeypatch):
    """Its chart reaches back thirty days: what happened there is asked for over as long."""
    plain, lengths = fake.view, []

    def noting(name, params, **options):
        if name == "happenings" and "from" in params:
            start, end = (datetime.fromisoformat(params[key]) for key in ("from", "to"))
            lengths.append(end - start)
        return plain(name, params, **options)

    monkeypatch.setattr(fake, "view", noting)
    drawn(fake, "/ui/slo/chat-ttft")
    assert lengths == [timedelta(days=30)]


@pytest.mark.parametrize("path", ["/ui/", "/ui/slo", "/ui/slo/chat-ttft", "/ui/admin"])
def test_trouble_colours_what_is_said_first(fake, path):
    """The eye finds it before it is read; the words say it too."""
    assert "ss-verdict tone-bad" in drawn(fake, path)


def test_an_export_may_be_thinned_and_sped_up(fake):
    """What is chosen is in every link that can honour it; Parquet says why it does not."""
    text = drawn(fake, "/ui/workload/export", "?source=azure-2023-conv&keep=0.1&speed=2")
    assert "format=azure&keep=0.1&speed=2" in text
    assert "format=parquet" not in text
    assert "Its first line says how it was changed." in text


def test_two_periods_are_compared_as_two_traces_are(fake):
    """The range before is a choice beside the sources; until one is made nothing is asked."""

    def view(name, params, **options):
        raise InputError("nothing to compare")

    fake.view = view
    text = drawn(fake, "/ui/workload/compare", "?source=azure-2023-conv")
    assert "the period before" in text
    assert "against=previous" in text


def test_choices_of_a_comparison_stay_where_the_other_side_has_nothing(fake):
    """Whoever chose a side without data, or one that fails, chooses another one there."""
    search = "?source=azure-2023-conv&against=azure-2023-code"
    fake.empty = Empty("no_traffic", "azure-2023-code has no request in this range.")
    text = drawn(fake, "/ui/workload/compare", search)
    assert "azure-2023-code has no request in this range." in text
    assert "against=previous" in text
    fake.empty, fake.failing = None, InputError("too long a range", hint="choose a shorter one")
    text = drawn(fake, "/ui/workload/compare", search)
    assert "against=previous" in text


def test_what_a_view_left_out_is_said_on_its_tab(fake):
    """A sentence of the view reaches the page, and a refresh renews it."""
    inner = fake.view

    def view(name, params, **options):
        found = inner(name, params, **options)
        return replace(found, sentences=("7 requests name no client",))

    fake.view = view
    text = drawn(fake, "/ui/workload/clients", TRACES)
    assert "7 requests name no client." in text
    assert "notes-workload_clients" in text


def test_a_trace_leads_to_the_tool_that_shows_it(fake):
    """Ids of traces are written without dashes there; without a tool the id stands alone."""
    address = parse("/ui/latency", "?request=r1", "/ui/")
    services = replace(fake.services(), trace_url="https://jaeger.example/trace/{trace_id}")
    scene = scene_of(services, address, "/ui/")
    panel = page_of(address).panels[0]
    text = words(answer(panel, scene, services, None, beat=False)[0])
    assert "https://jaeger.example/trace/0d8ece26786e9ae30a616f91238539f4" in text
    plain = words(answer(panel, scene, fake.services(), None, beat=False)[0])
    assert "jaeger" not in plain
    assert "0d8ece26-786e-9ae3-0a61-6f91238539f4" in plain


def test_an_objective_with_an_odd_name_is_found(fake):
    """Slashes and spaces in a name survive the address."""
    scene = scene_at(fake, "/ui/slo/a%2Fb%20c")
    assert scene.address.path == ("slo", "a/b c")
    assert page_of(scene.address).panels[0].options(scene.address) == {"slo": "a/b c"}


def test_pages_to_come_say_so_and_are_no_links(fake):
    """A disabled entry has its reason and nothing to click."""
    text = words(navigation(scene_at(fake, "/ui/")))
    for _, items in NAVIGATION:
        for item in items:
            if item.path is None:
                assert item.comes_with in text
    assert text.count('"href"') == sum(
        item.path is not None for _, items in NAVIGATION for item in items
    )


def test_navigation_keeps_the_filters(fake):
    """Going to another page does not lose the question."""
    text = words(navigation(scene_at(fake, "/ui/", "?model=m&from=now-1h&table=rate")))
    assert "/ui/slo?model=m&from=now-1h" in text
    assert "table=rate" not in text


def test_choosing_a_source_of_another_clock_forgets_the_old_range(fake):
    """Live and trace time are never mixed."""
    text = words(filters(scene_at(fake, "/ui/", "?from=now-1h&model=m"), {"model": ["m"]}))
    assert '"href": "/ui/?source=burst"' in text


def test_traces_of_one_clock_can_be_shown_together(fake):
    """The two Azure traces share their clock."""
    text = words(filters(scene_at(fake, "/ui/", "?source=azure-2023-conv"), {}))
    assert "source=azure-2023-conv,azure-2023-code" in text


@pytest.mark.parametrize(
    ("search", "text"),
    [
        ("", "Last 6 hours · UTC"),
        ("?from=now-24h", "Last 24 hours · UTC"),
        (
            "?source=burst&from=1970-01-03T00:00:00Z&to=1970-01-03T12:00:00Z",
            "trace time, day 3 of 122",
        ),
        ("?source=burst", "trace time, all 122 days"),
        ("?source=burst&from=now-1h", "trace time, last hour, days 121 to 122 of 122"),
        (TRACES, "trace time, 16 Nov 2023 18:17 to 19:16 · UTC"),
        (
            "?from=2026-11-20T09:00:00Z&to=2026-11-20T10:30:00Z&tz=Europe/Berlin",
            "20 Nov 10:00 to 11:30 · Europe/Berlin",
        ),
        ("?from=nonsense", "range not understood"),
    ],
)
def test_the_range_is_said_in_words(fake, search, text):
    """The picker says which time is shown, and in which clock."""
    assert range_words(scene_at(fake, "/ui/", search)) == text


def test_a_trace_says_what_now_means_there(fake):
    """Presets are of the trace, and its last record is named."""
    text = words(time_controls(scene_at(fake, "/ui/", "?source=burst")))
    assert "Last hour of the trace" in text
    assert "Now is its last record: day 122 00:00:00." in text
    assert "Now is its" not in words(time_controls(scene_at(fake, "/ui/")))


def test_the_range_of_young_live_data_is_said_as_it_is(fake):
    """Twenty minutes of data are not called six hours, and no preset is ticked."""
    scene = scene_at(fake, "/ui/")
    young = replace(scene, scope=replace(scene.scope, start=fake.now - timedelta(minutes=20)))
    assert range_words(young) == "since 11:40, 20 min · UTC"
    assert '"aria-current": "true"' not in words([time_controls(young)[0]]).split("now-30d")[0]


def test_a_range_beyond_its_trace_shows_only_the_trace(fake):
    """An hour asked of a short trace draws no bins before its first or after its last record."""
    scene = scene_at(fake, "/ui/", "?source=burst")
    end = scene.sources[0].last_at.replace(tzinfo=None)
    at = [end + timedelta(days=days) for days in (-200, -100, 0, 1, 100)]
    kept = scene.clipped(pl.DataFrame({"at": at, "value": [1.0] * 5}))
    assert kept["at"].to_list() == [*at[1:4]]


@pytest.mark.parametrize(
    ("search", "seconds"),
    [("", 10), ("?refresh=5", 5), ("?refresh=off", 0), ("?refresh=1", 10), ("?source=burst", 0)],
)
def test_refresh_is_live_only_unless_asked(fake, search, seconds):
    """A trace does not move; an odd interval falls back."""
    assert refresh_seconds(scene_at(fake, "/ui/", search)) == seconds


def test_a_shared_link_has_absolute_times(fake):
    """What I send tomorrow shows what I saw today."""
    link = share_search(scene_at(fake, "/ui/slo", "?from=now-1h&model=m"))
    assert "now" not in link
    assert "from=2026-11-20T11:00:00" in link
    assert "model=m" in link


def test_no_live_sample_is_not_green(fake):
    """Silence is not health."""
    fake.newest_at = None
    text = words(age_words(scene_at(fake, "/ui/"), fake.services().data_age()))
    assert "no sample yet from 6 targets" in text
    assert "is-fresh" not in text


def test_time_choices_are_addresses(fake):
    """Presets and zone are links that keep everything else."""
    text = words(time_controls(scene_at(fake, "/ui/", "?model=m")))
    assert "/ui/?model=m&from=now-24h" in text
    assert "tz=browser" in text
    assert text.count('"aria-current": "true"') == 3  # six hours, UTC, every 10 s


def test_a_row_of_cards_leaves_no_hole():
    """The last card of a row takes what is left."""
    from dash import html

    made = grid(
        Slot(html.Section(), 6), Slot(html.Section(), 4), Slot(html.Section(), 8), Unshown("x", "y")
    )
    spans = [re.search(r"span-(\d+)", card.className)[1] for card in made.children]
    assert spans == ["6", "6", "12", "12"]


def test_a_long_table_says_what_it_leaves_out(fake):
    """Rows are capped, and the cap is said."""
    import polars as pl

    frame = pl.DataFrame({"turns": list(range(ROW_LIMIT + 5))})
    assert f"{ROW_LIMIT} of {ROW_LIMIT + 5} rows" in words(table(frame, scene_at(fake, "/ui/")))


def test_bucket_edges_become_one_column(fake):
    """p95 from buckets is one cell with an interval, unknown a dash."""
    import polars as pl

    frame = pl.DataFrame(
        {"ttft_p95_seconds_low": [0.2, None, None], "ttft_p95_seconds_high": [0.4, 0.3, None]}
    )
    text = words(table(frame, scene_at(fake, "/ui/")))
    assert "200 \u2013 400 ms" in text
    assert "\u2264 300 ms" in text
    assert text.count("TTFT p95") == 1


def test_what_histograms_cannot_say_is_listed(fake, fakes, monkeypatch):
    """Over engines that send no request rows the latency page says what it lacks."""
    made = fakes.MAKERS["latency"]

    def from_buckets(scope, rng, names):
        told = made(scope, rng, names)
        shown = told["frames"]["shown"].with_columns(basis=pl.lit("buckets"))
        return {**told, "frames": {**told["frames"], "shown": shown}}

    monkeypatch.setitem(fakes.MAKERS, "latency", from_buckets)
    text = drawn(fake, "/ui/latency")
    assert "a histogram has no ranks" in text
    assert "two histograms do not say which values met" in text


def test_a_request_is_opened_and_closed_by_the_address(fake):
    """The waterfall belongs to the address; leaving the page forgets it."""
    text = drawn(fake, "/ui/latency", "?request=1:1790000000000000:7&sort=-ttft_seconds")
    assert "Where did the time of this request go?" in text
    assert '"href": "/ui/latency?sort=-ttft_seconds"' in text  # Close
    scene = scene_at(fake, "/ui/latency", "?request=1:2:3&quantity=ttft&model=m")
    assert scene.link("slo") == "/ui/slo?model=m"


def test_columns_sort_both_ways_and_begin_at_the_first_page(fake):
    """A second click on a head turns the order round."""
    text = drawn(fake, "/ui/latency", "?sort=-e2e_seconds&page=2")
    assert "/ui/latency?sort=e2e_seconds" in text
    assert "/ui/latency?sort=-ttft_seconds" in text
    assert '"Page 2 of 3"' in text
    assert "status=failed" in text
