"""The log: one JSON object a line, an event name, fields, no secrets."""

import json
import logging

import pytest

from servescope.logs import JsonFormatter


def line(**extra):
    record = logging.LogRecord("servescope.x", logging.WARNING, "f", 1, "job_failed", (), None)
    vars(record).update(extra)
    return json.loads(JsonFormatter().format(record))


def test_a_line_is_one_json_object_with_event_and_fields():
    """Machines read it, people can too."""
    told = line(job="rollup", seconds=1.5)
    assert (told["event"], told["level"], told["logger"]) == (
        "job_failed",
        "warning",
        "servescope.x",
    )
    assert (told["job"], told["seconds"]) == ("rollup", 1.5)
    assert told["at"].endswith("Z")


def test_secrets_are_masked_by_name():
    """A token that is logged by mistake is not readable."""
    told = line(api_token="s3cret", url="http://ana:pw@gpu:8000")
    assert told["api_token"] == "***"
    assert "pw" not in told["url"]


def test_a_fault_carries_its_traceback_in_the_same_line():
    """One event, one line."""
    with pytest.raises(ZeroDivisionError) as caught:
        print(1 / 0)
    about = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord("servescope", logging.ERROR, "f", 1, "request_failed", (), about)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    assert "division by zero" in json.loads(text)["traceback"]
