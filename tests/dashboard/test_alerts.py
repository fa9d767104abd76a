"""The page of alerts: what is wrong first, who is told, and silences in one click."""

import json
from datetime import UTC

import pytest
from dash import html
from plotly.utils import PlotlyJSONEncoder

from dashboard.acting import answered
from dashboard.alert_badge import said
from dashboard.pages import alerts
from dashboard.scene import scene_of
from dashboard.url_state import parse
from store.errors import InputError

PREFIX = "/ui/"


def texts(part):
    """All text of a component, in order."""
    if part is None:
        return []
    if isinstance(part, str | int | float):
        return [str(part)]
    if isinstance(part, list | tuple):
        return [text for one in part for text in texts(one)]
    return texts(getattr(part, "children", None))


def links(part):
    """All addresses of a component."""
    found = [part.href] if isinstance(part, html.A) else []
    inside = getattr(part, "children", None)
    parts = inside if isinstance(inside, list | tuple) else [inside] if inside is not None else []
    return found + [one for child in parts for one in links(child)]


def drawn(fake, search=""):
    services = fake.services()
    scene = scene_of(services, parse("/ui/alerts", search, PREFIX), PREFIX)
    view = services.view("alerts", scene.address.params, **alerts.options(scene.address))
    return alerts.body(view, scene, services)


def test_what_fires_stands_first_and_what_is_quiet_says_why(fake):
    """The outage, then what is silenced or explained, then what is pending."""
    body = drawn(fake)
    words = " ".join(texts(list(body)))
    order = [words.index(text) for text in (
        "132 of 132 requests", "gpu-3:8000 takes 1.6 times", "gpu-4:8000 is silent",
    )]  # fmt: skip
    assert order == sorted(order)
    assert "explained by outage" in words
    assert "by ana: card is being changed" in words
    assert "chat" in words
    assert "does not take what it is told" in words
    assert "It cannot be asked: TimeoutError" in words


def test_each_alert_links_to_what_it_is_about_with_absolute_times(fake):
    """No now- in it: it shows the same tomorrow."""
    found = [one for part in drawn(fake) for one in links(part) if "/ui/latency?" in one]
    assert found
    assert "now" not in found[0]
    began = fake.now.astimezone(UTC)
    assert f"to={began:%Y-%m-%dT%H:%M:%SZ}" in found[0]


def test_one_alert_can_be_opened_and_silenced(fake):
    """Its course, its meaning, its runbook, and a form with all of its labels."""
    view = fake.services().view("alerts", {})
    key = view.frames["active"]["fingerprint"][0]
    body = drawn(fake, f"?alert={key}")
    told = json.dumps(body, cls=PlotlyJSONEncoder)
    assert "Silence this alert for" in told
    assert "llama-3.3-70b" in told.partition("Silence this alert for")[2]
    runbooks = [one for part in body for one in links(part) if "runbooks/outage.md" in one]
    assert runbooks
    with pytest.raises(InputError, match="no alert has"):
        drawn(fake, "?alert=0000000000000000")


def test_a_silence_is_told_with_who_and_why(fake):
    """Matchers as typed, also with a comma inside; two hours unless told otherwise."""
    fields = {"matchers": 'alertname="outage", model=~"a,b"', "comment": "roll-out", "by": "ana"}
    told = answered(fake.services(), {"act": "silence", "fields": fields})
    assert told.is_done
    assert fake.alerts.silenced == [
        (['alertname="outage"', ' model=~"a,b"'], 7200.0, "ana", "roll-out")
    ]
    assert not answered(fake.services(), {"act": "silence", "fields": {"comment": "x"}}).is_done
    ended = answered(fake.services(), {"act": "unsilence", "silence": "4a", "fields": {}})
    assert ended.is_done
    assert fake.alerts.ended == [("4a", "dashboard")]


def test_the_badge_counts_what_somebody_is_told_of(fake):
    """One page; what is silenced or explained is not in it."""
    words, title = said(fake.services().view("alerts", {}))
    assert words == "▲ 1 page"
    assert "llama-3.3-70b" in title
