"""What is read for the degradation view: courses of instances and the signals around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from analysis.degradation_pace import RUNNING, Course, course, tables
from analysis.doors import counted_targets
from analysis.host_signals import WRITTEN, machine, samples
from analysis.incidents_signals import NEIGHBOUR_RUNNING, NEIGHBOUR_TOKENS
from analysis.instances import in_scope, instance_name
from analysis.root_cause.table import Floats
from store.queries.scope import Scope
from store.reader import Reader

# What is expected of an instance comes from so long before the range as well, and what was alike.
BEFORE_SECONDS = 6 * 3600.0
# Longest span -> width of a bin, seconds; longer spans are read in five minutes and cut off.
_WIDTHS = ((13 * 3600.0, 30), (31 * 3600.0, 60))
_WIDEST, _MOST_SECONDS = 300, 14 * 86_400.0
# More targets than this are read from roll-ups of five minutes: their samples are too many.
_MOST_TARGETS = 120


@dataclass(frozen=True, slots=True)
class Watched:
    """One instance.

    Attributes:
        target_id: of the store.
        instance: its name.
        model: None when unknown.
        machine: where it runs, as far as addresses tell.
        course: None when it tells no pace.
        signals: its own, the machine's and the neighbours', by name; the first that tells counts.
        told_by: name of a signal -> targets that told it.
    """

    target_id: int
    instance: str
    model: str | None
    machine: str
    course: Course | None
    signals: Sequence[Mapping[str, Floats]]
    told_by: Mapping[str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Read:
    """All that was read.

    Attributes:
        watched: instances, by name.
        others: their peers outside the labels asked for.
        end: aware UTC, where the last bin ends.
        step_seconds: width of a bin.
        bins: how many there are.
        shown_bins: how many of them, the newest, lie in the range asked for.
        has_targets: whether anything is connected.
    """

    watched: Sequence[Watched]
    others: Sequence[Watched]
    end: datetime
    step_seconds: int
    bins: int
    shown_bins: int
    has_targets: bool

    def at(self, bin_: int) -> datetime:
        """Where a bin begins, naive UTC."""
        back = timedelta(seconds=self.step_seconds * (self.bins - bin_))
        return self.end.replace(tzinfo=None) - back


def read(reader: Reader, scope: Scope) -> Read:
    """Instances and their machines from six hours before a range to its end."""
    whole = min(scope.seconds, _MOST_SECONDS) + BEFORE_SECONDS
    targets = counted_targets(reader, scope.end)
    is_large = targets.height > _MOST_TARGETS
    step = next((w for most, w in _WIDTHS if whole <= most and not is_large), _WIDEST)
    # Bins lie on round times, so that an incident keeps its name when the page is drawn again.
    end = datetime.fromtimestamp(scope.end.timestamp() // step * step, UTC)
    bins = int(whole // step)
    start = end - timedelta(seconds=bins * step)
    told = samples(reader, start, end, float(step), everything=True)
    by_target = tables(told, bins)
    found = [_watched(row, targets, by_target, bins) for row in targets.iter_rows(named=True)]
    engines = sorted((one for one in found if one is not None), key=lambda one: one.instance)
    mine = [in_scope(scope, one.instance, one.model) for one in engines]
    shown = min(bins, int(np.ceil(min(scope.seconds, _MOST_SECONDS) / step)))
    return Read(
        [one for one, asked in zip(engines, mine, strict=True) if asked],
        [one for one, asked in zip(engines, mine, strict=True) if not asked],
        end, step, bins, shown, targets.height > 0,
    )  # fmt: skip


def _watched(
    row: Mapping[str, object],
    targets: pl.DataFrame,
    by_target: Mapping[int, Mapping[str, Floats]],
    bins: int,
) -> Watched | None:
    own_id, here = int(str(row["target_id"])), machine(str(row["url"]))
    own = by_target.get(own_id, {})
    if row["engine"] is None or not (RUNNING in own or WRITTEN in own):
        return None
    near = {
        int(target): by_target.get(int(target), {})
        for target, url in targets.select("target_id", "url").iter_rows()
        if machine(url) == here and target != own_id
    }
    host = _host([own, *near.values()])
    beside = _neighbours(list(near.values()), bins)
    told_by = {
        name: frozenset(t for t, table in {own_id: own, **near}.items() if name in table)
        for name in {*own, *host}
    }
    told_by |= {name: frozenset(near) for name in beside}
    mine = {name: values for name, values in own.items() if not name.startswith("host.")}
    return Watched(
        own_id, instance_name(str(row["url"])), None if row["model"] is None else str(row["model"]),
        here, course(own, bins), (mine, host, beside), told_by,
    )  # fmt: skip


def _host(machines: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """Mean over all that tell the same of one machine."""
    names = {name for table in machines for name in table if name.startswith("host.")}
    return {name: _mean([t[name] for t in machines if name in t]) for name in sorted(names)}


def _neighbours(others: Sequence[Mapping[str, Floats]], bins: int) -> dict[str, Floats]:
    """What other engines on the machine do, summed up."""
    made = {}
    for name, source in ((NEIGHBOUR_TOKENS, WRITTEN), (NEIGHBOUR_RUNNING, RUNNING)):
        told = [table[source] for table in others if source in table]
        if told:
            rows = np.array(told)
            known = np.isfinite(rows).any(axis=0)
            made[name] = np.where(known, np.nan_to_num(rows).sum(axis=0), np.full(bins, np.nan))
    return made


def _mean(rows: Sequence[Floats]) -> Floats:
    stacked = np.array(rows)
    known = np.isfinite(stacked).sum(axis=0)
    added = np.nan_to_num(stacked).sum(axis=0)
    made: Floats = np.divide(added, known, out=np.full(len(added), np.nan), where=known > 0)
    return made
