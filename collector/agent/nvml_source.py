"""The NVIDIA cards of this node as a source."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

from collector.agent.gpu_faults import FaultWatch
from collector.agent.host_parse import Told
from collector.agent.host_source import samples_of
from collector.agent.nvml_cards import CardReading, NvmlCards
from collector.agent.wire import GpuFault
from collector.model import Scrape, TargetFacts
from store.clock import Clock


class NvmlSource:
    """Reads all cards at once, on a worker thread.

    Args:
        target_id: which target the scrapes belong to.
        cards: opened.
        node: host name, a label of every sample.
        clock: the time.
    """

    def __init__(self, target_id: int, cards: NvmlCards, node: str, clock: Clock) -> None:
        self._target_id = target_id
        self._cards = cards
        self._node = node
        self._clock = clock
        self._watch = FaultWatch(node)
        self._faults: list[GpuFault] = []
        self._xids: Counter[tuple[str, int]] = Counter()
        self._last_xid: dict[str, int] = {}
        self._told = False
        self._going: (
            asyncio.Task[tuple[tuple[CardReading, ...], tuple[tuple[str, int], ...]]] | None
        )
        self._going = None

    @property
    def target_id(self) -> int:
        """Which target the scrapes belong to."""
        return self._target_id

    def take_faults(self) -> tuple[GpuFault, ...]:
        """Faults noticed since the last call."""
        faults, self._faults = self._faults, []
        return tuple(faults)

    async def scrape(self, timeout_seconds: float) -> Scrape:
        """Read all cards once. A driver that hangs is a value, and is not asked twice at once."""
        at, start = self._clock.now(), self._clock.monotonic()
        if self._going is None:
            self._going = asyncio.create_task(asyncio.to_thread(self._read))
        done, _ = await asyncio.wait({self._going}, timeout=timeout_seconds)
        seconds = self._clock.monotonic() - start
        if not done:
            why = f"the driver did not answer within {timeout_seconds:g} s"
            return Scrape(self._target_id, at, seconds, "timeout", why)
        going, self._going = self._going, None
        cards, xids = going.result()
        self._faults += self._watch.step(at, cards, xids)
        for gpu, code in xids:
            self._xids[gpu, code] += 1
            self._last_xid[gpu] = code
        return self._scrape(cards, Scrape(self._target_id, at, seconds, "ok"))

    async def aclose(self) -> None:
        """Let go of the driver; safe twice."""
        self._cards.close()

    def _read(self) -> tuple[tuple[CardReading, ...], tuple[tuple[str, int], ...]]:
        return self._cards.read(), self._cards.xids()

    def _scrape(self, cards: tuple[CardReading, ...], empty: Scrape) -> Scrape:
        told = [value for card in cards if card.lost is None for value in self._values(card)]
        samples, refused = samples_of(told)
        lost = [f"GPU {card.gpu}: {card.lost}" for card in cards if card.lost is not None]
        if not samples:
            why = "; ".join(lost) or "the driver shows no card"
            return Scrape(empty.target_id, empty.at, empty.duration_seconds, "not_metrics", why)
        facts = None if self._told else TargetFacts("nvml", self._cards.driver_version)
        self._told = True
        return Scrape(
            empty.target_id,
            empty.at,
            empty.duration_seconds,
            "ok",
            sample_count=len(told),
            bad_line_count=refused + len(lost),
            samples=samples,
            facts=facts,
        )

    def _values(self, card: CardReading) -> Iterator[Told]:
        labels = {"node": self._node, "gpu": card.gpu, "gpu_uuid": card.uuid}
        about = {"gpu_model": card.model, "driver_version": self._cards.driver_version or ""}
        yield Told("gpu_present", {**labels, **about}, 1.0)
        for (signal, reason), value in card.values.items():
            yield Told(signal, {**labels, "reason": reason} if reason else labels, value)
        for (gpu, code), count in self._xids.items():
            if gpu == card.gpu:
                yield Told("gpu_xid_events_total", {**labels, "xid": str(code)}, float(count))
        if card.gpu in self._last_xid:
            yield Told("gpu_xid_last_code", labels, float(self._last_xid[card.gpu]))
        for process in card.processes:
            named = {"pid": str(process.pid), "process": process.name}
            held = {**labels, **{name: text for name, text in named.items() if text}}
            yield Told("gpu_process_memory_bytes", held, process.memory_bytes)
