"""What happened, asked for by whoever draws charts over time."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from dashboard.figures.marks import Marks
from dashboard.services import Services
from store.errors import ServescopeError

_log = logging.getLogger(__name__)


def happened(
    services: Services, params: Mapping[str, str], start: datetime, end: datetime
) -> Marks | None:
    """What happened in a range; a chart without it is better than no chart.

    Args:
        services: where views come from.
        params: of the address, with the range in them.
        start: of that range, aware UTC.
        end: of that range.
    """
    try:
        frames = services.view("happenings", params).frames
    except ServescopeError as error:
        _log.warning("marks_failed", extra={"error": str(error)})
        return None
    told = {name: frames[name] for name in ("freezes", "scalings", "events") if name in frames}
    return Marks(start, end, **told)
