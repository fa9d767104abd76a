"""Silences cover what their matchers say, and nothing is silenced by mistake."""

from datetime import UTC, datetime, timedelta

import pytest

from analysis.alerts.matchers import (
    Silence,
    checked_silence,
    covering,
    matcher_of,
    parse_matcher,
)
from store.errors import InputError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LABELS = {"alertname": "outage", "model": "llama-70b", "severity": "page"}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('model="llama-70b"', True),
        ("model=llama-70b", True),
        ("model=llama", False),
        ("model!=llama", True),
        ('model=~"llama.*"', True),
        ('model=~"llama"', False),  # anchored, as Alertmanager has it
        ('model!~"llama|qwen"', True),
        ('tenant=""', True),  # a label that is missing is empty
        ('tenant=~".+"', False),
        ('tenant!="a"', True),
    ],
)
def test_matchers_fit_as_alertmanager_has_it(text, fits):
    """Equal, not equal, and anchored expressions; missing is empty."""
    matcher = parse_matcher(text)
    assert matcher.matches(LABELS) is fits
    assert parse_matcher(str(matcher)) == matcher
    assert matcher_of(matcher.document()) == matcher


@pytest.mark.parametrize("text", ["", "model", "1x=a", "=a", 'model=~"("', "a=" + "x" * 600])
def test_what_is_no_matcher_is_refused(text):
    """With words that say what is."""
    with pytest.raises(InputError):
        parse_matcher(text)


def silence(*matchers, start=NOW, end=NOW + HOUR, by="ana", comment="roll-out"):
    return Silence("x", tuple(map(parse_matcher, matchers)), start, end, by, comment)


@pytest.mark.parametrize(
    "wrong",
    [
        silence(by=" "),
        silence("model=a", comment=""),
        silence(),
        silence('model=~".*"'),
        silence('tenant!="a"', 'model!="b"'),
        silence("model=a", end=NOW),
        silence("model=a", start=NOW + HOUR, end=NOW + HOUR),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(wrong):
    """Who, why, an end to come, and not everything there is."""
    with pytest.raises(InputError):
        checked_silence(wrong, NOW)


def test_a_silence_holds_from_its_start_to_its_end():
    """Inclusive, exclusive; the one that lasts longest is told."""
    short, long = silence("model=llama-70b"), silence("severity=page", end=NOW + 2 * HOUR)
    assert covering([short, long], LABELS, NOW) == long
    assert covering([short], LABELS, NOW + HOUR) is None
    assert covering([short], LABELS, NOW - timedelta(seconds=1)) is None
    assert covering([silence("model=llama-70b", "severity=ticket")], LABELS, NOW) is None
