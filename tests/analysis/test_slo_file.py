from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.burn import AlertRule
from analysis.slo_file import load_slo_file, parse_slo_text
from analysis.slo_model import Calendar
from store.errors import ConfigError, InputError

GOOD = """
[[slo]]
name = "chat-ttft"
kind = "ttft"
threshold_seconds = 0.5
target_ratio = 0.99
window = "30d"
[slo.match]
model = ["llama-70b", "llama-8b"]
class = "interactive"

[[slo]]
name = "all-good"
kind = "goodput"
ttft_seconds = 1
tpot_seconds = 0.05
target_ratio = 0.95
window = "7d"
count_aborted = false
minimum_bad_events = 5
[[slo.alert]]
severity = "ticket"
long = "1d"
short = "2h"
burn = 3
"""


def test_a_file_says_what_it_means(tmp_path):
    """Every key of the format arrives in the objective."""
    path = tmp_path / "slo.toml"
    path.write_text(GOOD)
    first, second = load_slo_file(path)
    assert first.limits_seconds == {"ttft_seconds": 0.5}
    assert first.match.models == ("llama-70b", "llama-8b")
    assert first.match.classes == ("interactive",)
    assert [rule.burn for rule in first.alerts] == [14.4, 6.0, 3.0, 1.0]
    assert first.where == f"{path}:2"
    assert first.objective_text == "99 % of requests: TTFT <= 500 ms, over 30 d"
    assert second.limits_seconds == {"ttft_seconds": 1.0, "tpot_seconds": 0.05}
    assert second.alerts == (AlertRule("ticket", 86_400, 7200, 3.0),)
    assert (second.count_aborted, second.minimum_bad_events) == (False, 5)


def test_all_mistakes_are_listed_with_their_lines(tmp_path):
    """One reading finds every mistake; nobody fixes them one by one."""
    path = tmp_path / "slo.toml"
    path.write_text(
        '[[slo]]\nname = "Chat TTFT"\nkind = "tttf"\ntreshold_seconds = 0.5\n'
        'target_ratio = 99\nwindow = "fortnight"\n[slo.match]\nmodle = "a"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_slo_file(path)
    text = str(caught.value)
    for line, words in [
        (2, "'name'"),
        (3, "did you mean ttft?"),
        (4, "did you mean threshold_seconds?"),
        (5, "a ratio, so 99 % is 0.99"),
        (6, "'window' is 'fortnight'"),
        (8, "did you mean model?"),
    ]:
        assert any(f":{line}:" in row and words in row for row in text.splitlines()), (line, text)


@pytest.mark.parametrize(
    ("kind", "extra", "words"),
    [
        ("availability", "threshold_seconds = 1", "takes no 'threshold_seconds'"),
        ("ttft", "", "needs a threshold"),
        ("goodput", "threshold_seconds = 1\nttft_seconds = 1", "takes no 'threshold_seconds'"),
        ("ttft", "threshold_seconds = -1", "must be a number above 0"),
        ("ttft", "threshold_seconds = nan", "must be a number above 0"),
        ("ttft", "threshold_seconds = true", "must be a number above 0"),
    ],
)
def test_thresholds_fit_their_kind(kind, extra, words):
    """Each kind takes its own thresholds and nothing else."""
    text = f'[[slo]]\nname="a"\nkind="{kind}"\ntarget_ratio=0.99\nwindow="1d"\n{extra}\n'
    slos, problems = parse_slo_text(text)
    assert slos == ()
    assert any(words in problem.message for problem in problems)


def test_a_calendar_window_has_a_time_zone_that_exists():
    """A month of Berlin, a week of UTC; a rolling window has no zone, and no place is made up."""
    text = '[[slo]]\nname="a"\nkind="availability"\ntarget_ratio=0.99\nwindow=%s\n'
    [berlin], problems = parse_slo_text(text % '"month"\ntime_zone="Europe/Berlin"')
    assert berlin.calendar == Calendar("month", "Europe/Berlin")
    assert berlin.objective_text.endswith("over the calendar month (Europe/Berlin)")
    assert [rule.burn for rule in berlin.alerts] == [14.4, 6.0, 3.0, 1.0]
    [week], _ = parse_slo_text(text % '"week"')
    assert week.calendar == Calendar("week", "UTC")
    assert problems == []
    for window, words in [
        ('"30d"\ntime_zone="UTC"', "this one rolls (leave it out, or write window = "),
        ('"month"\ntime_zone="Berlin"', "no time zone is called 'Berlin' (write Europe/Berlin"),
        ('"month"\ntime_zone=1', "'time_zone' must be a text"),
        ('"months"', 'or a calendar window: "day", "week", "month", "quarter"'),
    ]:
        none, [problem] = parse_slo_text(text % window)
        assert none == ()
        assert words in str(problem), problem


def test_an_alert_that_can_never_fire_is_refused():
    """With a target of 90 %, a threshold of 14.4 is a false promise."""
    text = (
        '[[slo]]\nname="a"\nkind="availability"\ntarget_ratio=0.9\nwindow="30d"\n'
        '[[slo.alert]]\nlong="1h"\nshort="5m"\nburn=14.4\n'
    )
    _, problems = parse_slo_text(text)
    assert [p.severity for p in problems] == ["error"]
    assert "highest possible burn is 10" in problems[0].message


def test_the_usual_rules_that_cannot_fire_are_left_out():
    """Nobody has to know the table: for 90 % only the rules that can fire remain."""
    text = '[[slo]]\nname="a"\nkind="availability"\ntarget_ratio=0.9\nwindow="30d"\n'
    slos, problems = parse_slo_text(text)
    assert [rule.burn for rule in slos[0].alerts] == [6.0, 3.0, 1.0]
    assert problems == []


def test_two_of_one_name_are_refused():
    """A name stands in URLs, so it is unique."""
    one = '[[slo]]\nname="a"\nkind="availability"\ntarget_ratio=0.99\nwindow="30d"\n'
    _, problems = parse_slo_text(one * 2)
    assert "a second SLO is called 'a'" in problems[0].message


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"[[slo]\n", "not valid TOML"), (b"slo = 3\n", "not a list"), (b"\xff\xfe", "UTF-8")],
)
def test_a_broken_file_gets_one_clear_line(tmp_path, content, words):
    """What is no SLO file is said to be none."""
    path = tmp_path / "slo.toml"
    path.write_bytes(content)
    with pytest.raises((ConfigError, InputError), match=words):
        load_slo_file(path)


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir()])
def test_a_missing_file_or_a_folder_is_an_input_error(tmp_path, make):
    """The message names the path."""
    path = tmp_path / "slo.toml"
    make(path)
    with pytest.raises(InputError, match=r"slo\.toml"):
        load_slo_file(Path(path))


@given(st.text(max_size=300))
def test_no_text_crashes_the_parser(text):
    """Any text gives objectives or problems, never a traceback."""
    parse_slo_text(text)


_values = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["name", "kind", "target_ratio", "window", "threshold_seconds", "match", "alert"]
        ),
        _values,
    )
)
def test_no_value_crashes_the_parser(table):
    """Keys of the right name with values of any kind are problems, never a traceback."""
    lines = [f"{key} = {_toml(value)}" for key, value in table.items()]
    parse_slo_text("[[slo]]\n" + "\n".join(lines))


def _toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return "'" + "".join(c for c in value if c.isprintable() and c != "'") + "'"
    return repr(value)
