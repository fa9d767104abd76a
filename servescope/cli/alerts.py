"""What `servescope alerts` does: asks the server, or the store when none runs."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from servescope.cli import access
from servescope.cli.controlling import seconds_of
from servescope.cli.data import configured
from servescope.cli.output import CommandError, ExitCode, Output
from servescope.config import load
from store.errors import InputError

_ACTIVE = ("alert", "state", "severity", "rule", "about", "since", "what", "told nobody because")
_SILENCES = ("silence", "state", "matchers", "until", "by", "why", "alerts")
_HISTORY = ("at", "alert", "severity", "rule", "about", "became", "why")
_RULES = ("rule", "on", "severity", "for s", "keep s", "means")
_SHORT = 8


def run_list(
    params: Mapping[str, str],
    store: Path | None,
    config_file: Path | None,
    *,
    with_history: bool,
    as_json: bool,
) -> None:
    """Print what is open, silences, and what happened.

    Raises:
        CommandError: exit 3, where an alert fires that somebody should be told of.
    """
    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        found = way.view("alerts", params)
    out.document("alerts.list", found)
    frames = {name: frame["rows"] for name, frame in found["frames"].items()}
    _print_open(out, found["sentences"], frames)
    if with_history:
        out.line()
        rows = [
            [row["at"], row["fingerprint"][:_SHORT], row["severity"], row["rule"], row["subject"],
             row["state"], row["why"]]
            for row in frames["history"]
        ]  # fmt: skip
        out.table(_HISTORY, rows)
    firing = int(found["measures"]["firing"]["value"])
    if firing:
        text = f"{firing} alerts fire" if firing > 1 else "an alert fires"
        raise CommandError(text, ExitCode.FINDING, hint="servescope alerts show ALERT")


def _print_open(out: Output, sentences: Sequence[str], frames: Mapping[str, Any]) -> None:
    if not frames["active"]:
        out.line(sentences[0])
    else:
        rows = [
            [row["fingerprint"][:_SHORT], row["state"], row["severity"], row["rule"],
             row["subject"], row["since"], row["summary"], row["why_quiet"]]
            for row in frames["active"]
        ]  # fmt: skip
        out.table(_ACTIVE, rows)
    held = [row for row in frames["silences"] if row["state"] != "expired"]
    if held:
        out.line()
        rows = [
            [row["silence_id"][:_SHORT], row["state"], row["matchers"], row["ends_at"],
             row["created_by"], row["comment"], row["alerts"]]
            for row in held
        ]  # fmt: skip
        out.table(_SILENCES, rows)


def run_show(
    fingerprint: str, store: Path | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Print one alert."""
    out = Output(as_json=as_json)
    server = access.the_server(configured(store, config_file))
    told = server.get(f"/alerts/one/{_whole(server, fingerprint)}", {})
    out.document("alerts.show", told)
    out.line(f"{told['rule']} ({told['severity']}) is {told['state']} since {told['since']}")
    out.line(told["summary"])
    if told["is_unknown"]:
        out.line("Nothing is known of it right now, so it stays as it is.")
    if told["why_quiet"]:
        out.line(f"Nobody is told: {told['why_quiet']}")
    labels = ", ".join(f"{name}={value}" for name, value in told["labels"].items())
    for name, text in (
        ("Means", told["meaning"]), ("Labels", labels), ("Look", told["generatorURL"]),
        ("Do", told["annotations"]["runbook_url"]),
    ):  # fmt: skip
        out.line(f"{name:<8}{text}")
    out.line()
    names = ("changed_at", "state", "summary", "why")
    out.table(("at", "became", "what", "why"), [[r[n] for n in names] for r in told["changes"]])


def _whole(server: access.ServerAccess, begins: str) -> str:
    """The fingerprint that begins so, of alerts that are open or were lately."""
    if len(begins) == 16:
        return begins
    frames = server.view("alerts", {"from": "now-7d"})["frames"]
    rows = [*frames["active"]["rows"], *frames["history"]["rows"]]
    return _only({row["fingerprint"] for row in rows}, begins, "alert")


def _only(known: set[str], begins: str, what: str) -> str:
    found = sorted(one for one in known if one.startswith(begins))
    if len(found) != 1:
        few = "no" if not found else "more than one"
        raise InputError(f"{few} {what} begins with '{begins}'", hint="servescope alerts list")
    return found[0]


def run_silence(
    matchers: Sequence[str],
    about: Mapping[str, Any],
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Make a silence.

    Raises:
        InputError: neither how long nor until when is given.
    """
    seconds = seconds_of(about["for"])
    if (seconds is None) == (about["endsAt"] is None):
        raise InputError("give --for or --until, one of the two", hint="--for 2h")
    body = {
        # A rule's name is the label `alertname`; people write `rule`.
        "matchers": [_renamed(text) for text in matchers],
        "createdBy": about["by"] or getpass.getuser(),
        "comment": about["comment"],
        "startsAt": about["startsAt"],
        "endsAt": about["endsAt"],
        "seconds": seconds,
    }
    out = Output(as_json=as_json)
    server = access.the_server(configured(store, config_file))
    sent = {name: value for name, value in body.items() if value is not None}
    told = server.send("POST", "/alerts/silences", json=sent)
    out.document("alerts.silence", told)
    out.line(f"{told['silence_id']}  {told['text']} until {told['endsAt']}")


def _renamed(text: str) -> str:
    return f"alertname{text[4:]}" if text.startswith(("rule=", "rule!")) else text


def run_unsilence(
    silence: str, by: str, store: Path | None, config_file: Path | None, *, as_json: bool
) -> None:
    """End a silence."""
    out = Output(as_json=as_json)
    server = access.the_server(configured(store, config_file))
    rows = server.view("alerts", {})["frames"]["silences"]["rows"]
    known = {row["silence_id"] for row in rows if row["state"] != "expired"}
    identity = _only(known, silence, "silence")
    body = {"by": by or getpass.getuser()}
    told = server.send("POST", f"/alerts/silences/{identity}/end", json=body)
    out.document("alerts.unsilence", told)
    out.line(f"{told['silence_id']}  {told['text']} ended {told['endsAt']}")


def run_rules(config_file: Path | None, *, as_json: bool) -> None:
    """Print the rules as the settings have them; no server is needed."""
    from analysis.alerts.message import Places
    from servescope.alerting.documents import rule_documents

    out = Output(as_json=as_json)
    settings = load(config_file).alerts
    listed = rule_documents(settings, Places("", settings.runbook_root))
    out.document("alerts.rules", {"rules": listed})
    names = ("rule", "is_on", "severity", "for_seconds", "keep_seconds", "meaning")
    out.table(_RULES, [[row[name] for name in names] for row in listed])


def run_test(receiver: str, store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Tell a receiver of a test.

    Raises:
        CommandError: exit 1, when it is not taken.
    """
    from urllib.parse import quote

    out = Output(as_json=as_json)
    server = access.the_server(configured(store, config_file))
    told = server.send("POST", f"/alerts/receivers/{quote(receiver, safe='')}/test")
    out.document("alerts.test", told)
    if not told["ok"]:
        raise CommandError(
            f"{receiver}: {told['error']}", ExitCode.FAILED, hint="check its address and token"
        )
    out.line(f"{receiver} took it")
