"""Comparisons are removed like other data: by age and by count, never while they run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from analysis import replay_frames
from servescope.replaying import answers
from store import replays
from store.errors import InputError
from store.queries import replays as queries


def kept(runtime, name, days_ago, state="done"):
    at = runtime.clock.now() - timedelta(days=days_ago)
    row = replays.ReplayRow(
        name, at, "cli", "trace", {}, 0.99, {"name": "p"}, "never compared", is_validated=False
    )
    writer = runtime.database.writer
    replays.add(writer, row, state).result()
    outcome = {
        "case": "c", "startup_seconds": 60.0, "policy": "risk", "title": "risk", "row": "default",
        "parameters": "{}", "seed": 0, "state": "done",
    }  # fmt: skip
    lane = {**outcome, "lanes": [[0.0, 0, 1, 1, 0, 0]]}
    replays.keep(
        writer, name, replay_frames.outcomes([outcome]), replay_frames.lanes([lane])
    ).result()


def names(runtime):
    return queries.listed(runtime.database.reader)["replay_id"].to_list()


def test_what_is_too_old_goes_with_all_of_its_rows_and_a_candidate_keeps_its_id(runtime):
    """Whoever follows the id is told that it is gone, not that it never was."""
    kept(runtime, "old", 200)
    kept(runtime, "runs", 200, "running")
    kept(runtime, "new", 1)
    candidate = replays.Candidate("chat", "risk", {}, "old", "cli")
    replays.propose(runtime.database.writer, runtime.clock.now(), candidate).result()
    assert runtime.replaying.forget(runtime.config.store) == {"replays": 1}
    assert runtime.replaying.forget(runtime.config.store) is None
    assert sorted(names(runtime)) == ["new", "runs"]
    for table in ("replay_lane", "replay_outcome", "replay_state"):
        text = f"SELECT count(*) FROM {table} WHERE replay_id = 'old'"
        assert runtime.database.reader.scalar(text) == 0
    assert queries.candidates(runtime.database.reader)["replay_id"].to_list() == ["old"]
    with pytest.raises(InputError, match="'old' is gone"):
        answers.document(runtime, "old")
    with pytest.raises(InputError, match="there is no replay 'never'"):
        answers.document(runtime, "never")


def test_of_too_many_the_oldest_go(runtime):
    """In portions; what is unset keeps all."""
    for number in range(5):
        kept(runtime, f"r{number}", number)
    settings = replace(runtime.config.store, most_replays=None, replay_retention_days=None)
    assert runtime.replaying.forget(settings) is None
    assert replays.delete_old(runtime.database.writer, None, 2, portion=1) == 3
    assert names(runtime) == ["r0", "r1"]


@pytest.mark.parametrize("wrong", [{"most_replays": 0}, {"replay_retention_days": 0}])
def test_a_retention_that_keeps_nothing_is_refused(runtime, wrong):
    """Naming the setting."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(runtime.config.store, **wrong)
