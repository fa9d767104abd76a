"""The record of the controller reads as sentences, whatever wrote its rows."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest

from dashboard.pages import controller_score
from dashboard.pages.controller_audit import said
from dashboard.scene import scene_of
from dashboard.url_state import parse

BEFORE = {"chat": {"mode": "dry-run", "frozen": False, "foreign": None}}


@pytest.fixture
def scene(fake):
    return scene_of(fake.services(), parse("/ui/controller", "", "/ui/"), "/ui/")


def row(action, subject="chat", before=None, after=None):
    texts = {"before": json.dumps(before) if before else None, "after": json.dumps(after)}
    return {"action": f"controller.{action}", "subject": subject, **texts}


@pytest.mark.parametrize(
    ("written", "asked", "came"),
    [
        (row("mode", before=BEFORE, after={"kind": "mode active", "until": None}),
         "set chat to ACTIVE", "DRY-RUN before"),
        (row("mode", before=BEFORE, after={"kind": "mode dry-run"}),
         "set chat to DRY-RUN", "it was so before"),
        (row("freeze", after={"kind": "freeze", "until": "2026-11-21 02:30:01.099503"}),
         "freeze chat", "frozen until 21 Nov 2026 02:30:01 UTC"),
        (row("freeze", "chat, code", after={"kind": "freeze", "until": None}),
         "freeze chat, code", "frozen until resumed"),
        (row("resume", before={"chat": {"mode": "active", "frozen": True, "foreign": 7}},
             after={"kind": "resume", "until": None}),
         "let chat go on", "not frozen; accepted 7 replicas that others set"),
        (row("approved", "chat #12", {"replicas": 4}, {"replicas": 6}),
         "approve chat #12: 4 \u2192 6 replicas", ""),
        (row("rejected", "chat #12", {"replicas": 4}, {"replicas": 6}),
         "reject chat #12", "stayed at 4 replicas"),
        (row("rollback", "chat #12", {"replicas": 6}, {"replicas": 4}),
         "roll back before chat #12: 6 \u2192 4 replicas", ""),
        (row("adopt", "chat candidate 3", {"policy": "risk"}, {"policy": "keda(x=2)"}),
         "adopt chat candidate 3", "keda(x=2) decides, risk no more"),
        (row("something_new", "chat", None, {"what": 1}), "something new chat", ""),
        (row("mode", before=None, after={}), "mode chat", ""),
        ({"action": "controller.freeze", "subject": "chat", "before": None, "after": "{not json"},
         "freeze chat", "frozen until resumed"),
    ],
)  # fmt: skip
def test_every_row_of_the_record_has_words(scene, written, asked, came):
    """Also what a later version wrote, or nobody can read: nothing of the record is left out."""
    assert said(written, scene) == (asked, came)


@pytest.mark.parametrize(
    ("higher", "words"),
    [(0, "would have left everything as it was: 2 replica-hours where 2 ran."),
     (4, "left 60.0 % as they were, wanted more in 4 (at most 3 replicas)")],
)  # fmt: skip
def test_what_dry_run_would_have_done_is_said_in_one_sentence(fake, scene, higher, words):
    """Where it would have done nothing, nothing is counted out."""
    row = {
        "pool": "chat", "steps": 10, "agreed": 10 - higher, "higher": higher, "lower": 0,
        "hours": 0.5,
        "most_above": 3 if higher else 0, "most_below": 0, "wanted_replica_hours": 2.0,
        "there_replica_hours": 2.0,
    }  # fmt: skip
    view = fake.services().view("controller", {})
    view = replace(view, frames={**view.frames, "rehearsed": pl.DataFrame([row])})
    card = controller_score.score(view, scene).card
    assert words in json.dumps(card, default=lambda part: part.to_plotly_json(), ensure_ascii=False)
