from datetime import UTC, datetime

import pytest

from analysis.measure import Measure
from analysis.views import VIEWS, compute
from store.clock import VirtualClock
from store.errors import InputError

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_of_the_list_exists(name):
    """What the registry names can be imported."""
    assert callable(VIEWS[name].function())


def test_a_view_is_stamped(database, live_scope):
    """Each answer says when its numbers were read."""
    view = compute("slo_list", database.reader, live_scope, clock=VirtualClock(NOW))
    assert (view.name, view.computed_at) == ("slo_list", NOW)


def test_what_only_the_process_knows_is_filled_in(database, live_scope):
    """The server adds the writer's lag; names the view does not have are ignored."""
    lag = Measure(0.5, "s")
    view = compute(
        "admin",
        database.reader,
        live_scope,
        clock=VirtualClock(NOW),
        known={"write_lag_seconds": lag, "other": lag},
    )
    assert view.measures["write_lag_seconds"] == lag
    assert "other" not in view.measures


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("slo_lst", {}, "did you mean slo_list"),
        ("zzz", {}, "there are: fleet"),
        ("fleet", {"slo": "x"}, "has no option 'slo'"),
    ],
)
def test_unknown_names_get_one_clear_line(database, live_scope, name, options, words):
    """A wrong view or option names what there is."""
    with pytest.raises(InputError, match=words):
        compute(name, database.reader, live_scope, clock=VirtualClock(NOW), options=options)


def test_empty_options_are_ignored(database, live_scope):
    """A form field left empty is not an option."""
    compute("fleet", database.reader, live_scope, clock=VirtualClock(NOW), options={"slo": ""})
