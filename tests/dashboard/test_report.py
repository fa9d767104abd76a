"""Rendered reports: nothing from outside, the same bytes each time, hostile names harmless."""

import csv
import importlib.util
import io
import json
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.reports.document import Number
from analysis.reports.periods import zone_named
from dashboard.report import (
    FORMS,
    as_csv,
    markdown,
    pdf,
    pictures,
    render,
    scales,
    summary,
    svg,
    words,
)
from store.errors import InputError


def made_up():
    """The module of the report, loaded by its path: tests are no package."""
    place = Path(__file__).with_name("report_document.py")
    spec = importlib.util.spec_from_file_location("servescope_report_document", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE = made_up()
BAD_NAME, CHART, DOCUMENT, SECTION = MADE.BAD_NAME, MADE.CHART, MADE.DOCUMENT, MADE.SECTION
START = MADE.START


class Outside(HTMLParser):
    """Collects what a page would fetch or run, and its tags."""

    def __init__(self):
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        for name, value in attrs:
            if name in ("src", "srcset", "data", "action") or name.startswith("on"):
                self.found.append((tag, name, value))
            if name == "href" and tag != "a":
                self.found.append((tag, name, value))


def html(document=DOCUMENT):
    return render(document, "html").data.decode()


def test_the_page_needs_nothing_beside_itself():
    text, seen = html(), Outside()
    seen.feed(text)
    assert seen.found == []
    assert not {tag for tag, _ in seen.tags} & {"script", "link", "iframe", "img", "object"}
    assert "@import" not in text
    assert "url(" not in text


def test_the_page_can_be_read_by_a_screen_reader():
    seen = Outside()
    seen.feed(html())
    tags = seen.tags
    assert ("html", {"lang": "en"}) in tags
    assert [attrs for tag, attrs in tags if tag == "svg" and attrs.get("role") == "img"]
    assert all(attrs.get("aria-label") for tag, attrs in tags if tag == "svg")
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in tags if tag == "th")
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1


def test_names_of_tenants_are_only_text():
    assert "<script>" not in html()
    assert "&lt;script&gt;alert(1)" in html()


@pytest.mark.parametrize("form", [form for form in FORMS if form != "pdf"])
def test_the_same_document_gives_the_same_bytes(form):
    assert render(DOCUMENT, form) == render(replace(DOCUMENT), form)
    assert render(DOCUMENT, form).name.startswith("weekly-2026-W46.")


def test_json_holds_every_number_unrounded():
    told = json.loads(render(DOCUMENT, "json").data)
    assert told["schema"] == "servescope.report/1"
    number = told["data"]["sections"][0]["numbers"][0]
    assert (number["value"], number["low"], number["n"]) == (0.973, 0.969, 14_201)
    assert told["data"]["covered"]["start"] == "2026-11-09T00:00:00Z"


def test_csv_runs_no_formula_and_has_every_table():
    with zipfile.ZipFile(io.BytesIO(render(DOCUMENT, "csv").data)) as found:
        assert found.namelist() == ["findings.csv", "numbers.csv", "slo.tenants.csv"]
        rows = list(csv.reader(io.StringIO(found.read("slo.tenants.csv").decode())))
    assert rows[0] == ["tenant", "n"]
    assert rows[1] == [f"'{BAD_NAME}", "1200"]
    assert rows[2] == ["", ""]


@given(st.text())
def test_no_cell_begins_as_a_formula(text):
    assert not str(as_csv.safe(text)).startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.text())
def test_markdown_shows_any_text_as_it_is_in_one_line(text):
    shown = markdown.escaped(text)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[|<>*_`]", shown)


def test_markdown_shows_commands_as_code_and_nothing_else():
    told = "Run `servescope replay a_b`, then *look* at `this"
    assert markdown.coded(told) == r"Run `servescope replay a_b`, then \*look\* at \`this"


def test_an_empty_section_stands_at_the_end_with_its_reason():
    text = html()
    assert text.index("Objectives</h2>") < text.index("Nothing to say</h2>")
    assert "No price is known." in text


def test_the_summary_is_five_lines():
    assert len(summary(DOCUMENT)) == 5
    assert summary(DOCUMENT)[0] == "Weekly report: week 46 of 2026, 9 Nov to 15 Nov 2026"
    skipped = replace(DOCUMENT, outcome="skipped", reason="no section has anything to say")
    assert summary(skipped)[1] == "Skipped: no section has anything to say"


def test_a_change_is_said_in_points_of_a_share_and_in_percent_of_the_rest():
    assert words.change(SECTION.numbers[0]) == "\N{MINUS SIGN}1.7 points"
    rate = Number("r", "Rate", 12.0, "requests/s", before=10.0)
    assert words.change(rate) == "+20 %"
    assert words.change(replace(rate, before=None)) == ""


def test_what_is_unknown_is_never_zero():
    assert words.cell(None, "requests", "UTC") == "\N{EN DASH}"
    assert words.number(Number("x", "X", None, "s", why="no row tells it")) == "unknown"
    assert words.number(SECTION.numbers[1]) == "200 \N{EN DASH} 400 ms"


def test_times_of_tables_are_on_the_clock_of_the_charts():
    at = "2026-11-09T23:30:00Z"
    assert words.cell(at, "time", "Europe/Berlin") == "10 Nov 2026 00:30 Europe/Berlin"
    assert words.cell("1970-01-02T06:00:00Z", "time", "trace time") == "day 2 06:00"


def test_a_gap_in_a_chart_is_a_gap():
    drawn = svg.drawn(CHART, zone_named("UTC"), svg.Look())
    assert drawn.count("<polyline") == 3  # two pieces of the first line, one of the second
    assert "nan" not in drawn


def test_axes_begin_at_nothing_and_days_at_local_midnight():
    assert scales.round_steps(0.0, 27.0) == [0.0, 10.0, 20.0, 30.0]
    zone = zone_named("Europe/Berlin")
    ticks = scales.time_ticks(START, START + timedelta(days=7), zone)
    assert [tick.text for tick in ticks][:2] == ["10 Nov", "11 Nov"]
    assert ticks[0].at == datetime(2026, 11, 9, 23, tzinfo=UTC).timestamp()


@given(st.floats(1e-9, 1e12), st.floats(0, 1e12))
def test_steps_are_few_and_hold_all_values(high, below):
    steps = scales.round_steps(-below if below > 1e-9 else 0.0, high)
    assert 2 <= len(steps) <= 8
    assert steps[0] <= 0
    assert steps[-1] >= high - 1e-6 * (steps[1] - steps[0])


def test_pictures_for_mail_are_png_and_the_same_each_time():
    pytest.importorskip("matplotlib")
    found = pictures(DOCUMENT)
    assert [file.name for file in found] == [
        "weekly-2026-W46-slo-course.png", "weekly-2026-W46-slo-who.png",
    ]  # fmt: skip
    assert all(file.data.startswith(b"\x89PNG") for file in found)
    assert pictures(DOCUMENT) == found


def test_a_pdf_is_the_same_each_time_and_opens_no_address():
    pytest.importorskip("weasyprint")
    found = render(DOCUMENT, "pdf")
    assert found.data.startswith(b"%PDF")
    assert render(DOCUMENT, "pdf") == found


def test_without_any_typesetter_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(pdf, "weasyprint", lambda: None)
    monkeypatch.delenv("SERVESCOPE_CHROMIUM", raising=False)
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"servescope\[pdf\]"):
        render(DOCUMENT, "pdf")


def test_an_unknown_form_names_the_nearest():
    with pytest.raises(InputError, match="did you mean html"):
        render(DOCUMENT, "htm")
