"""Pages -> columns for the store; polars is imported only when frames are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from collector.engines.assemble import Cell, Reading
from collector.engines.resolve import Resolver
from collector.remote_write.pages import Flags, Page, Values
from collector.remote_write.plan import Plan, plan
from collector.remote_write.series import UP, Target
from store.signals import SIGNALS

if TYPE_CHECKING:
    import polars as pl

_MOST_PLAN_SLOTS = 1_000_000
# What a plan takes beside its slots, in slots.
_PLAN_SLOTS = 128
_DOWN = "its sender could not scrape it (up = 0)"


@dataclass(slots=True)
class _Samples:
    target_id: list[int] = field(default_factory=list)
    signal: list[str] = field(default_factory=list)
    kind: list[str] = field(default_factory=list)
    unit: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    at_ms: list[int] = field(default_factory=list)
    value: list[npt.NDArray[np.float64]] = field(default_factory=list)


@dataclass(slots=True)
class _Histograms:
    target_id: list[int] = field(default_factory=list)
    signal: list[str] = field(default_factory=list)
    unit: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    at_ms: list[int] = field(default_factory=list)
    count: list[npt.NDArray[np.float64]] = field(default_factory=list)
    sum: list[npt.NDArray[np.float64]] = field(default_factory=list)
    size: list[npt.NDArray[np.int64]] = field(default_factory=list)
    edges: list[npt.NDArray[np.float64]] = field(default_factory=list)
    cumulative: list[npt.NDArray[np.float64]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Graded:
    """A page as those need it who judge it.

    Attributes:
        target_id: whose.
        at_ms: milliseconds since 1970.
        seconds: what its scrape took.
        is_up: whether the sender could scrape it.
        error: why not.
        sample_count: lines of the page.
        lost_count: samples that should have come and did not.
        cells: slots with what their values mean.
    """

    target_id: int
    at_ms: int
    seconds: float
    is_up: bool
    error: str | None
    sample_count: int | None
    lost_count: int
    cells: tuple[tuple[int, tuple[Cell, ...]], ...]


Judge = Callable[[Graded, Resolver, Values], None]


class Rows:
    """Collects pages; `frames` gives the tables.

    `judge` is shown every page. `lost_count` counts the values whose page never became complete,
    `unusable_count` values outside the range of their signal.
    """

    def __init__(self, plans: PlanCache, judge: Judge | None = None) -> None:
        self._plans = plans
        self._judge = judge
        self._samples = _Samples()
        self._histograms = _Histograms()
        self._scrapes: list[tuple[Any, ...]] = []
        self.lost_count = 0
        self.unusable_count = 0

    def add(self, page: Page) -> None:
        """Add one page of a registered target."""
        target = page.target
        if target.target_id is None:
            raise ValueError("the target is not registered")
        told, values = page.flags(), page.values()
        missing = page.missing(told)
        compiled = self._plans.of(target, told, missing)
        lost = len(missing)
        self.lost_count += lost
        if compiled.is_simple(values):
            self._pick(target.target_id, page.at_ms, values, compiled)
            leftover = compiled.together
        else:
            leftover = compiled.all_cells
        unusable = self._assemble(target, page.at_ms, values, leftover) if leftover else 0
        self.unusable_count += unusable
        self._scrape(page, values, compiled, lost + unusable)
        if self._judge is not None and target.resolver is not None:
            _, at_ms, seconds, outcome, error, count, _ = self._scrapes[-1]
            said = (seconds, outcome == "ok", error, count, lost, compiled.all_cells)
            self._judge(Graded(target.target_id, at_ms, *said), target.resolver, values)

    def frames(self) -> dict[str, pl.DataFrame]:
        """Rows by table, with the columns of `store.append`."""
        import polars as pl

        types = [pl.Int32, pl.Int64, pl.Float64, pl.String, pl.String, pl.Int32, pl.Int32]
        schema = dict(zip(_SCRAPE, types, strict=True))
        scrapes = pl.DataFrame(self._scrapes, schema=schema, orient="row")
        told = {
            "sample": self._sample_frame(),
            "histogram_sample": self._histogram_frame(),
            "scrape": scrapes.with_columns(
                scraped_at=(pl.col("scraped_at") * 1000).cast(pl.Datetime("us"))
            ),
        }
        return {table: frame for table, frame in told.items() if frame.height}

    def _pick(self, target_id: int, at_ms: int, told: Values, compiled: Plan) -> None:
        plain, out = compiled.plain, self._samples
        values = plain.of(told)
        good = (values >= plain.lows) & (values <= plain.highs) & np.isfinite(values)
        chosen: list[Any] = [plain.signals, plain.kinds, plain.units, plain.labels]
        if not good.all():
            known = ~np.isnan(values)  # a NaN is nothing to complain about
            self.unusable_count += int((known & ~good).sum())
            places = np.flatnonzero(good).tolist()
            chosen = [[column[place] for place in places] for column in chosen]
            values = values[good]
        for column, more in zip((out.signal, out.kind, out.unit, out.labels), chosen, strict=True):
            column.extend(more)
        out.target_id += [target_id] * len(values)
        out.at_ms += [at_ms] * len(values)
        out.value.append(values)
        self._pick_histograms(target_id, at_ms, told, compiled)

    def _pick_histograms(self, target_id: int, at_ms: int, told: Values, compiled: Plan) -> None:
        buckets, out = compiled.buckets, self._histograms
        out.target_id += [target_id] * len(buckets.signals)
        out.at_ms += [at_ms] * len(buckets.signals)
        out.signal += buckets.signals
        out.unit += buckets.units
        out.labels += buckets.labels
        counts, sums, cumulative = buckets.of(told)
        out.count.append(counts)
        out.sum.append(sums)
        out.size.append(buckets.sizes)
        out.edges.append(buckets.edges)
        out.cumulative.append(cumulative)

    def _assemble(
        self,
        target: Target,
        at_ms: int,
        values: Values,
        leftover: Iterable[tuple[int, tuple[Any, ...]]],
    ) -> int:
        if target.resolver is None or target.target_id is None:
            return 0
        told = [(cells, float(values[slot])) for slot, cells in leftover]
        reading = target.resolver.assemble(told)
        self._add_reading(target.target_id, at_ms, reading)
        return reading.unusable_count

    def _add_reading(self, target_id: int, at_ms: int, reading: Reading) -> None:
        samples, histograms = self._samples, self._histograms
        for one in reading.samples:
            known = SIGNALS[one.signal]
            samples.target_id.append(target_id)
            samples.signal.append(one.signal)
            samples.kind.append(known.kind)
            samples.unit.append(known.unit)
            samples.labels.append(one.labels)
            samples.at_ms.append(at_ms)
        samples.value.append(np.array([one.value for one in reading.samples], np.float64))
        for told in reading.histograms:
            histograms.target_id.append(target_id)
            histograms.signal.append(told.signal)
            histograms.unit.append(SIGNALS[told.signal].unit)
            histograms.labels.append(told.labels)
            histograms.at_ms.append(at_ms)
            observed = np.nan if told.observation_sum is None else told.observation_sum
            histograms.count.append(np.array([told.observation_count]))
            histograms.sum.append(np.array([observed]))
            histograms.size.append(np.array([len(told.edges)], np.int64))
            histograms.edges.append(np.array(told.edges, np.float64))
            histograms.cumulative.append(np.array(told.cumulative_counts, np.float64))

    def _scrape(self, page: Page, values: Values, compiled: Plan, bad: int) -> None:
        """The sender's scrape as a row: what it says about itself, else that the page came."""
        facts = {name: float(values[slot]) for name, slot in compiled.facts.items()}
        is_up = facts.get(UP, 1.0) != 0.0
        seconds = facts.get("scrape_duration_seconds", 0.0)
        count = facts.get("scrape_samples_scraped", float(len(compiled.all_cells)))
        self._scrapes.append(
            (
                page.target.target_id,
                page.at_ms,
                seconds if np.isfinite(seconds) and seconds >= 0 else 0.0,
                "ok" if is_up else "unreachable",
                None if is_up else _DOWN,
                int(count) if is_up and 0 <= count < 2**31 else None,
                bad if is_up else None,
            )
        )

    def _sample_frame(self) -> pl.DataFrame:
        import polars as pl

        told = self._samples
        return pl.DataFrame(
            {
                "target_id": pl.Series(told.target_id, dtype=pl.Int32),
                **{
                    name: pl.Series(getattr(told, name), dtype=pl.String)
                    for name in ("signal", "kind", "unit", "labels")
                },
                "sampled_at": _times(told.at_ms),
                "value": _joined(told.value),
            }
        )

    def _histogram_frame(self) -> pl.DataFrame:
        import polars as pl

        told = self._histograms
        offsets = np.concatenate([[0], np.cumsum(_joined(told.size))]).astype(np.int64)
        return pl.DataFrame(
            {
                "target_id": pl.Series(told.target_id, dtype=pl.Int32),
                **{
                    name: pl.Series(getattr(told, name), dtype=pl.String)
                    for name in ("signal", "unit", "labels")
                },
                "sampled_at": _times(told.at_ms),
                "observation_count": _joined(told.count),
                "observation_sum": pl.Series(_joined(told.sum)).fill_nan(None),
                "edges": _lists(offsets, _joined(told.edges)),
                "cumulative_counts": _lists(offsets, _joined(told.cumulative)),
            }
        )


