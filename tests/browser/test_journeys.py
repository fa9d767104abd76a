"""What people do: click, filter, zoom, go back, share, and meet a failing server."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from store.errors import QueryTimeout

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TRACES = "?source=azure-2023-conv,azure-2023-code"
MARK = "window.servescopeStill = true"
GREYED = "Number(getComputedStyle(document.querySelector('.ss-panel > *')).opacity)"
STILL = "window.servescopeStill === true"


def test_links_change_the_page_without_a_reload_and_back_returns(visit):
    """Navigation is instant, the history is the browser's own."""
    visitor = visit()
    visitor.open("/ui/?from=now-1h")
    page = visitor.page
    page.evaluate(MARK)
    page.get_by_role("link", name="SLOs", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("SLOs")
    assert page.url.endswith("/ui/slo?from=now-1h")
    page.get_by_role("link", name="chat-ttft", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("SLO · chat-ttft")
    visitor.settled()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("SLOs")
    expect(page.get_by_role("link", name="chat-ttft", exact=True)).to_be_visible()
    assert page.evaluate(STILL)
    assert visitor.troubles == []


def test_tabs_draw_their_own_charts(visit):
    """From Arrivals to Lengths in one click."""
    visitor = visit()
    visitor.open(f"/ui/workload{TRACES}")
    visitor.page.get_by_role("navigation", name="Workload").get_by_role(
        "link", name="Lengths"
    ).click()
    expect(visitor.page.get_by_role("heading", name="How long are the prompts?")).to_be_visible()
    assert visitor.page.url.endswith(f"/ui/workload/lengths{TRACES}")
    visitor.settled()
    assert visitor.troubles == []


def test_a_chart_turns_into_its_table_and_a_link_shows_the_same(visit):
    """The toggle lives in the address; `t` does the same for the card under the pointer."""
    visitor = visit()
    visitor.open(f"/ui/workload{TRACES}")
    page = visitor.page
    page.get_by_role("link", name="Table: How many requests arrive?").click()
    expect(page.get_by_role("columnheader", name="Requests/s").first).to_be_visible()
    assert "table=rate" in page.url
    page.reload()
    expect(page.get_by_role("columnheader", name="Requests/s").first).to_be_visible()
    visitor.settled()  # a panel above that is drawn later moves the card away from the pointer
    page.locator("#card-rate").hover()
    page.keyboard.press("t")
    expect(page.get_by_role("link", name="Table: How many requests arrive?")).to_be_visible()
    assert "table=" not in page.url


def test_filters_are_menus_of_links(visit):
    """Choosing a model narrows the page; the menu closes with Escape."""
    visitor = visit()
    visitor.open("/ui/")
    page = visitor.page
    page.locator("#shell-menu-model summary").click()
    page.locator("#shell-menu-model").get_by_role("link", name="qwen3-32b").click()
    page.wait_for_url("**model=qwen3-32b*")
    expect(page.locator("#shell-menu-model summary")).to_contain_text("qwen3-32b")
    page.locator("#shell-menu-tenant summary").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="acme")).to_be_hidden()


def test_any_range_can_be_typed(visit):
    """The range form keeps the other parameters."""
    visitor = visit()
    visitor.open("/ui/?model=qwen3-32b")
    page = visitor.page
    page.locator("#shell-menu-time summary").click()
    page.locator("#shell-from").fill("now-2h")
    page.locator("#shell-to").fill("now-1h")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**from=now-2h*")
    assert "to=now-1h" in page.url
    assert "model=qwen3-32b" in page.url
    csv = page.get_by_role("link", name="CSV: How much is asked of the fleet?")
    expect(csv).to_have_attribute("href", re.compile("from=now-2h&to=now-1h"))


def test_the_zone_of_the_browser_moves_figures_and_words_alike(visit):
    """A browser in Shanghai: the picker names the zone, the axis is in it."""
    visitor = visit(timezone_id="Asia/Shanghai")
    visitor.open("/ui/")
    page = visitor.page
    page.locator("#shell-menu-time summary").click()
    page.get_by_role("link", name="Zone of this browser").click()
    page.wait_for_url("**tz=Asia*Shanghai*")
    expect(page.locator("#shell-menu-time summary")).to_contain_text("Asia/Shanghai")
    expect(page.locator("#card-rate .xtitle")).to_have_text("Asia/Shanghai")
    first = page.evaluate("document.querySelector('#card-rate .js-plotly-plot').data[0].x[0]")
    assert first == "2026-11-20T14:00:00"


