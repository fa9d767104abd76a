"""A picture from a document: what is unknown is a dash, colour is never the only sign."""

import io
import json

import pytest
from rich.console import Console

from servescope.terminal import picture, words
from servescope.terminal.asking import Asker
from servescope.terminal.once import show
from store.errors import StoreError


def test_plain_lines_carry_everything(document):
    """No escape codes in a pipe; every table, in 120 columns."""
    out = io.StringIO()
    show(document, Console(file=out, width=120, highlight=False))
    text = out.getvalue()
    assert "\x1b" not in text
    for said in ("servescope top", "chat-ttft burns at ", "Models", "gpu-4:8000", "search",
                 "Objectives"):  # fmt: skip
        assert said in text
    assert max(map(len, text.splitlines())) <= 120


def test_models_with_all_that_the_fleet_page_tells_fit_a_terminal(document):
    """Replicas that serve, of those wanted, and starting; mean lengths; in 100 columns."""
    changed = json.loads(json.dumps(document))
    row = changed["frames"]["models"]["rows"][0]
    row |= {"instances_ready": 5, "replicas_target": 7, "replicas_starting": 2,
            "input_tokens_mean": 51_234.5, "output_tokens_mean": 213.4,
            "ttft_p95_seconds_low": 0.5, "ttft_p95_seconds_high": 1.0}  # fmt: skip
    table = picture.tables(changed)[0]
    told = dict(zip(table.columns, table.rows[0].cells, strict=True))
    assert (told["ready"], told["in"], told["out"]) == ("5/7 +2", "51.2k", "213")
    out = io.StringIO()
    show(changed, Console(file=out, width=100, highlight=False))
    (line,) = [text for text in out.getvalue().splitlines() if "5/7 +2" in text]
    assert line.strip().startswith(row["workload"])
    assert "500 ms-1 s" in line
    assert line.rstrip().endswith("213")
    row |= {"instances_ready": None, "replicas_target": None}
    table = picture.tables(changed)[0]
    assert dict(zip(table.columns, table.rows[0].cells, strict=True))["ready"] == "-"


def test_colours_are_off_where_they_are_not_wanted(document, monkeypatch):
    """NO_COLOR, on a terminal."""
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    show(document, Console(file=out, width=120, force_terminal=True, highlight=False))
    assert "\x1b[31m" not in out.getvalue()
    assert "\x1b[1;31m" not in out.getvalue()


def test_who_is_away_comes_first_with_a_glyph(document):
    """A cross, a triangle, a dot."""
    changed = json.loads(json.dumps(document))
    rows = changed["frames"]["instances"]["rows"]
    rows[2]["state"], rows[1]["outlier_score"] = "unreachable", 9.0
    table = picture.tables(changed)[1]
    assert [row.cells[0] for row in table.rows[:3]] == ["✕", "▲", "●"]
    assert [row.look for row in table.rows[:3]] == ["bad", "watch", ""]


@pytest.mark.parametrize(
    ("pools", "said"),
    [
        ([], "controller OFF"),
        ([("dry-run", False), ("dry-run", False)], "controller DRY-RUN"),
        ([("active", False), ("dry-run", True)], "controller 1 ACTIVE · 1 DRY-RUN · 1 FROZEN"),
        ([("active", True)], "controller ACTIVE · FROZEN"),
    ],
)
def test_the_badge_says_how_pools_are_treated(document, pools, said):
    """Modes, and what is frozen."""
    rows = [{"mode": mode, "is_frozen": frozen} for mode, frozen in pools]
    assert picture.badge({**document, "frames": {"pools": {"rows": rows}}})[0] == said


def test_an_empty_fleet_says_why(document):
    """The reason stands where the verdict would."""
    empty = {**document, "empty": {"text": "No source yet."}}
    assert picture.verdict(empty) == ("No source yet.", "dim")


def test_unknown_is_a_dash_and_never_zero():
    """In numbers, intervals and bars."""
    assert (words.number(None), words.interval(None, None), words.percent(None)) == ("-",) * 3
    assert words.number(0.0) == "0"
    assert words.number(28_185) == "28.2k"
    assert words.interval(0.5, 1.0) == "500 ms-1 s"
    assert words.interval(0.0, 0.3) == "<= 300 ms"
    assert words.interval(60.0, None) == ">= 60 s"
    assert words.spark([None, 0.0, 1.0, 2.0]) == " ▁▄█" or words.spark([None, 0, 1, 2]) == " ▁▅█"
    assert words.spark([0.0, 0.0]) == "▁▁"


def test_a_server_is_looked_for_again_after_it_was_gone():
    """Each failure makes a new way; a way that works is kept."""
    made = []

    class Way:
        def __init__(self, is_well):
            self.is_well = is_well

        def view(self, name, params):
            if not self.is_well:
                raise StoreError("gone")
            return {"asked": name, "from": params["from"]}

        def close(self):
            self.is_well = False

    def connect():
        made.append(Way(is_well=len(made) > 0))
        return made[-1]

    asker = Asker(connect, {"model": "m"})
    assert asker.ask().trouble == "gone"
    assert asker.ask().document == {"asked": "top", "from": "now-15m"}
    asker.ask()
    assert len(made) == 2