class PlanCache:
    """Plans by target and by what a page tells; most pages of a target tell the same.

    Args:
        most_slots: room for plans, in slots; beyond it the oldest are forgotten.
    """

    def __init__(self, most_slots: int = _MOST_PLAN_SLOTS) -> None:
        self._most_slots = most_slots
        self._slot_count = 0
        self._plans: dict[tuple[str, int, bytes, bytes], tuple[int, Plan]] = {}

    def __len__(self) -> int:
        return len(self._plans)

    def of(self, target: Target, told: Flags, missing: npt.NDArray[np.int64]) -> Plan:
        """The plan of a page.

        Args:
            target: what its slots mean.
            told: by slot, whether there is a value.
            missing: slots that should have one and have not.
        """
        key = (target.url, target.layout, np.packbits(told).tobytes(), missing.tobytes())
        found = self._plans.get(key)
        if found is None:
            slots = np.flatnonzero(told).tolist()
            cost = _PLAN_SLOTS + len(slots) + len(missing)
            found = self._plans[key] = cost, plan(target, slots, missing.tolist())
            self._slot_count += cost
            while self._slot_count > self._most_slots and len(self._plans) > 1:
                self._slot_count -= self._plans.pop(next(iter(self._plans)))[0]
        return found[1]


def _joined(parts: list[Any]) -> Any:
    return np.concatenate(parts) if parts else np.zeros(0)


def _times(at_ms: list[int]) -> pl.Series:
    import polars as pl

    return pl.Series(np.array(at_ms, np.int64) * 1000).cast(pl.Datetime("us"))


def _lists(offsets: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> pl.Series:
    import polars as pl
    import pyarrow as pa

    array = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
    series = pl.from_arrow(array)
    if not isinstance(series, pl.Series):
        raise TypeError("a list column was expected")
    return series


_SCRAPE = (
    *("target_id", "scraped_at", "duration_seconds", "outcome", "error"),
    *("sample_count", "bad_line_count"),
)
