"""Candidates beside the policy that decides: what both came to, and adopting on purpose only."""

from __future__ import annotations

import json
import re

import pytest

from dashboard.acting import answered
from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import parse


def drawn(fake, search="", path="/ui/controller", spot="controller-candidates"):
    """The panel as text."""
    services = fake.services()
    scene = scene_of(services, parse(path, search, "/ui/"), "/ui/")
    panel = next(one for one in page_of(scene.address).panels if one.spot == spot)
    body = answer(panel, scene, services, None, beat=False)[0]
    return json.dumps(body, default=lambda part: part.to_plotly_json(), ensure_ascii=False)


def buttons(text):
    """What the buttons would tell."""
    found = re.findall(r'"data-act": "(.*?)(?<!\\)"', text)
    return [json.loads(json.loads(f'"{one}"')) for one in found]


def wished(text, act):
    return next(wish for wish in buttons(text) if wish["act"] == act)


def test_both_stand_side_by_side_with_their_steps_as_lines(fake):
    """Replica-hours, attainment by a model, what really came; no column of nothing known."""
    text = drawn(fake)
    for words in (
        "keda(target=8) beside risk", "80.2", "96.5", "98.1 %", "Attainment, by a model",
        "What really came in chat", "by 3 fewer at most", '"candidate"', '"live"',
        "Watched since", "5,760, 34.0 %", "in shadow", "no such policy: keda2",
    ):  # fmt: skip
        assert words in text, words
    assert '"Cost"' not in text


@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("adopt", ("adopt", 3, "ana", "it is cheaper", "chat")),
        ("withdraw", ("withdraw", 3, "ana", "it is cheaper")),
    ],
)
def test_a_press_on_purpose_reaches_the_controller(fake, act, told):
    """With who, why and the version that was seen; both are held."""
    text = drawn(fake)
    wish = wished(text, act)
    fields = {"comment": "it is cheaper", "by": "ana", "override": "chat"}
    assert answered(fake.services(), {**wish, "fields": fields}).is_done
    assert fake.control.told == [told]
    assert text.count('"data-hold"') == 2


def test_adopting_needs_a_reason_and_the_newest_state(fake):
    """The browser asks first; the server refuses all the same."""
    wish = wished(drawn(fake), "adopt")
    assert '"data-needs": "comment"' in drawn(fake)
    assert not answered(fake.services(), {**wish, "fields": {}}).is_done
    fake.control.candidates.rows[0]["version"] = 8
    told = answered(fake.services(), {**wish, "fields": {"comment": "x"}})
    assert not told.is_done
    assert "look again" in told.text.lower()


def test_what_is_not_watched_yet_cannot_be_adopted(fake):
    """The button stays and says why."""
    row = fake.control.candidates.rows[0]
    row.update(is_watched=False, steps=0, state="proposed", differing_ratio=None)
    text = drawn(fake, "?candidate=3")
    assert "It is not watched yet" in text
    assert "It was not asked yet." in text


@pytest.mark.parametrize("override", ["chat", ""])
def test_what_would_be_refused_is_disabled_beforehand(fake, override, monkeypatch):
    """With why and what to do; what is typed to adopt it all the same makes it usable."""
    refused = {"why": "candidate 3 was watched for 0.4 h and chat is active",
               "hint": "let it be watched on", "override": override}  # fmt: skip
    desk = fake.control.candidates
    compared = desk.compared
    monkeypatch.setattr(desk, "compared", lambda *a: compared(*a) | {"adopt_refused": refused})
    text = drawn(fake, "?candidate=3")
    words = f"Adopting is not possible now: {refused['why']}. Let it be watched on."
    assert text.count(words) == 2  # above the form, and on the button
    assert text.count('"aria-disabled": "true"') == 1
    assert ('"data-unless": "[\\"override\\", \\"chat\\"]"' in text) == bool(override)


def test_what_decides_can_be_given_back(fake):
    """An adopted candidate shows where it comes from, and the way back."""
    fake.control.candidates.rows[0]["state"] = "adopted"
    adopted = {"text": "adopted from candidate 3 (replay R) over the configured risk"}
    fake.control.pools[0].update(policy="keda", adopted=adopted)
    wish = wished(drawn(fake), "restore")
    assert wish["pools"] == ["chat"]
    told = answered(fake.services(), {**wish, "fields": {"comment": "it was worse"}})
    assert told.text == "The policy of the configuration decides chat again."
    assert adopted["text"] in drawn(fake, spot="controller-modes")


def test_a_record_without_a_controller_is_only_read(fake):
    """Nothing to press where nobody listens."""
    fake.control.running = False
    for row in fake.control.candidates.rows:
        row["version"] = None
    text = drawn(fake)
    assert "no controller of its pool runs" in text
    assert buttons(text) == []


def test_without_candidates_there_is_no_panel(fake):
    """A page is not longer than it has to be."""
    fake.control.candidates.rows = []
    assert drawn(fake) == "[]"


@pytest.mark.parametrize(("steps", "said"), [(1, "1 decision so far"), (19, "19 decisions so far")])
def test_its_first_minutes_are_too_early_to_tell(fake, steps, said):
    """Instead of a difference of nothing over no time at all."""
    row = fake.control.candidates.rows[0]
    row["steps"] = steps
    text = drawn(fake)
    assert f"Too early to tell: {said}, over" in text
    assert "would have had less" not in text
    row["steps"] = 20
    assert "would have had less" in drawn(fake)


def test_freezes_of_its_pool_are_on_its_chart(fake):
    """As on every chart of the pool: a band, with who and why; other pools' are not its own."""
    text = drawn(fake)
    assert "chat frozen by bo, 11:40:00 to 11:45:00: rack 4" in text
    assert "Frozen once, by bo." in text
    fake.control.candidates.rows[0].update(pool="code", pools=["code"])
    assert "frozen by bo" not in drawn(fake)
