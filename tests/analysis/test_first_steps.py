"""The checklist of whoever has just begun."""

from datetime import UTC, datetime, timedelta

from analysis.first_steps import first_steps
from analysis.slo_model import Slo
from store.queries.scope import Scope
from store.targets import register

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SCOPE = Scope((1,), NOW - timedelta(hours=1), NOW)
SLO = Slo("chat", "ttft", 0.9, 86_400.0, ttft_seconds=1.0)


def done(database, slos=()):
    """The steps that are ticked, and how many are left."""
    view = first_steps(database.reader, SCOPE, slos=slos)
    rows = view.frames["steps"]
    ticked = rows.filter(rows["is_done"])["step"].to_list()
    assert view.measures["left"].value == 3 - len(ticked)
    return ticked


def test_each_step_ticks_itself(database, add_target):
    """A watched engine, its first answer, an objective: in this order, by themselves."""
    assert done(database) == []
    register(database.writer, "http://gpu-1:8000/metrics", NOW).result()
    assert done(database) == ["source"]
    add_target("http://gpu-1:8000/metrics", requests_running=1)
    assert done(database) == ["source", "records"]
    assert done(database, [SLO]) == ["source", "records", "objective"]


def test_a_trace_alone_needs_no_objective(database, add_requests):
    """Who only reads a trace is not asked for ever to define one."""
    add_requests([5.0])
    assert done(database) == ["source", "records", "objective"]
