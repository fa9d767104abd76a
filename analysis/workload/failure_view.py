"""The failures view."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from analysis.intervals import wilson
from analysis.measure import Empty, Measure, View
from analysis.workload.loading import NotingReader, empty_view, members
from analysis.workload.schemas import BY_LABEL_SCHEMA, BY_TIME_SCHEMA, empty_frames
from store.queries import totals
from store.queries import workload as queries
from store.queries.scope import Scope
from store.queries.slo import without_failures
from store.units import percent_text

_VIEW = "workload_failures"
_BLIND = "This format records no failures, so how many there were is unknown."


def workload_failures(reader: queries.FrameReader, scope: Scope) -> View:
    """What did not succeed, when and where, as a share of what was attempted.

    Failed is every status but ok: failed, refused and aborted.
    """
    return failures_view(reader, scope)


def failures_view(
    reader: queries.FrameReader, scope: Scope, *, with_times: bool = True, with_labels: bool = True
) -> View:
    """The same; `by_time` or `by_label`, where it is not asked for, is empty and costs nothing."""
    noting = NotingReader(reader)
    sources = members(noting, scope)
    statuses = totals.status_counts(noting, scope)
    attempted = int(statuses["requests"].sum())
    if attempted == 0:
        return empty_view(_VIEW, noting, scope, sources)
    bad = statuses.filter(pl.col("status") != "ok")
    failed = int(bad["requests"].sum())
    if failed == 0 and without_failures(noting, scope.source_ids):
        # A record that holds only what succeeded says nothing about failures, least of all none.
        return empty_view(_VIEW, noting, scope, sources, Empty("metric_absent", _BLIND))
    frames, sql = dict(empty_frames(_VIEW)), {}
    if with_times:
        width = _recorded(scope, statuses).bin_seconds()
        by_time = queries.failures_by_time(noting, scope, width)
        frames["by_time"] = by_time.cast(dict(BY_TIME_SCHEMA))  # type: ignore[arg-type]
        sql["by_time"] = noting.last_text
    if with_labels:
        ratio_column = (pl.col("failed") / pl.col("attempted")).alias("failure_ratio")
        by_label = totals.failures_by_label(noting, scope).with_columns(ratio_column)
        frames["by_label"] = by_label.cast(dict(BY_LABEL_SCHEMA))  # type: ignore[arg-type]
        sql["by_label"] = noting.last_text
    interval = wilson(failed, attempted) or (None, None)
    ratio = Measure(failed / attempted, "ratio", interval[0], interval[1], n=attempted)
    measures = {"failed": Measure(failed, "requests", n=attempted), "failure_ratio": ratio}
    return View(_VIEW, scope, measures, frames, _sentences(bad, failed, attempted), sql=sql)


def _recorded(scope: Scope, statuses: pl.DataFrame) -> Scope:
    """The scope from its first to its last request: it decides the width of bins."""
    first, last = statuses["first_at"].min(), statuses["last_at"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return scope
    end = queries.aware(last) + timedelta(seconds=1)
    return replace(scope, start=queries.aware(first), end=end)


def _sentences(bad: pl.DataFrame, failed: int, attempted: int) -> tuple[str, ...]:
    if failed == 0:
        return (f"None of the {attempted:,} attempted requests failed.",)
    kinds = bad.group_by("status").agg(pl.col("requests").sum()).sort("requests", descending=True)
    parts = ", ".join(f"{count:,} {status}" for status, count in kinds.rows())
    share = percent_text(failed / attempted)
    return (f"{failed:,} of {attempted:,} attempted requests ({share}) did not succeed: {parts}.",)
