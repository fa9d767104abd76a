"""REST, commands, settings and metrics of alerts; runbooks and links that lead somewhere."""

import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

from analysis.alerts.rules import RULES
from servescope.cli import access, alerts
from servescope.cli.output import CommandError
from servescope.config import load
from servescope.server import create_app
from store.errors import ConfigError, InputError

RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks"
PARTS = ("## What it means", "## What to look at", "## What to do", "## How to silence it",
         "## When it is wrong")  # fmt: skip


@pytest.fixture
def runtime(place, requests):
    """An outage, found."""
    made = place.runtime()
    requests(made)
    made.alerting.book.load(place.clock.now())
    made.alerting._evaluate()
    place.clock.advance(10)
    return made


@pytest.fixture
def client(runtime):
    with TestClient(create_app(runtime), base_url="http://127.0.0.1:8787") as made:
        yield made


@pytest.fixture
def through(monkeypatch, client):
    """Commands reach that server."""
    server = access.ServerAccess("", client)
    monkeypatch.setattr(access, "the_server", lambda config: server)
    monkeypatch.setattr(alerts, "configured", lambda store, config: None)


def outage_of(client):
    rows = client.get("/api/v1/alerts").json()["frames"]["active"]["rows"]
    return next(row for row in rows if row["rule"] == "outage")


def test_every_rule_has_its_runbook():
    """One page each, with the same five parts; and no page without a rule."""
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(RULES)
    for path in RUNBOOKS.glob("*.md"):
        text = path.read_text("utf-8")
        assert text.startswith(f"# {path.stem}\n")
        assert [part for part in PARTS if part not in text] == []


def test_links_lead_to_pages_with_data(client):
    """What an alert is about can be seen there: the view of its page is not empty."""
    rows = client.get("/api/v1/alerts").json()["frames"]["active"]["rows"]
    assert {row["rule"] for row in rows} == {"outage", "slo-burn-fast", "slo-burn-slow"}
    views = {"workload/failures": "workload_failures", "slo/chat": "slo_detail"}
    for row in rows:
        told = client.get(f"/api/v1/alerts/one/{row['fingerprint']}").json()
        link = urlsplit(told["generatorURL"])
        page, params = link.path.removeprefix("/ui/"), dict(parse_qsl(link.query))
        assert "now" not in link.query
        options = {"slo": "chat"} if page == "slo/chat" else {}
        found = client.get(f"/api/v1/views/{views[page]}", params={**params, **options}).json()
        assert found["empty"] is None
        assert any(frame["row_count"] for frame in found["frames"].values())
        runbook = RUNBOOKS / told["annotations"]["runbook_url"].rpartition("/")[2]
        assert runbook.exists()


def test_silences_have_five_fields_and_an_end(client):
    """Made, seen to work, ended once."""
    key = outage_of(client)["fingerprint"]
    body = {"matchers": ['model="llama"'], "createdBy": "ana", "comment": "roll-out",
            "seconds": 3600}  # fmt: skip
    made = client.post("/api/v1/alerts/silences", json=body).json()
    assert made["matchers"] == [
        {"name": "model", "value": "llama", "isRegex": False, "isEqual": True}
    ]
    told = client.get(f"/api/v1/alerts/one/{key}").json()
    assert told["why_quiet"] == "silenced by ana: roll-out"
    end = f"/api/v1/alerts/silences/{made['silence_id']}/end"
    assert client.post(end, json={"by": "ben"}).status_code == 200
    assert client.post(end, json={"by": "ben"}).status_code == 400
    assert client.get(f"/api/v1/alerts/one/{key}").json()["why_quiet"] is None


@pytest.mark.parametrize("wrong", [
    {"comment": ""}, {"createdBy": " "}, {"matchers": []}, {"matchers": [{"name": "x"}]},
    {"seconds": None}, {"seconds": -1}, {"endsAt": "soon", "seconds": None},
    {"endsAt": "2020-01-01T00:00:00Z", "seconds": None}, {"endsAt": "2027-01-01T00:00:00Z"},
    {"seconds": 1e12}, {"matchers": ["model=~\"(\""]},
])  # fmt: skip
def test_half_a_silence_is_refused(client, wrong):
    """With words, as a problem document; nothing is silenced."""
    body = {"matchers": ["model=a"], "createdBy": "ana", "comment": "x", "seconds": 60, **wrong}
    sent = {name: value for name, value in body.items() if value is not None}
    answer = client.post("/api/v1/alerts/silences", json=sent)
    assert answer.status_code in (400, 422)
    rows = client.get("/api/v1/alerts").json()["frames"]["silences"]["rows"]
    assert rows == []


