"""Who is slower than usual: from the verdict to the suspects of an earlier incident."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from analysis.measure import Empty

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_from_who_is_slow_to_the_suspects_of_an_earlier_incident(visit, scheme):
    visitor = visit(scheme)
    visitor.open("/ui/degradation")
    page = visitor.page
    expect(page.locator(".ss-verdict").first).to_contain_text("gpu-1:8000 takes 1.7 times")
    expect(page.locator("#card-suspects")).to_contain_text("Processes that want to run")
    card = page.locator("#card-incidents")
    card.locator("tr", has_text="GPU clock").get_by_role("link").click()
    expect(page.locator("#card-suspects")).to_contain_text("What may have slowed gpu-2:8000?")
    expect(page.locator("#card-suspects")).to_contain_text("GPU held back")
    assert "incident=gpu-2" in page.url
    assert visitor.troubles == []


def test_what_is_missing_is_said_and_nothing_is_green(visit):
    visitor = visit("light")
    visitor.fake.empty = Empty("metric_absent", "No connected engine tells how long a token takes.")
    visitor.open("/ui/degradation")
    expect(visitor.page.locator("main")).to_contain_text("how long a token takes")
    expect(visitor.page.locator(".tone-good")).to_have_count(0)


def test_a_challenger_is_made_champion_only_with_a_reason_and_a_held_button(visit):
    visitor = visit("light")
    visitor.open("/ui/predictors")
    page, models = visitor.page, visitor.fake.models
    card = page.locator("#card-models")
    button = card.get_by_role("button", name="champion").first
    button.scroll_into_view_if_needed()
    card.get_by_label("Why another model shall answer").fill("better on the last week")
    button.hover()
    page.mouse.down()
    page.wait_for_timeout(1_300)
    page.mouse.up()
    expect(page.locator("body")).to_contain_text("answers from now on")
    assert models.promoted[-1][3] == "better on the last week"
