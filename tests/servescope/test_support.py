"""The support file helps, and tells nobody's business."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servescope import support
from servescope.support import HARMLESS, Names


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_name_is_hidden_alike_and_apart(one, other):
    """The same text is the same other name, another text another one; neither tells the text."""
    names = Names()
    first, second = names.of("tenant", one), names.of("tenant", other)
    assert names.of("tenant", one) == first
    assert (first == second) == (one == other)
    assert {first, second} <= {"tenant-1", "tenant-2"}


@pytest.fixture
def told(client):
    """The file, through its own route."""
    answer = client.get("/api/v1/-/support")
    assert answer.status_code == 200
    assert "attachment" in answer.headers["Content-Disposition"]
    return answer


def test_every_text_of_a_table_is_harmless_or_another_name(told):
    """No address, path, tenant or file of this machine is in it."""
    found = told.json()
    for view in found["views"].values():
        for name, rows in view.get("frames", {}).items():
            for row in rows:
                for column, value in row.items():
                    if _is_text(value) and column not in HARMLESS:
                        assert value.startswith((f"{column}-",)) or value.endswith("items"), (
                            name, column, value,
                        )  # fmt: skip
    assert "127.0.0.1" not in json.dumps(found)
    assert "/tmp" not in json.dumps(found)  # noqa: S108


def _is_text(value):
    return isinstance(value, str) and value != "" and not _is_time(value)


def _is_time(text):
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def test_settings_show_numbers_and_of_texts_only_that_they_were_set(told):
    """An address or a key is nobody's business; a limit is what helps."""
    settings = {row["setting"]: row for row in told.json()["settings"]}
    assert settings["server.view_ttl_seconds"]["value"] == pytest.approx(2.0, abs=60)
    texts = {row["value"] for row in settings.values() if isinstance(row["value"], str)}
    assert texts <= {"(default)", "(set)"}
    assert {row["origin"] for row in settings.values()} <= {
        "default", "flag", "file or environment",
    }  # fmt: skip
    assert set(support.VIEWS) == set(told.json()["views"])
