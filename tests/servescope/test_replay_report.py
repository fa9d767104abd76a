"""The table in a terminal and on a page: medians with ranges, failures, widths, marks."""

from __future__ import annotations

import pytest

from analysis import replay_frames
from servescope.replaying import markdown, report
from store.errors import InputError


def summary():
    rows = [
        {
            "case": "c", "startup_seconds": 60.0, "policy": policy, "title": policy.title(),
            "row": kind, "parameters": parameters, "seed": seed, "state": "done", "requests": 10,
            "gpu_hours": 10.0 + seed, "attainment_ratio": 0.995, "ttft_p99_seconds": 1.5,
        }
        for policy, kind, parameters in (
            ("a", "default", "{}"), ("a", "tuned", '{"target": 8.5}'),
            ("static", "static-peak", '{"replicas": 3}'), ("b", "default", "{}"),
        )
        for seed in range(3)
    ]  # fmt: skip
    rows[-1] |= {"state": "failed", "reason": "ValueError: a|b", "gpu_hours": None}
    return replay_frames.summary(replay_frames.outcomes(rows), 0.99)


def told(**more):
    return report.lines(summary(), "not validated: never", ["It said."], is_validated=False, **more)


def test_what_is_told_begins_with_the_error_of_the_model():
    """And every table repeats that it is not validated."""
    text = told()
    assert text.startswith("Not validated: never.")
    assert "c, start-up 60 s  [not validated]" in text
    assert "11" in text
    assert "10..12" in text
    assert "tuned: target=8.5" in text
    assert "failed: ValueError: a|b" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= report.WIDTH


def test_a_fixed_fleet_is_told_by_pool():
    """Not as a document."""
    row = {"policy": "static", "row": "static-peak", "parameters": '{"replicas": {"a": 2, "b": 3}}'}
    assert report.settings(row) == "fixed for the peak: a=2, b=3"


@pytest.mark.parametrize("width", [60, 100, 140])
def test_a_narrow_terminal_shows_the_columns_that_decide(width):
    """And says where the others are."""
    text = told(width=width)
    assert "TTFT s" not in text
    assert "--json" in text
    assert "10..12" in text
    assert max(map(len, text.splitlines())) <= max(width, 100)


def test_a_page_gets_tables_between_its_marks(tmp_path):
    """What stands around them stays; a second time gives the same."""
    page = tmp_path / "page.md"
    page.write_text(f"# Head\n\n{markdown.BEGIN}\nold\n{markdown.END}\n\ntail\n", "utf-8")
    for _ in range(2):
        markdown.replaced(page, markdown.table(summary()))
    text = page.read_text("utf-8")
    assert text.startswith("# Head\n\n")
    assert text.endswith(f"{markdown.END}\n\ntail\n")
    assert "old" not in text
    assert "| A | tuned: target=8.5 | 11<br>10..12 |" in text
    assert "a\\|b" in text


def test_a_page_without_marks_is_left_alone(tmp_path):
    """Nobody knows where the tables should go."""
    page = tmp_path / "page.md"
    page.write_text("# Head\n", "utf-8")
    with pytest.raises(InputError, match="no marks"):
        markdown.replaced(page, ["x"])
    assert page.read_text("utf-8") == "# Head\n"
