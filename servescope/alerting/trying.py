"""A message to a receiver that says it is only a test."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from analysis.alerts.grouping import Notice
from analysis.alerts.message import Places, posted, webhook
from analysis.alerts.model import Alert, all_labels, fingerprint
from servescope.alerting.receivers import NotTold
from servescope.alerting.telling import Teller

RULE = "test"
LASTS = timedelta(minutes=1)


async def tried(teller: Teller, places: Places, now: datetime) -> dict[str, Any]:
    """Tell a receiver of an alert that is none.

    Returns:
        receiver, ok, error.
    """
    labels = all_labels(RULE, "ticket", {"receiver": teller.receiver.name})
    alert = Alert(
        fingerprint(labels), RULE, "ticket", labels, "firing", now, now, now,
        "This is a test of servescope: nothing is wrong.",
    )  # fmt: skip
    error = None
    try:
        if teller.receiver.kind == "alertmanager":
            await teller.door.post_alerts([posted(alert, places, now, LASTS, is_over=False)])
        else:
            key = (("alertname", RULE),)
            notice = Notice(key, (alert,), (), frozenset())
            await teller.door.tell(webhook(notice, teller.receiver.name, places, now, 1))
    except NotTold as refused:
        error = str(refused)
    return {"receiver": teller.receiver.name, "ok": error is None, "error": error}
