"""What the frame promises on every page of the navigation."""

from __future__ import annotations

import copy
import re

import pytest
from playwright.sync_api import expect

from dashboard.navigation import NAVIGATION, go_keys
from store.access import Rights, Role

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATHS = [item.path for _, items in NAVIGATION for item in items if item.path is not None]
HELD_MS = 1_000


@pytest.fixture
def page(visit):
    """The fleet, drawn."""
    visitor = visit()
    visitor.open("/ui/?from=now-1h&model=qwen3-32b")
    yield visitor.page
    assert visitor.troubles == []


def test_g_and_a_letter_lead_to_every_page_and_the_fleet_can_be_frozen_there(visit, served):
    """Each page has a letter of its own, the scope goes along, and the help names the letter.

    One click opens the freeze, a press that is held does it: nowhere is it further away.
    """
    keys, control = go_keys(), served.fake.control
    before = copy.deepcopy(control.pools)
    assert set(keys) == set(PATHS)
    assert len(set(keys.values())) == len(keys)
    visitor = visit()
    page = visitor.page
    page.clock.install()
    visitor.open("/ui/?from=now-1h&model=qwen3-32b")
    for path, letter in keys.items():
        page.locator("#main").focus()
        page.keyboard.press("g")
        page.keyboard.press(letter)
        page.wait_for_url(re.compile(f"/ui/{'/'.join(path)}\\?from=now-1h&model=qwen3-32b$"))
        menu = page.locator("#shell-control summary")
        expect(menu).to_have_text("Freeze")
        menu.click()
        page.get_by_role("button", name="Freeze all pools until resumed").hover()
        page.mouse.down()
        page.clock.fast_forward(HELD_MS)
        expect(menu).to_have_text("Resume")
        page.mouse.up()
        assert [told[0] for told in control.told] == ["freeze"], page.url
        control.pools = copy.deepcopy(before)
        control.told.clear()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("w (Workload)")
    assert visitor.troubles == []


def test_filters_open_by_key_and_are_walked_with_the_arrows(page):
    """Nothing is changed by a key alone: the choice is a link that Enter follows."""
    page.locator("#main").focus()
    page.keyboard.press("/")
    expect(page.get_by_role("link", name="all", exact=True)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator(":focus")).to_have_text(re.compile("qwen3-32b"))
    page.keyboard.press("Escape")
    expect(page.locator("#shell-menu-model summary")).to_be_focused()
    assert "model=qwen3-32b" in page.url


def test_a_comparison_is_a_link_that_any_other_browser_shows_alike(page, visit):
    """Chosen in the menu, kept on the way to another page, ended by one click."""
    page.locator("#shell-menu-compare summary").click()
    page.get_by_role("link", name="the period before").click()
    expect(page.locator(".is-compared")).to_contain_text("Beside the period before")
    page.get_by_role("link", name="SLOs", exact=True).click()
    page.wait_for_url("**/ui/slo?from=now-1h&model=qwen3-32b&cmp=prev")
    other = visit()
    other.open("/ui/" + page.url.split("/ui/")[1])
    expect(other.page.get_by_role("columnheader", name="the period before").first).to_be_visible()
    other.page.get_by_role("link", name="Stop comparing").click()
    expect(other.page.get_by_role("columnheader", name="the period before")).to_have_count(0)
    assert other.page.url.endswith("/ui/slo?from=now-1h&model=qwen3-32b")
    other.page.go_back()
    expect(other.page.locator(".is-compared")).to_be_visible()
    assert other.troubles == []


def test_a_view_is_saved_under_a_name_and_opened_again(page):
    """Two clicks and a name; the link leads back to the whole state from anywhere."""
    page.goto(page.url.replace("/ui/?", "/ui/latency?cmp=prev&"))
    page.get_by_text("Save this view").click()
    page.locator("#field-title-saved").fill("slow evening")
    page.get_by_role("button", name="Save this view").click()
    link = page.get_by_role("link", name="slow evening")
    expect(link).to_be_visible()
    page.get_by_role("link", name="Admin", exact=True).click()
    page.wait_for_url("**/ui/admin?**")
    link.click()
    page.wait_for_url("**/ui/latency?cmp=prev&from=now-1h&model=qwen3-32b")
    page.get_by_role("button", name="Delete the saved view slow evening").hover()
    page.mouse.down()
    expect(link).to_have_count(0)
    page.mouse.up()


def test_three_clicks_lead_from_the_fleet_to_phase_tenant_and_request(visit):
    """A tile, a tenant, a request: each is a link to what it names, and keeps what came before."""
    visitor = visit()
    visitor.open("/ui/?from=now-1h")
    page = visitor.page
    page.locator("a.ss-tile", has_text="TTFT p95").click()
    expect(page.get_by_role("heading", name="Where does the time go, on average?")).to_be_visible()
    requests = page.locator("#card-requests")
    requests.get_by_role("link", name="acme").first.click()
    page.wait_for_url("**/ui/latency?from=now-1h&quantity=ttft&tenant=acme")
    # Rows of before the narrowing may still stand there.
    requests.locator("a[href*='request='][href*='tenant=acme']").first.click()
    expect(page.get_by_role("heading", name="This request", exact=True)).to_be_visible()
    expect(page.locator("#card-facts")).to_contain_text("acme")
    expect(page.locator("#card-waterfall")).to_be_visible()
    assert "tenant=acme" in page.url
    assert visitor.troubles == []


def test_a_viewer_sees_what_may_not_be_done_and_why(visit, served):
    """By keyboard, by mouse and by a screen reader, in both themes; what is posted all the same
    is refused.
    """
    fake = served.fake
    fake.rights = Rights(Role.VIEWER, "access.role in wall.toml")
    told = len(fake.control.told)
    why = "Freezing needs the role operator; you have viewer (access.role in wall.toml)."
    visitor = visit()
    page, said = visitor.page, visitor.page.locator("#shell-said")
    visitor.open("/ui/controller")
    expect(page.locator("#shell-role")).to_contain_text("viewer")
    page.locator("#shell-control summary").click()
    button = page.get_by_role("button", name="Freeze all pools until resumed")
    expect(button).to_have_attribute("aria-disabled", "true")
    line = re.compile(r"^You have the role viewer \(access.role in wall.toml\). Freezing")
    expect(button).to_have_accessible_description(line)
    visitor.reads_in_both_themes()

    page.keyboard.press("Tab")
    expect(said).to_have_text(why)
    page.keyboard.press("Enter")
    button.click(force=True)
    expect(said).to_have_text(why)
    assert len(fake.control.told) == told
    page.evaluate(
        """dash_clientside.set_props('shell-act', {data:
             {act: 'freeze', pools: [], seconds: 900, version: 7, at: 1}})"""
    )
    expect(said).to_have_class(re.compile("is-error"))
    expect(said).to_contain_text("Freezing needs the role operator")
    assert len(fake.control.told) == told
    assert visitor.troubles == []
