import pytest

from analysis.fleet import fleet
from analysis.fleet_models import fleet_models
from analysis.slo_model import Slo, SloMatch
from analysis.slo_views import slo_detail
from store.queries.scope import Scope

SLO = Slo(
    "chat",
    "goodput",
    0.9,
    86_400.0,
    ttft_seconds=1.0,
    tpot_seconds=0.05,
    match=SloMatch(models=("it's",)),
    count_aborted=False,
)


@pytest.fixture
def traffic(add_requests):
    add_requests(
        [10.0 * i + 1 for i in range(200)],
        model=["it's" if i % 3 else "other" for i in range(200)],
        status=["aborted" if i % 7 == 0 else "ok" for i in range(200)],
        ttft_seconds=[0.5 + (i % 4) * 0.25 for i in range(200)],
        tpot_seconds=[None if i % 5 == 0 else 0.04 for i in range(200)],
    )


def test_the_query_behind_a_chart_gives_the_same_counts(database, traffic, live_scope):
    """Whoever pastes the query of a chart finds the chart's numbers."""
    view = slo_detail(database.reader, live_scope, slos=[SLO], slo="chat")
    pasted = database.reader.frame(view.sql["events"])
    shown = view.frames["events"]
    assert pasted["good"].sum() == shown["good"].sum() > 0
    assert pasted["bad"].sum() == shown["bad"].sum() > 0
    for name, sql in view.sql.items():
        assert database.reader.frame(sql).height > 0, name


def test_fleet_queries_run_with_every_filter(database, traffic, live_scope):
    """Labels with quotes are quoted, and rates agree with the tile."""
    scope = Scope((1,), live_scope.start, live_scope.end, models=("it's",), tenants=())
    view = fleet(database.reader, scope, slos=[])
    told = fleet_models(database.reader, scope, slos=[])
    models = database.reader.frame(told.sql["models"])
    assert models["workload"].to_list() == ["it's"]
    assert models["requests"][0] == view.measures["requests_per_second"].n
    assert database.reader.frame(view.sql["sparklines"]).height > 0
