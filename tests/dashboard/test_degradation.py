"""The Degradation page: what it says, and what it leaves unsaid."""

from __future__ import annotations

import importlib.util
import sys
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from dashboard.figures.base import Look, Picture
from dashboard.figures.degradation import slowdown

HERE = Path(__file__).parent


def drawn(fake, search=""):
    """The page as text."""
    name = "servescope_dashboard_test_pages"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "test_pages.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name].drawn(fake, "/ui/degradation", search)


def test_the_page_says_who_since_when_by_what_and_how_such_ended(fake):
    text = drawn(fake)
    for words in (
        "gpu-1:8000 takes 1.7 times as long per token",
        "▼ slowed",
        "● usual pace",
        "it wrote nothing for 2 h",
        "What may have slowed gpu-1:8000?",
        "●●● strong",
        "Processes that want to run rose from 2 to 12",
        "recovered by itself",
        "Association and order in time, not cause",
    ):
        assert words in text, words


def test_another_incident_can_be_looked_into(fake):
    text = drawn(fake, "?incident=gpu-2:8000@2026-11-20T09:30:00")
    assert "What may have slowed gpu-2:8000?" in text
    assert "GPU held back" in text


def test_a_range_without_incidents_says_so_for_each_card(fake):
    text = drawn(fake, "?instance=gpu-3:8000")
    assert "gpu-3:8000 keeps the usual pace of its load" in text
    assert "There is no incident in this range." in text
    assert "No instance was slower than usual in this range." in text


def test_a_hole_in_the_record_is_a_gap_in_the_line():
    start = datetime(2026, 3, 1)
    minutes = [0, 1, 2, 12, 13]
    frame = pl.DataFrame(
        {
            "at": [start + timedelta(minutes=m) for m in minutes],
            "instance": ["a"] * 5,
            "slowdown_factor": [1.0, 1.1, 1.0, 1.6, 1.7],
            "begins_factor": [1.2] * 5,
        }
    )
    picture = slowdown(frame, Look())
    assert isinstance(picture, Picture)
    assert picture.figure["data"][0]["y"] == [1.0, 1.1, 1.0, None, 1.6, 1.7]
    assert "1.7 times its usual time per token" in picture.summary
    assert picture.figure["layout"]["yaxis"]["range"][0] == 0
