"""Logging: one JSON object a line on stderr, an event name and its fields."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from servescope.config import masked
from servescope.json_text import to_json

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; secrets are masked by name."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for a record."""
        fields = {
            key: masked(key, value) for key, value in vars(record).items() if key not in _STANDARD
        }
        line = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return to_json(line).decode()


def configure(level: str) -> None:
    """Send the log of this process to stderr.

    Args:
        level: debug, info, warning or error; other libraries are kept at warning.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("servescope", "store", "collector", "analysis", "controller", "dashboard"):
        logging.getLogger(name).setLevel(level.upper())
