"""Alerts in a real browser: found, opened and silenced; light and dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_wrong_is_found_opened_and_silenced(visit, scheme):
    """From the badge in the header of another page to a silence, without a console error."""
    visitor = visit(scheme)
    visitor.open("/ui/slo")
    badge = visitor.page.locator("#shell-alerts a")
    expect(badge).to_have_text("▲ 1 page")
    badge.click()
    expect(visitor.page.locator("#card-alerts-active")).to_contain_text("132 of 132 requests")
    visitor.page.locator("#card-alerts-active a", has_text="outage").first.click()
    one = visitor.page.locator("#card-alert")
    expect(one).to_contain_text("llama-3.3-70b")
    one.locator("[name=comment]").fill("roll-out")
    one.get_by_role("button", name="Silence outage").click()
    expect(visitor.page.locator("#shell-said")).to_contain_text("Silenced until")
    assert visitor.fake.alerts.silenced[-1][3] == "roll-out"
    assert visitor.troubles == []
