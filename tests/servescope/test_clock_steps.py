"""A clock that people or programs set: nothing is lost by it, and nothing hangs."""

import dataclasses

import pytest

from servescope.clock_steps import STEADY_SECONDS, ClockSteps
from servescope.maintenance import jobs_for
from store.settings import StoreSettings

DAY = 86_400.0
COUNT = "SELECT count(*) FROM request"


@pytest.fixture
def job(filled):
    """The job that deletes requests older than 90 days."""
    settings = StoreSettings(request_retention_days=90.0)
    filled.config = dataclasses.replace(filled.config, store=settings)
    (found,) = (job for job in jobs_for(filled) if job.name == "retention")
    return found


def test_a_clock_that_is_set_a_year_ahead_deletes_nothing(filled, clock, job):
    """And set right again, nothing was lost; said in the record of the job."""
    clock.step(365 * DAY)
    assert "set forward by 365 days" in job.work()["put_off"]
    clock.advance(1800)
    clock.step(-365 * DAY)
    assert "set back" in job.work()["put_off"]
    clock.advance(STEADY_SECONDS + 1)
    job.work()
    assert filled.database.reader.scalar(COUNT) == 60


def test_a_new_time_that_lasts_is_believed(filled, clock, job):
    """What is too old by it is deleted then."""
    clock.step(365 * DAY)
    assert "put_off" in job.work()
    clock.advance(STEADY_SECONDS + 1)
    job.work()
    assert filled.database.reader.scalar(COUNT) == 0


def test_time_that_passes_and_small_corrections_are_no_step(clock):
    """A server that was up for a year, and one whose clock drifts and is corrected."""
    steps = ClockSteps(clock)
    clock.advance(365 * DAY)
    assert steps.unsteady() is None
    for _ in range(100):
        clock.advance(600)
        clock.step(-5)
        assert steps.unsteady() is None


def test_jobs_go_on_at_their_pace_whatever_the_clock_says(filled, clock):
    """All but those that delete by age do their work at once."""
    jobs = {job.name: job for job in jobs_for(filled)}
    clock.step(-6 * 3600)
    for name in ("rollup", "sample_rollup", "checkpoint", "drops", "starts"):
        told = jobs[name].work()
        assert "put_off" not in (told or {})
    assert filled.database.reader.scalar(COUNT) == 60
