"""Clocks beside the server's: what is off, from when on, and what is not known."""

import polars as pl
import pytest

from analysis.clocks import TARGET_OFFSET_SECONDS, clock_table
from collector.trust.grades import TrustSettings

TARGETS = pl.DataFrame(
    {
        "target_id": [1, 2, 3, 4],
        "url": [
            "http://a:8000/metrics",
            "agent://n1/http://b:8000/metrics",
            "otlp://c",
            "http://d",
        ],
    }
)


def agents(*rows):
    """Agents with an offset and its error."""
    names = ("name", "clock_offset_seconds", "clock_error_seconds")
    schema = dict(zip(names, (pl.String, pl.Float64, pl.Float64), strict=True))
    return pl.DataFrame(rows, schema=schema, orient="row")


def told(agent_rows=(), measured=None):
    """Name -> row."""
    found = clock_table(agents(*agent_rows), TARGETS, measured or {})
    return {row["name"]: row for row in found.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("offset", "error", "state"),
    [(0.2, 0.01, "agrees"), (1.2, 0.3, "agrees"), (1.4, 0.3, "off"), (-7.0, 0.3, "off")],
)
def test_an_agents_clock_is_off_beyond_a_second_and_its_error(offset, error, state):
    """What may be the way there and back is not held against it."""
    row = told([("n1", offset, error)])["n1"]
    assert (row["state"], row["offset_seconds"], row["error_seconds"]) == (state, offset, error)
    assert row["limit_seconds"] == 1.0 + error
    way = "ahead" if offset > 0 else "behind"
    assert row["why"] is None if state == "agrees" else way in row["why"]


def test_a_targets_clock_is_off_where_its_grade_says_so():
    """The same limit as the grade of its clock; whose clock it is compared with is said."""
    assert TrustSettings().clock_off_seconds == TARGET_OFFSET_SECONDS
    rows = told(measured={1: -94.0, 2: 31.0})
    assert rows["http://a:8000/metrics"]["why"].startswith(
        "94 s behind, compared with the server's clock"
    )
    assert "its agent's clock" in rows["agent://n1/http://b:8000/metrics"]["why"]
    assert told(measured={1: 29.0})["http://a:8000/metrics"]["state"] == "agrees"


def test_what_is_not_known_is_null_says_why_and_comes_last():
    """Never 0; what pushes and is not asked has no row."""
    found = clock_table(agents(("n1", None, None)), TARGETS, {4: 0.0})
    assert found["name"].to_list()[0] == "http://d"
    assert found["offset_seconds"].to_list() == [0.0, None, None, None]
    assert found.filter(pl.col("state") == "unknown")["why"].null_count() == 0
    assert "otlp://c" not in found["name"].to_list()