def test_alerts_of_others_are_drawn_on_charts_and_nonsense_is_counted(client, runtime, place):
    """The same message twice is one period; its end closes it."""
    start = (place.clock.now() - timedelta(minutes=20)).isoformat()
    alert = {"status": "firing", "labels": {"alertname": "NodeDown", "severity": "critical"},
             "annotations": {"summary": "node 7 is down"}, "startsAt": start,
             "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "ab"}  # fmt: skip
    message = {"version": "4", "status": "firing", "alerts": [alert]}
    assert client.post("/api/v1/alerts/in", json=message).json() == {"taken": 1, "new": 1}
    assert client.post("/api/v1/alerts/in", json=message).json() == {"taken": 1, "new": 0}
    over = {**alert, "status": "resolved", "endsAt": place.clock.now().isoformat()}
    client.post("/api/v1/alerts/in", json={"version": "4", "alerts": [over]})
    place.clock.advance(10)
    events = client.get("/api/v1/views/happenings/events").json()["rows"]
    drawn = [row for row in events if row["subject"] == "NodeDown"]
    assert [(row["kind"], row["text"]) for row in drawn] == [("alert", "node 7 is down")]
    assert drawn[0]["until_at"] is not None
    assert [row["subject"] for row in events if row["subject"] == "outage"] == ["outage"]
    assert client.post("/api/v1/alerts/in", content=b"{").status_code == 400
    assert client.post("/api/v1/alerts/in", json={"version": "3"}).status_code == 400
    assert sum(runtime.drops.totals().values()) == 2


def test_the_door_can_be_closed(place):
    """alerts.accept = false."""
    place.settings = "[alerts]\naccept = false\n"
    with TestClient(create_app(place.runtime()), base_url="http://127.0.0.1:8787") as client:
        answer = client.post("/api/v1/alerts/in", json={"version": "4", "alerts": []})
    assert answer.status_code == 403


def test_metrics_count_states_without_tenants(client):
    """By state and severity; names of tenants nowhere."""
    page = client.get("/metrics").text
    assert 'servescope_alerts{severity="page",state="firing"} 2.0' in page
    assert "servescope_alerts_left_out_total 0.0" in page
    assert "acme" not in page


def test_commands_list_show_and_silence(client, through, runtime, monkeypatch, capsys):
    """As a person at night would: list (exit 3), show, silence, list (exit 0 for pages)."""
    monkeypatch.setattr(access, "opened", lambda config: Given(access.ServerAccess("", client)))
    with pytest.raises(CommandError) as ended:
        alerts.run_list({}, None, None, with_history=True, as_json=False)
    assert ended.value.exit_code == 3
    assert "110 of 110" not in capsys.readouterr().out.splitlines()[0]
    key = outage_of(client)["fingerprint"]
    alerts.run_show(key[:6], None, None, as_json=False)
    shown = capsys.readouterr().out
    assert "outage (page) is firing" in shown
    assert "runbooks/outage.md" in shown
    about = {"comment": "known", "for": "2h", "endsAt": None, "startsAt": None, "by": "ana"}
    alerts.run_silence(['rule=~"outage|slo-.*"'], about, None, None, as_json=True)
    made = json.loads(capsys.readouterr().out)["data"]
    assert made["text"] == 'alertname=~"outage|slo-.*"'
    alerts.run_list({}, None, None, with_history=False, as_json=False)
    assert "silenced until" in capsys.readouterr().out
    alerts.run_unsilence(made["silence_id"][:8], "ana", None, None, as_json=False)
    with pytest.raises(InputError, match="no silence begins with"):
        alerts.run_unsilence(made["silence_id"][:8], "ana", None, None, as_json=False)


class Given:
    """A way that is open already."""

    def __init__(self, way):
        self._way = way

    def __enter__(self):
        return self._way

    def __exit__(self, *raised):
        return False


def test_rules_are_printed_with_what_is_in_force(tmp_path, capsys):
    """No server is needed."""
    file = tmp_path / "servescope.toml"
    file.write_text('[alerts]\noff = ["forecast-miss"]\n[[alerts.rule]]\nname = "outage"\n'
                    "bad_ratio = 0.5\n", "utf-8")  # fmt: skip
    alerts.run_rules(file, as_json=True)
    rules = {one["rule"]: one for one in json.loads(capsys.readouterr().out)["data"]["rules"]}
    assert not rules["forecast-miss"]["is_on"]
    assert rules["outage"]["meaning"].startswith("At least 50 % of the requests")


@pytest.mark.parametrize(("text", "said"), [
    ('off = ["outtage"]', "no rule is called 'outtage'"),
    ('[[alerts.rule]]\nname = "outage"\nbad_ratio = 2', "bad_ratio must be a number from 0 to 1"),
    ('[[alerts.rule]]\nname = "outage"\nbad_ration = 1', "no setting 'bad_ration'"),
    ('[[alerts.rule]]\nname = "outage"\nseverity = "sms"', "severity must be page or ticket"),
    ('[[alerts.rule]]\nname = "outage"\n[[alerts.rule]]\nname = "outage"', "two tables"),
    ('[[alerts.receiver]]\nname = "a"', "needs url or url_file"),
    ('[[alerts.receiver]]\nname = "a"\nurl = "ftp://x"', "no http address"),
    ('[[alerts.receiver]]\nname = "a"\nurl = "http://x"\nmatch = ["page"]', "is no matcher"),
    ('[[alerts.receiver]]\nname = "a"\nurl = "http://x"\nkind = "sms"', "kind must be one of"),
    ("[[alerts.receiver]]\nurl = 'http://x'", "needs a name"),
    ("evaluate_seconds = 0", "must be above 0"),
])  # fmt: skip
def test_mistakes_in_the_settings_are_found_before_anything_starts(tmp_path, text, said):
    """`servescope config validate` says what is wrong."""
    file = tmp_path / "servescope.toml"
    file.write_text(f"[alerts]\n{text}\n", "utf-8")
    with pytest.raises(ConfigError) as found:
        load(file, {}, {})
    assert said in str(found.value)