def test_dragging_over_a_time_axis_moves_the_whole_page(visit):
    """The range under the pointer becomes the page's range, and back undoes it."""
    visitor = visit()
    visitor.open("/ui/")
    page = visitor.page
    box = page.locator("#card-rate .nsewdrag").first.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.25, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=6)
    page.mouse.up()
    page.wait_for_url(re.compile("from=2026-11-20T07:.*to=2026-11-20T0[89]:"))
    page.go_back()
    expect(page.locator("#shell-menu-time summary")).to_contain_text("Last 6 hours")


def test_a_bar_of_who_spent_it_shows_that_part_alone(visit):
    """A press on it is as good as the link below, and adds the filter to the address."""
    visitor = visit()
    visitor.open("/ui/slo/chat-ttft?refresh=off")
    page = visitor.page
    box = page.locator("#card-spent .bars .point path").last.bounding_box()
    middle = (box["x"] + 30, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.click(*middle)
    page.wait_for_url(re.compile("model=llama-3.3-70b"))
    assert visitor.troubles == []


def test_one_crosshair_runs_through_all_time_charts(visit):
    """What happened elsewhere at the moment under the pointer is seen at once."""
    visitor = visit()
    visitor.open("/ui/?refresh=off")
    page = visitor.page
    box = page.locator("#card-rate .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    expect(page.locator(".ss-crosshair")).to_have_count(5)
    page.locator("h1").hover()
    expect(page.locator(".ss-crosshair")).to_have_count(0)
    assert visitor.troubles == []


def test_a_failing_query_keeps_the_picture_and_retry_brings_it_back(visit, served):
    """Greyed, with its age, the cause and a button."""
    visitor = visit()
    visitor.open("/ui/?refresh=off")
    page = visitor.page
    served.fake.failing = QueryTimeout(
        "the query passed its limit of 10 s", hint="choose a shorter range"
    )
    page.locator("#shell-menu-time summary").click()
    page.get_by_role("link", name="Last 30 days").click()
    expect(page.get_by_role("alert").first).to_contain_text("passed its limit of 10 s")
    assert page.evaluate(GREYED) < 1
    assert page.locator(".ss-graph .main-svg").count() > 0
    served.fake.failing = None
    page.get_by_role("button", name="Retry").first.click()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert page.evaluate(GREYED) == 1


def test_each_chart_is_drawn_in_a_task_of_its_own(visit):
    """Between two charts keys and pointers are answered; a chart that fails holds up no other."""
    visitor = visit()
    visitor.open("/ui/workload?refresh=off")
    drawn = visitor.page.evaluate(
        """async () => {
          const places = [0, 1].map(() => document.body.appendChild(document.createElement('div')));
          const charts = places.map(place => Plotly.react(place, [{y: [1, 2]}]));
          const broken = Plotly.react(document.body.appendChild(document.createTextNode('')), []);
          const last = Plotly.react(document.body.appendChild(document.createElement('div')), []);
          await charts[0];
          const soon = places.map(place => Boolean(place.querySelector('.main-svg')));
          await charts[1];
          await broken.catch(() => soon.push('failed'));
          return [...soon, Boolean(places[1].querySelector('.main-svg')), Boolean(await last)];
        }"""
    )
    assert drawn == [True, False, "failed", True, True]
    assert not visitor.troubles


def test_a_refresh_neither_blinks_nor_loses_an_open_menu(visit, served):
    """New numbers arrive in the same plot."""
    visitor = visit()
    visitor.open("/ui/?refresh=off")
    page = visitor.page
    page.evaluate("document.querySelector('#card-rate .js-plotly-plot').dataset.mine = 'yes'")
    page.locator("#card-rate summary.ss-i").click()
    served.fake.now += timedelta(minutes=1)
    try:
        page.evaluate("dash_clientside.set_props('shell-pulse', {data: 7})")
        page.wait_for_function(
            "document.querySelector('#card-rate .js-plotly-plot')"
            ".data[0].x[0] === '2026-11-20T06:01:00'"
        )
    finally:
        served.fake.now -= timedelta(minutes=1)
    assert page.locator("#card-rate .js-plotly-plot").get_attribute("data-mine") == "yes"
    expect(page.locator("#card-rate .ss-i + .ss-about")).to_be_visible()


def test_the_theme_is_the_one_thing_the_browser_keeps(visit):
    """Dark stays dark after a reload, and figures follow without being sent again."""
    visitor = visit("light")
    visitor.open("/ui/")
    page = visitor.page
    colour = "getComputedStyle(document.querySelector('#card-rate .xtick text')).fill"
    light = page.evaluate(colour)
    page.locator("#shell-theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate(colour) != light
    page.reload()
    visitor.settled()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert (
        page.evaluate("Object.keys(localStorage).filter(k => k !== 'servescope-theme').length") == 0
    )


def test_help_and_share_answer(visit):
    """`?` explains keys and words; Share says that it copied."""
    visitor = visit(permissions=["clipboard-read", "clipboard-write"])
    visitor.open("/ui/slo")
    page = visitor.page
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("time to first token")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Share").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(visitor.url + "/ui/slo?source=live&from=2026-11-20T06:00:00")


def test_the_first_run_loads_the_example_only_when_asked(visit, served):
    """The button works, and nothing happens by itself."""
    from analysis.measure import Empty

    served.fake.empty = Empty("nothing_connected", "No source yet.")
    before = served.fake.loaded
    visitor = visit()
    visitor.open("/ui/")
    steps = visitor.page.get_by_role("navigation", name="First steps").get_by_role("listitem")
    expect(steps).to_have_count(3)
    expect(steps.first).to_contain_text("Choose a source (to do)")
    visitor.page.wait_for_timeout(300)
    assert served.fake.loaded == before
    visitor.page.get_by_role("button", name="Load the example trace").click()
    expect(visitor.page.locator("#shell-said")).to_have_text("28,185 requests loaded")
    assert served.fake.loaded == before + 1


MAIN = ".ss-panel-frame[data-spot=fleet-main]"


def test_the_loading_bar_waits_a_moment(visit, served):
    """A quick answer shows no bar; a slow one does, over the old picture."""
    visitor = visit()
    visitor.open("/ui/?refresh=off")
    page = visitor.page
    served.fake.slow_seconds = 0.9
    page.evaluate("dash_clientside.set_props('shell-pulse', {data: 9})")
    page.wait_for_selector(f"{MAIN}.is-loading")
    assert page.locator(".ss-graph .main-svg").count() > 0
    page.wait_for_selector(f"{MAIN}:not(.is-loading)")


def test_the_clock_does_not_take_the_place_of_an_act(visit, served):
    """A refresh that falls due as somebody presses waits for the answer, then goes on."""
    visitor = visit()
    visitor.open("/ui/latency?request=4711")
    asked = [name for name, _ in served.fake.asked].count("latency_request")
    due = "servescope.pulse(7) === 7 && dash_clientside.set_props('shell-pulse', {data: 7})"
    visitor.looks_again(then=due)
    visitor.page.wait_for_function("servescope.pulse(7) === 7")
    # One request does not follow the clock: only an act looks at it again.
    assert [name for name, _ in served.fake.asked].count("latency_request") == asked + 1


def test_who_has_waited_for_ten_seconds_may_stop(visit, served):
    """The clock of the page is turned on; the picture stays, and nothing is an error."""
    visitor = visit()
    visitor.page.clock.install()
    visitor.page.goto(f"{visitor.url}/ui/?refresh=off")
    page = visitor.page
    expect(page.locator("#card-rate .main-svg").first).to_be_visible()
    expect(page.locator(".is-loading")).to_have_count(0)
    served.fake.hold()
    try:
        page.locator("#shell-menu-model summary").click()
        page.locator("#shell-menu-model").get_by_role("link", name="qwen3-32b").click()
        stop = page.locator("[data-spot=fleet-main]").get_by_role("button", name="Stop waiting")
        page.clock.fast_forward(9_000)
        expect(page.locator("[data-spot=fleet-main].is-loading")).to_be_visible()
        expect(stop).to_have_count(0)
        page.clock.fast_forward(2_000)
        stop.click()
        expect(stop).to_have_count(0)
        expect(page.locator("#card-rate .main-svg").first).to_be_visible()
        expect(page.locator("#shell-said")).to_contain_text("Stopped waiting")
    finally:
        served.fake.let_go()
    assert visitor.troubles == []


def test_engines_of_this_machine_are_looked_for_only_when_asked(visit, served):
    """A press lists what answers; another press watches it, by the door that programs take."""
    from analysis.measure import Empty

    served.fake.empty = Empty("nothing_connected", "No source yet.", None)
    visitor = visit()
    page = visitor.page
    asked = []
    page.route("**/api/v1/targets", lambda route: (
        asked.append(route.request.post_data_json), route.fulfill(status=201, json={}),
    ))  # fmt: skip
    visitor.open("/ui/")
    expect(page.get_by_text("vllm at")).to_have_count(0)
    page.get_by_role("button", name="Look on this machine").click()
    page.get_by_role("button", name="Watch vllm at http://127.0.0.1:8000").click()
    expect(page.get_by_role("button", name="Watch vllm")).to_have_text("Watched")
    assert asked == [{"url": "http://127.0.0.1:8000"}]
    assert visitor.troubles == []
