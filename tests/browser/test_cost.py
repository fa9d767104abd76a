"""The page Cost as people use it: found in the navigation, read as a table."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

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
