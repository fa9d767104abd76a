"""Objectives from a page: tried on history before they count, written over nobody's change."""

import pytest

from controller.refusals import Conflict
from servescope import slo_text
from store.errors import InputError

LIVE = {"source": "live", "from": "2026-01-31T11:00:00Z", "to": "2026-01-31T12:00:00Z"}
SLO = """
[[slo]]
name = "{}"
kind = "ttft"
threshold_seconds = {}
target_ratio = 0.9
window = "1h"
"""


@pytest.fixture
def judged(filled):
    """Requests of an hour, and one objective in a file."""
    filled.slos.path.write_text(SLO.format("first-token", 0.8), "utf-8")
    filled.slos.load()
    return filled


def test_a_draft_is_judged_on_the_same_requests_as_once_it_is_in_force(judged):
    """Tightened it is met by fewer; a second one is new; nothing of it counts yet."""
    monthly = SLO.replace('"1h"', '"month"\ntime_zone = "Europe/Berlin"')
    draft = SLO.format("first-token", 0.2) + monthly.format("slow-token", 5.0)
    changed, new = slo_text.tried(judged, draft, LIVE)["rows"]
    assert (changed["name"], changed["change"]) == ("first-token", "changed")
    assert changed["attainment_ratio_draft"] < changed["attainment_ratio_now"]
    assert (new["name"], new["change"], new["attainment_ratio_now"]) == ("slow-token", "new", None)
    assert [slo.limits_seconds for slo in judged.slos.definitions()] == [{"ttft_seconds": 0.8}]
    slo_text.save(judged, draft, slo_text.read(judged)["version"], "ana", "dashboard")
    shown = {row["name"]: row for row in judged.view("slo_list", LIVE).frames["slos"].to_dicts()}
    for row in (changed, new):
        for name in ("attainment_ratio", "budget_left_ratio", "attempted", "status"):
            assert shown[row["name"]][name] == row[f"{name}_draft"]


def test_what_is_left_out_and_what_stays_say_so(judged):
    """Removed, and the same."""
    [gone] = slo_text.tried(judged, "", LIVE)["rows"]
    assert (gone["change"], gone["attainment_ratio_draft"]) == ("removed", None)
    rolling = SLO.format("first-token", 0.8)
    [same] = slo_text.tried(judged, rolling, LIVE)["rows"]
    assert same["change"] == "same"
    [changed] = slo_text.tried(judged, rolling.replace('"1h"', '"day"'), LIVE)["rows"]
    assert changed["change"] == "changed"
    assert same["attainment_ratio_draft"] == same["attainment_ratio_now"]


def test_mistakes_are_told_with_their_line_and_nothing_is_judged(judged):
    """A draft of any length is no way to keep the server busy."""
    told = slo_text.tried(judged, SLO.format("a", -1), LIVE)
    assert told["rows"] == []
    assert [one["severity"] for one in told["problems"]] == ["error"]
    assert "draft:5" in told["problems"][0]["where"]
    with pytest.raises(InputError, match="256 KiB"):
        slo_text.tried(judged, "#" * (slo_text.MOST_BYTES + 1), LIVE)


def test_what_is_saved_is_in_force_and_on_record(judged):
    """At once, and with a name."""
    seen = slo_text.read(judged)
    draft = seen["text"].replace("0.8", "0.5")
    kept = slo_text.save(judged, draft, seen["version"], "ana", "dashboard")
    assert kept["text"] == draft == judged.slos.path.read_text()
    assert [slo.limits_seconds for slo in judged.slos.definitions()] == [{"ttft_seconds": 0.5}]
    row = judged.database.reader.frame("SELECT actor, action FROM audit").row(0)
    assert row == ("ana", "slo.edit")


def test_nobodys_change_is_overwritten_and_no_mistake_is_written(judged):
    """Whoever saw an older text is told so; a draft with mistakes leaves the file as it was."""
    seen = slo_text.read(judged)
    by_hand = seen["text"] + "# reviewed\n"
    judged.slos.path.write_text(by_hand)
    with pytest.raises(Conflict, match="meanwhile"):
        slo_text.save(judged, seen["text"], seen["version"], "ana", "dashboard")
    newest = slo_text.read(judged)["version"]
    with pytest.raises(InputError, match="threshold_seconds"):
        slo_text.save(judged, SLO.format("a", -1), newest, "ana", "dashboard")
    assert judged.slos.path.read_text() == by_hand


def test_without_a_file_it_says_how_to_make_one(judged):
    """A server without objectives is no error of the page."""
    judged.slos.path = None
    with pytest.raises(InputError, match="no file of objectives") as told:
        slo_text.read(judged)
    assert "slo init" in told.value.hint


def test_the_api_reads_tries_and_writes(client, filled):
    """A draft over an older version is refused with 409; cross-site pages cannot write."""
    told = client.get("/api/v1/objectives").json()
    draft = SLO.format("first-token", 0.1)
    tried = client.post("/api/v1/objectives/preview", params=LIVE, json={"text": draft}).json()
    assert "first-token" in {row["name"] for row in tried["rows"]}
    wish = {"text": draft, "seen": told["version"], "by": "ana"}
    evil = {"origin": "http://evil.example"}
    assert client.put("/api/v1/objectives", json=wish, headers=evil).status_code == 403
    kept = client.put("/api/v1/objectives", json=wish)
    assert kept.json()["text"] == draft == filled.slos.path.read_text("utf-8")
    again = client.put("/api/v1/objectives", json=wish)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    bad = {"text": "[[slo]]", "seen": kept.json()["version"]}
    refused = client.put("/api/v1/objectives", json=bad)
    assert refused.status_code == 400
    assert "name" in refused.json()["detail"]
