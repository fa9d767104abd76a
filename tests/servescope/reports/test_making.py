"""What a report of a known fleet says: true, the important first, nothing made up."""

import pytest

from dashboard.report import summary
from servescope.cli.access import FileAccess
from servescope.reporting.asked import Asked
from servescope.reporting.making import asked_document
from store.errors import InputError, QueryTimeout


def document(runtime, template="weekly", access=None, **asked):
    way = access or FileAccess(runtime)
    return asked_document(Asked(template, **asked), way, runtime.clock, lambda share, what: None)


@pytest.fixture(scope="module")
def weekly(rich):
    return document(rich)


def section(found, key):
    (one,) = (part for part in found.sections if part.key == key)
    return one


def test_the_last_whole_week_is_meant(weekly):
    assert weekly.covered.key == "2026-W04"
    assert weekly.covered.words == "week 4 of 2026, 19 Jan to 25 Jan 2026"
    assert not weekly.notes  # the records cover it whole


def test_the_first_screen_says_what_was_missed_and_by_whom(weekly):
    assert weekly.verdict.startswith("1 of 2 objectives was met. 3,024 requests came")
    assert weekly.findings[0].startswith("first-token missed its target:")
    assert "tenant zeta" in " ".join(weekly.findings)
    assert weekly.advice[0] == "Begin with tenant zeta: 97 % of the bad requests of first-token."
    assert len(weekly.findings) <= 3
    assert len(summary(weekly)) <= 5


def test_a_day_on_which_nothing_came_says_so_first(rich):
    """A live fleet that is silent may be down; nobody is told to send what is not missing."""
    found = document(rich, "daily")
    silence = "Nothing in this range; the last record is of 2026-01-25 23:58:20."
    assert found.verdict.startswith(silence)
    assert silence in found.findings[:2]
    assert not any("send what is missing" in text for text in found.advice)


def test_numbers_stand_beside_those_of_the_week_before(weekly):
    (count,) = (one for one in section(weekly, "traffic").numbers if one.key == "requests")
    assert (count.value, count.before, count.view) == (3024, 1512, "workload_arrivals")
    (kept,) = (one for one in section(weekly, "slo").numbers if one.label == "first-token")
    assert kept.value < 0.85 < 0.95 < kept.before


def test_what_changed_is_named(weekly):
    assert "request rate" in section(weekly, "shift").verdict[0]


def test_starts_decisions_and_slowed_hosts_are_told(weekly):
    starts = section(weekly, "cold_starts")
    assert any("never became ready" in point.text for point in starts.findings)
    control = section(weekly, "controller")
    assert "159 decisions" in control.verdict[0]
    assert any("no card free" in str(row) or "failed" in str(row) for row in control.tables[0].rows)
    assert any("failed" in point.text for point in control.findings)
    assert "gpu-2 gets 61 %" in section(weekly, "degradation").verdict[0]


def test_what_ran_idle_and_what_it_cost_are_told(weekly):
    cost = section(weekly, "cost")
    known = {one.key: one for one in cost.numbers}
    assert known["gpu_hours"].value == pytest.approx(48, rel=0.02)
    assert known["idle_ratio"].value == pytest.approx(0.5, abs=0.02)
    assert known["cost"].unit == "EUR"
    assert known["cost"].value == pytest.approx(2.5 * known["gpu_hours"].value)
    assert {table.key for table in cost.tables} == {"pools", "models", "tenants"}


def test_capacity_is_judged_by_caches_and_queues(weekly):
    assert section(weekly, "capacity").verdict[0].startswith("Neither clearly too little")


def test_the_next_week_is_said_with_the_error_of_the_rule(weekly):
    told = section(weekly, "forecast").verdict[0]
    assert told == (
        "If the next is like this one, 3,024 requests come; the same rule was off by 100.0 % for"
        " this one."
    )


def test_an_empty_section_says_why_in_one_sentence(weekly):
    for part in weekly.sections:
        if part.empty is not None:
            assert part.empty.endswith(".")
            assert not part.tables


def test_a_period_without_records_is_skipped_with_the_reason(rich):
    found = document(rich, period="2025-W10")
    assert [part for part in found.sections if part.empty is None] == []
    assert found.outcome == "skipped"
    assert "week 10 of 2025" in found.reason
    assert "the last record is of 2026-01-25" in found.reason


def test_with_too_little_before_nothing_is_compared(rich):
    found = document(rich, period="2026-W03")
    assert section(found, "shift").empty == (
        "There are no records of the period before to compare with."
    )
    assert all(one.before is None for part in found.sections for one in part.numbers)


def test_an_incident_is_compared_with_as_much_time_before(rich):
    found = document(rich, "incident", from_time="2026-01-20T08:00", to_time="2026-01-20T12:00")
    assert found.covered.words == "20 Jan 2026 08:00 to 12:00"
    (count,) = (one for one in section(found, "traffic").numbers if one.key == "requests")
    assert (count.value, count.before) == (72, 72)
    # Objectives are judged over these hours, not over their own week.
    assert [one.n for one in section(found, "slo").numbers] == [72, 72]


class Failing(FileAccess):
    """The view of fairness passes its time limit."""

    def view(self, name, params, options=None):
        if name == "fairness":
            raise QueryTimeout("the query took longer than 10 s")
        return super().view(name, params, options)


def test_a_view_that_fails_leaves_the_others_alone(rich):
    found = document(rich, access=Failing(rich))
    lost = section(found, "fairness")
    assert lost.problem == "the query took longer than 10 s"
    assert "could not be computed" in lost.empty
    assert found.outcome == "made"
    assert section(found, "slo").empty is None


class Busy(FileAccess):
    """Every view passes its time limit the first time."""

    def __init__(self, runtime):
        super().__init__(runtime)
        self.asked = set()

    def view(self, name, params, options=None):
        key = (name, *params.values(), *(options or {}).values())
        if key not in self.asked:
            self.asked.add(key)
            raise QueryTimeout("the query took longer than 10 s")
        return super().view(name, params, options)


def test_a_busy_server_is_asked_a_second_time(rich, weekly):
    found = document(rich, access=Busy(rich))
    assert found.sections == weekly.sections


@pytest.mark.parametrize(
    ("template", "asked", "said"),
    [
        ("weekyl", {}, "did you mean weekly"),
        ("weekly", {"period": "2026-11"}, "2026-W46"),
        ("weekly", {"zone": "Mars"}, "time zone"),
        ("weekly", {"params": {"source": "no"}}, "no source is called"),
        ("weekly", {"from_time": "now-1h", "to_time": "now"}, "calendar period"),
        ("incident", {}, "--from"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(rich, template, asked, said):
    with pytest.raises(InputError) as caught:
        document(rich, template, **asked)
    assert said in str(caught.value)


def test_a_zone_moves_the_week(rich):
    there = document(rich, zone="America/New_York")
    assert there.covered.start.isoformat() == "2026-01-19T05:00:00+00:00"
    (count,) = (one for one in section(there, "traffic").numbers if one.key == "requests")
    assert count.value < 3024  # the records end at midnight UTC, five hours before that week


def test_an_incident_begins_with_what_was_wrong(rich):
    found = document(rich, "incident", from_time="2026-01-20T08:00", to_time="2026-01-20T12:00")
    assert found.sections[0].key == "why"
    assert "first-token" in section(found, "why").verdict[0]
    assert section(found, "alerts").empty == "No alert fired in this period."
