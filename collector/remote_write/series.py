"""Every series that has been pushed, by the bytes of its labels: worked out once, then a lookup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from collector.detect import engine_by_name
from collector.engines.adapter import Engine
from collector.engines.assemble import Cell
from collector.engines.resolve import Resolver, family_of
from collector.remote_write import labels as wire

MOST_SERIES = 200_000
MOST_KEY_BYTES = 64 << 20
MOST_SLOTS = 10_000
_MOST_WAITING = 2_000
_ROLES = ("engine", "gateway", "exporter")

KEPT = 0
UNKNOWN_FAMILY = 1
NO_TARGET = 2
NO_ENGINE = 3
TOO_MANY = 4
BAD = 5
"""What becomes of a series; from BAD on its samples are refused."""
LEFT_OUT: Mapping[int, str] = {
    UNKNOWN_FAMILY: "no adapter reads this family",
    NO_TARGET: "it has no job and instance label, so it belongs to no target",
    NO_ENGINE: "its target shows no engine or exporter that is known here",
    TOO_MANY: f"its target has more than {MOST_SLOTS:,} series that are read",
}
# Prometheus's own series about a target say how its scrape went.
UP = "up"
SCRAPE_FACTS = (UP, "scrape_duration_seconds", "scrape_samples_scraped")

Labels = wire.Labels


@dataclass(slots=True)
class Kept:
    """A series whose values are used.

    Attributes:
        name: of the metric.
        labels: all but the name.
        cells: where its values go; empty for a fact of the scrape itself.
        fact: which fact of the scrape it is, or "".
    """

    name: str
    labels: Labels
    cells: tuple[Cell, ...]
    fact: str = ""


@dataclass(slots=True)
class Target:
    """What is known of one pushed target.

    Attributes:
        url: `remote-write://job/instance`.
        engines: whose names its series carry, closest to the work first.
        resolver: what its series mean; None while no engine is known.
        kept: its used series; their places are the slots of its pages.
        alive: by slot, whether the series is still told.
        layout: grows when `kept` changes its meaning.
        settled: whether its first page is complete, so that completeness can be judged.
        newest_ms: time of its newest page.
        target_id: in the store, None until it is registered.
        told_engine: the engine that the store was told.
        gone: whether the sender said that all its series ended.
    """

    url: str
    engines: tuple[Engine, ...] = ()
    resolver: Resolver | None = None
    kept: list[Kept] = field(default_factory=list)
    waiting: list[tuple[int, str, Labels]] = field(default_factory=list)
    alive: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(64, np.bool_))
    layout: int = 0
    settled: bool = False
    newest_ms: int = 0
    target_id: int | None = None
    told_engine: str | None = None
    gone: bool = False


class SeriesTable:
    """Wire bytes of labels -> number of the series; columns by number say what it means."""

    def __init__(self, most_series: int = MOST_SERIES) -> None:
        self._most_series = most_series
        self.types: dict[str, str] = {}
        self._resolvers: dict[tuple[str, ...], Resolver] = {}
        self.number_of: dict[bytes, int] = {}
        self.keys: list[bytes] = []
        self._key_bytes = 0
        self.targets: list[Target] = []
        self._target_of_url: dict[str, int] = {}
        self.fault_of: dict[int, str] = {}
        self.example_of: dict[int, str] = {}
        self.fate = np.zeros(1024, np.int8)
        self.target = np.zeros(1024, np.int32)
        self.slot = np.zeros(1024, np.int32)

    @property
    def is_full(self) -> bool:
        """Whether it is time to forget and begin again."""
        return len(self.keys) >= self._most_series or self._key_bytes >= MOST_KEY_BYTES

    def learn(self, key: bytes, told: Labels) -> int:
        """The number of a series that is not known yet.

        Args:
            key: its labels as `labels.encoded` writes them.
            told: the same, decoded.
        """
        number = len(self.keys)
        self.keys.append(key)
        self._key_bytes += len(key)
        self.number_of[key] = number
        self._make_room(number)
        fault = wire.TOO_LONG if len(key) > wire.MOST_BYTES else wire.fault(told)
        if fault is not None:
            self.fate[number] = BAD
            self.fault_of[number] = fault
            return number
        named = dict(told)
        name = named.pop(wire.NAME)
        url = wire.target_url(named)
        if url is None:
            self._leave_out(number, NO_TARGET, name)
        else:
            self._place(number, self._target(url), name, tuple(named.items()))
        return number

    def learn_types(self, types: Mapping[str, str]) -> None:
        """Note the TYPE of families; only a few rules ask for one."""
        if len(self.types) < self._most_series:
            self.types.update(types)

    def _make_room(self, number: int) -> None:
        if number >= len(self.fate):
            more = len(self.fate)
            self.fate = np.concatenate([self.fate, np.zeros(more, np.int8)])
            self.target = np.concatenate([self.target, np.zeros(more, np.int32)])
            self.slot = np.concatenate([self.slot, np.zeros(more, np.int32)])

    def _target(self, url: str) -> int:
        number = self._target_of_url.get(url)
        if number is None:
            number = self._target_of_url[url] = len(self.targets)
            self.targets.append(Target(url))
        return number

    def _leave_out(self, number: int, fate: int, name: str) -> None:
        self.fate[number] = fate
        self.example_of[number] = name

    def _place(self, number: int, place: int, name: str, labels: Labels) -> None:
        """Give a series of a target its slot, or note why it gets none."""
        target = self.targets[place]
        self.target[number] = place
        if name in SCRAPE_FACTS:
            self._keep(number, target, Kept(name, labels, (), name))
            return
        engine = engine_by_name(name)
        if engine is not None and engine not in target.engines:
            self._found_engine(target, engine)
        if len(target.kept) >= MOST_SLOTS:
            self._leave_out(number, TOO_MANY, name)
            return
        cells = self._cells(target, name, labels)
        if cells:
            self._keep(number, target, Kept(name, labels, cells))
            return
        self._leave_out(number, UNKNOWN_FAMILY if target.resolver else NO_ENGINE, name)
        if len(target.waiting) < _MOST_WAITING:
            target.waiting.append((number, name, labels))

    def _cells(self, target: Target, name: str, labels: Labels) -> tuple[Cell, ...]:
        if target.resolver is None:
            return ()
        declared = ""
        if name in target.resolver.typed_names:
            declared = self.types.get(name) or self.types.get(family_of(name), "")
        return target.resolver.cells(name, labels, declared)

    def _keep(self, number: int, target: Target, kept: Kept) -> None:
        slot = len(target.kept)
        if slot >= MOST_SLOTS:
            self._leave_out(number, TOO_MANY, kept.name)
            return
        target.kept.append(kept)
        target.layout += 1
        if slot >= len(target.alive):
            target.alive = np.concatenate([target.alive, np.zeros(slot, np.bool_)])
        self.fate[number] = KEPT
        self.slot[number] = slot

    def _found_engine(self, target: Target, engine: Engine) -> None:
        """Work out again what the target's series mean, now that one more engine is known."""
        found = sorted((*target.engines, engine), key=lambda one: _ROLES.index(one.role))
        target.engines = tuple(found)
        names = tuple(one.name for one in found)
        if names not in self._resolvers:
            self._resolvers[names] = Resolver(*found)
        target.resolver = self._resolvers[names]
        for kept in target.kept:
            if not kept.fact:
                kept.cells = self._cells(target, kept.name, kept.labels)
        target.layout += 1
        waiting, target.waiting = target.waiting, []
        for number, name, labels in waiting:
            cells = self._cells(target, name, labels)
            if cells:
                self._keep(number, target, Kept(name, labels, cells))
            else:
                self._leave_out(number, UNKNOWN_FAMILY, name)
                target.waiting.append((number, name, labels))
