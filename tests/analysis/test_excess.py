"""Excess time of bad requests: its definition, and that what is not asked for changes nothing."""

import random
from statistics import fmean, median

import pytest

from store.queries.excess import phase_excess
from store.queries.slo import GoodRule

RULE = GoodRule({"ttft_seconds": 1.0})


@pytest.fixture
def rows(add_requests):
    """Requests of which some know a phase, some failed and some were refused."""
    chance = random.Random(7)  # noqa: S311 - numbers, no secrets
    made = []
    for _ in range(400):
        status = chance.choices(["ok", "failed", "aborted", "refused"], [90, 3, 3, 4])[0]
        queue = None if chance.random() < 0.2 else chance.uniform(0, 0.9)
        prefill = None if chance.random() < 0.2 else chance.uniform(0, 0.9)
        ttft = None if chance.random() < 0.1 else (queue or 0) + (prefill or 0) + 0.05
        made.append({"status": status, "queue_seconds": queue, "prefill_seconds": prefill,
                     "ttft_seconds": ttft, "decode_seconds": chance.uniform(1, 4)})  # fmt: skip
    columns = {name: [row[name] for row in made] for name in made[0]}
    add_requests([float(i + 1) for i in range(len(made))], **columns)
    return made


def test_excess_is_what_a_bad_request_took_beyond_the_median_of_good_ones(
    database, live_scope, rows
):
    """Counted again in plain Python; a request that knows no TTFT is neither good nor bad."""
    found = phase_excess(database.reader, live_scope, RULE, live_scope.start, live_scope.end)
    is_good = [
        row["ttft_seconds"] and row["ttft_seconds"] <= 1.0 if row["status"] == "ok" else False
        for row in rows
    ]
    bad = [row for row, good in zip(rows, is_good, strict=True) if good is False]
    assert (found.bad, found.refused) == (
        len(bad), sum(row["status"] == "refused" for row in bad)
    )  # fmt: skip
    assert found.failed == sum(row["status"] in ("failed", "aborted") for row in bad)
    for phase in ("queue", "decode"):
        good = [r[f"{phase}_seconds"] for r, g in zip(rows, is_good, strict=True) if g]
        good = [value for value in good if value is not None]
        spent = [r[f"{phase}_seconds"] for r in bad if r[f"{phase}_seconds"] is not None]
        (row,) = [one for one in found.phases.to_dicts() if one["phase"] == phase]
        assert (row["good"], row["bad"]) == (len(good), len(spent))
        assert row["typical_seconds"] == pytest.approx(median(good))
        assert row["bad_mean_seconds"] == pytest.approx(fmean(spent))
        beyond = sum(max(0.0, value - median(good)) for value in spent)
        assert row["excess_seconds"] == pytest.approx(beyond)


def test_a_phase_says_the_same_alone_and_among_others(database, live_scope, rows):
    """What is not asked for is not measured; everything else stays as it is."""
    span = (live_scope.start, live_scope.end)
    whole = phase_excess(database.reader, live_scope, RULE, *span)
    for asked in (["prefill"], ["queue", "decode"], []):
        part = phase_excess(database.reader, live_scope, RULE, *span, phases=asked)
        assert part.phases.to_dicts() == [
            row for row in whole.phases.to_dicts() if row["phase"] in asked
        ]
        assert (part.bad, part.refused, part.failed) == (whole.bad, whole.refused, whole.failed)


def test_nothing_bad_leaves_what_is_typical(database, live_scope, add_requests):
    """Good requests alone: a median, and no excess that is known."""
    add_requests([1.0, 2.0, 3.0], ttft_seconds=0.5, queue_seconds=[0.1, 0.2, 0.4])
    found = phase_excess(database.reader, live_scope, RULE, live_scope.start, live_scope.end)
    queue = found.phases.row(0, named=True)
    assert (queue["typical_seconds"], queue["good"], queue["bad"]) == (0.2, 3, 0)
    assert queue["excess_seconds"] is None
    assert found.bad == 0
