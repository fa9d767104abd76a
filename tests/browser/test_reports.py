"""A schedule is written, tried and sent, in a real browser over made-up rows."""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HELD_MS = 1_300


def test_a_schedule_is_written_by_keyboard(visit):
    """Tab, type, Enter on the button; what is wrong is said in words and nothing is lost."""
    visitor = visit()
    page, desk = visitor.page, visitor.fake.reports
    desk.told.clear()
    visitor.open("/ui/reports")
    page.get_by_role("link", name="New schedule").focus()
    page.keyboard.press("Enter")
    page.locator("#field-name-new").fill("chat")
    page.locator("#field-template-new").select_option("daily")
    page.locator("#field-when-new").fill("now and then")
    page.locator("#field-channels-new").fill("mail, room")
    page.get_by_role("button", name="Save this schedule").press("Enter")
    expect(page.locator("body")).to_contain_text("is no schedule")
    expect(page.locator("#field-name-new")).to_have_value("chat")
    page.locator("#field-when-new").fill("daily 07:00")
    page.wait_for_timeout(1_600)  # the button rests after a press
    page.get_by_role("button", name="Save this schedule").press("Enter")
    expect(page.locator("body")).to_contain_text("chat is kept")
    ((_, table, _, _),) = desk.told
    assert (table["template"], table["when"]) == ("daily", "daily 07:00")
    assert table["channels"] == ("mail", "room")
    assert visitor.troubles == []


def test_what_is_typed_stays_while_the_page_is_refreshed(visit):
    """The list is drawn anew, the form is not; and sending needs a long press."""
    visitor = visit()
    page, desk = visitor.page, visitor.fake.reports
    desk.told.clear()
    visitor.open("/ui/reports/board?refresh=1")
    page.get_by_label("For which period").fill("2026-10")
    asked = len(visitor.fake.asked)
    page.wait_for_function("() => document.visibilityState === 'visible'")
    while len(visitor.fake.asked) < asked + 4:
        page.wait_for_timeout(100)
    expect(page.get_by_label("For which period")).to_have_value("2026-10")
    send = page.get_by_role("button", name="Make board now and send it to its channels")
    send.click()
    send.click(delay=HELD_MS)
    expect(page.locator("body")).to_contain_text("is made now and sent to its channels")
    assert desk.told == [("run", "board", "dashboard", "2026-10", True)]


def test_a_report_as_typed_opens_in_a_window_of_its_own(visit):
    """The form is sent as a question, with what is typed and nothing else."""
    visitor = visit()
    page = visitor.page
    visitor.open("/ui/reports/new")
    page.locator("#field-zone-new").fill("Asia/Tokyo")
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Preview").click()
    url = opened.value.url
    assert "/api/v1/reports/preview/draft?" in url
    assert "zone=Asia%2FTokyo" in url
    assert "name=" not in url
    opened.value.close()
