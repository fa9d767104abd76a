"""A store in memory with alerts of all kinds, for pages."""

from __future__ import annotations

from datetime import timedelta

from analysis.alerts.model import Alert, Link, all_labels, fingerprint
from servescope.alerting.rows import change_row
from store import alerts as kept
from store.alerts import NotificationRow, SilenceRow

RULES = [
    {"rule": name, "severity": severity, "is_on": True, "meaning": meaning, "failing": failing,
     "runbook_url": f"https://example.org/runbooks/{name}.md"}
    for name, severity, meaning, failing in (
        ("outage", "page", "At least 90 % of the requests to a model fail.", None),
        ("instance-degraded", "ticket", "An instance takes too long.", "TimeoutError: 10 s"),
    )
]  # fmt: skip


def fill(opened, now) -> None:
    """An outage that fires, a burn that it explains, a silenced instance, one that is pending."""
    rows = [
        _row("outage", "page", {"model": "llama-3.3-70b"}, "firing", now - timedelta(minutes=4),
             "132 of 132 requests (100 %) to llama-3.3-70b fail.", page="latency"),
        _row("slo-burn-slow", "ticket", {"slo": "chat-ttft", "model": "llama-3.3-70b"}, "firing",
             now - timedelta(minutes=3), "chat-ttft burns 3.4 times too fast over 1 d."),
        _row("instance-degraded", "ticket", {"instance": "gpu-3:8000"}, "firing",
             now - timedelta(hours=2), "gpu-3:8000 takes 1.6 times as long per token."),
        _row("telemetry-stale", "ticket", {"instance": "gpu-4:8000"}, "pending",
             now - timedelta(seconds=40), "gpu-4:8000 is silent for 40 s: connection refused."),
        _row("job-failing", "ticket", {"job": "rollup"}, "firing", now - timedelta(hours=5),
             "Job rollup failed at its last 2 runs: disk full"),
        _row("job-failing", "ticket", {"job": "rollup"}, "resolved", now - timedelta(hours=4),
             "Job rollup failed at its last 2 runs: disk full", fired=now - timedelta(hours=5)),
    ]  # fmt: skip
    kept.keep_changes(opened.writer, rows).result()
    kept.keep_silences(opened.writer, [_silence(now)]).result()
    sent = NotificationRow(now - timedelta(minutes=4), "pager", '{}:{alertname="outage"}', "sent",
                           1, ["x"], 1, 0, 0.02, None)  # fmt: skip
    failed = NotificationRow(now - timedelta(minutes=3), "chat", '{}:{alertname="outage"}',
                             "failed", 3, ["x"], 1, 0, 10.0, "chat: no answer in 10 s")  # fmt: skip
    kept.keep_notifications(opened.writer, [sent, failed]).result()


def _row(rule, severity, about, state, at, summary, *, page="slo/chat-ttft", fired=None):
    labels = all_labels(rule, severity, about)
    fired = fired or (at if state == "firing" else None)
    link = Link(page, {"source": "live"}, 3600.0)
    why = "the condition is over" if state == "resolved" else ""
    key = fingerprint(labels)
    alert = Alert(
        key, rule, severity, labels, state, at, fired or at, fired, summary, 1.0, link, why
    )
    return change_row(alert)


def _silence(now) -> SilenceRow:
    matchers = [{"name": "instance", "value": "gpu-3.*", "isRegex": True, "isEqual": True}]
    return SilenceRow(
        now, "ana", "4a5a2f9e-5a0e-4c57-9a53-1f8a3b0f8b7e", now - timedelta(hours=1),
        now + timedelta(hours=3), matchers, "ana", "card is being changed", "",
    )  # fmt: skip


class FakeAlerts:
    """Takes silences and remembers what was asked."""

    def __init__(self) -> None:
        self.silenced: list[tuple] = []
        self.ended: list[tuple] = []

    def silence(self, matchers, seconds, by, comment):
        """Remember it."""
        self.silenced.append((list(matchers), seconds, by, comment))
        return {"endsAt": "2026-03-01T14:00:00Z", "text": ", ".join(matchers)}

    def unsilence(self, silence_id, by):
        """Remember it."""
        self.ended.append((silence_id, by))
        return {"text": 'instance=~"gpu-3.*"'}

    def rules(self):
        """Two of them; one cannot be asked."""
        return RULES

    def receivers(self):
        """One that is well, one that is not."""
        return [
            {"receiver": "pager", "kind": "webhook", "problem": None, "sent": 4, "failed": 0},
            {"receiver": "chat", "kind": "webhook", "problem": "no answer in 10 s", "sent": 0,
             "failed": 3},
        ]  # fmt: skip
