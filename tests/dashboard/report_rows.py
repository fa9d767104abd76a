"""A store in memory with schedules and reports of all kinds, for pages."""

from __future__ import annotations

from datetime import timedelta

from store import reports
from store.errors import InputError

CHANNELS = [
    {"name": "mail", "kind": "email", "place": "smtp.example.org:587 from reports@example.org"},
    {"name": "room", "kind": "slack", "place": "hooks.slack.com/…"},
]
FILES = [
    {"name": "weekly-2026-W46.html", "media_type": "text/html", "bytes": 31_000, "role": "report"},
    {"name": "weekly-2026-W46.pdf", "media_type": "application/pdf", "bytes": 90_000,
     "role": "report"},
]  # fmt: skip


def table(name, **more) -> dict:
    """A schedule as it is written."""
    return {"name": name, "template": "weekly", "when": "weekly mon 08:00",
            "zone": "Europe/Berlin", "formats": ["html", "pdf"], "channels": ["mail", "room"],
            "recipients": ["team@example.org"], "scope": {}, "enabled": True, **more}  # fmt: skip


SCHEDULES = {
    "weekly": ("file", table("weekly")),
    "board": ("store", table("board", template="monthly", when="monthly 1 07:00",
                             recipients=[], scope={"model": "llama-3.3-70b"})),
    "quiet": ("store", table("quiet", zone="Asia/Tokyo", channels=[], recipients=[])),
}  # fmt: skip


def fill(opened, now) -> None:
    """One that was sent, one that failed at a channel, one that rests and was never made."""
    writer = opened.writer
    told = [reports.Told(name, place, "set", "ann", one) for name, (place, one) in
            SCHEDULES.items()]  # fmt: skip
    told.append(reports.Told("quiet", "store", "disabled", "bo"))
    reports.tell(writer, now - timedelta(days=9), told).result()
    details = {"charts": 4, "bytes": 121_000, "files": FILES}
    sent = _run(writer, "weekly", "2026-W46", now - timedelta(days=4))
    reports.stand(writer, sent, now, "sent", "sent, 4 charts, 118.2 KiB", details).result()
    failed = _run(writer, "board", "2026-10", now - timedelta(days=2))
    for number, state in enumerate(("failed", "failed", "failed", "given_up"), 1):
        at = now - timedelta(days=2, seconds=-number)
        one = reports.Attempt(failed, "room", number, at, state, "HTTP 503: overloaded", 0.2)
        reports.attempted(writer, one).result()
    text = "failed: room: HTTP 503: overloaded (4 attempts); 1 of 2 channels have it"
    reports.stand(writer, failed, now, "failed", text, details).result()


def _run(writer, name, period, at) -> str:
    run = reports.Run(name, period, "due", "schedule", at, at, SCHEDULES[name][1],
                      SCHEDULES[name][1]["channels"])  # fmt: skip
    return reports.claim(writer, run).result()


class FakeReports:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.channels = CHANNELS

    def choices(self):
        return {"templates": ("daily", "weekly", "monthly"), "formats": ("html", "pdf", "json"),
                "channels": self.channels}  # fmt: skip

    def definition(self, name):
        place, found = SCHEDULES.get(name, (None, None))
        return None if found is None else {**found, "place": place}

    def save(self, table, by, *, may_replace):
        if table["when"] == "now and then":
            raise InputError("'now and then' is no schedule", hint="write daily 08:00")
        self.told.append(("save", table, by, may_replace))
        return {"schedule": table["name"], "next_at": "2026-11-23T07:00:00Z"}

    def remove(self, name, by):
        self.told.append(("remove", name, by))

    def switch(self, name, by, *, on):
        self.told.append(("switch", name, by, on))
        return {"schedule": name, "is_on": on, "next_at": "2026-11-23T07:00:00Z"}

    def run(self, name, by, period, *, send):
        self.told.append(("run", name, by, period, send))
        return {"period": period or "2026-W46", "run_id": f"{name}.2026-W46.2"}

    def test(self, name, by, channel, to):
        self.told.append(("test", name, by, channel, list(to)))
        return {"channels": [channel], "run_id": f"{name}.2026-W46.3"}
