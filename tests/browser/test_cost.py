"""The page Cost as people use it: found in the navigation, read as a table, kept when it fails."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from store.errors import QueryTimeout

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_cost_is_a_click_away_and_its_chart_is_a_table(visit):
    """From the Fleet page, with the range kept; the same numbers as rows."""
    visitor = visit("dark")
    visitor.open("/ui/?from=now-6h")
    page = visitor.page
    page.get_by_role("link", name="Cost", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cost")
    expect(page.get_by_role("heading", name="Tenant by tenant")).to_be_visible()
    visitor.settled()
    page.get_by_role("link", name="Table: Where did the GPU time go?").click()
    expect(page.get_by_role("columnheader", name="Layer").first).to_be_visible()
    assert visitor.troubles == []


def test_a_failing_server_leaves_the_last_picture(visit, served):
    """The numbers stay, greyed, with the cause in one line."""
    visitor = visit()
    visitor.open("/ui/cost")
    served.fake.failing = QueryTimeout("it took more than 10 s", hint="choose a shorter range")
    visitor.page.get_by_role("link", name="Cost", exact=True).click()
    visitor.page.reload()
    expect(visitor.page.get_by_text("it took more than 10 s").first).to_be_visible()
