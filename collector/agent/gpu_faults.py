"""What goes wrong on cards between two readings: XID, ECC, throttling, a card that is lost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from collector.agent.nvml_cards import CardReading
from collector.agent.wire import GpuFault

# Bits of nvmlClocksEventReasons that mean trouble; idle, application clocks and the plain power cap
# are how a card works.
_SLOWDOWN = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
# Codes that people meet, in short. Source: NVIDIA, "XID Errors".
XIDS = {
    13: "graphics engine exception, mostly a fault of the program",
    31: "memory page fault, mostly a fault of the program",
    43: "the program's channel was reset after its own fault",
    45: "the program's channels were torn down",
    48: "memory error that could not be corrected: drain the node, then reset the card",
    61: "internal microcontroller breakpoint: reset the card",
    62: "internal microcontroller halt: reset the card",
    63: "memory row remapped, or page retired: takes effect at the next reset",
    64: "memory row could not be remapped: have the card looked at",
    74: "NVLink error: reset; when it comes back, have the link looked at",
    79: "the card has fallen off the bus: the node needs a restart",
    92: "many corrected memory errors",
    94: "memory error contained to one program: restart that program",
    95: "memory error that was not contained: reset the card",
    119: "the card's system processor does not answer: reset the card",
    120: "error of the card's system processor: reset the card",
}


class FaultWatch:
    """Compares each reading with the one before.

    Args:
        node: host name, part of each fault.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._ecc: dict[str, float] = {}
        self._slow_since: dict[str, tuple[datetime, int]] = {}
        self._lost: set[str] = set()

    def step(
        self, at: datetime, cards: Iterable[CardReading], xids: Iterable[tuple[str, int]]
    ) -> tuple[GpuFault, ...]:
        """What is new: a throttled stretch is told when it is over, all else at once."""
        # A fault is known by card, kind and time: two of one reading are a microsecond apart.
        found = [
            self._xid(at + timedelta(microseconds=place), gpu, code)
            for place, (gpu, code) in enumerate(xids)
        ]
        for card in cards:
            found += self._loss(at, card)
            if card.lost is None:
                found += self._errors(at, card)
                found += self._slowdown(at, card)
        return tuple(found)

    def _xid(self, at: datetime, gpu: str, code: int) -> GpuFault:
        meaning = XIDS.get(code, "see NVIDIA's list of XID errors")
        return GpuFault(self._node, gpu, at, None, "xid", f"XID {code}: {meaning}")

    def _loss(self, at: datetime, card: CardReading) -> list[GpuFault]:
        if card.lost is None:
            self._lost.discard(card.gpu)
            return []
        if card.gpu in self._lost:
            return []
        self._lost.add(card.gpu)
        return [GpuFault(self._node, card.gpu, at, None, "lost", f"not readable: {card.lost}")]

    def _errors(self, at: datetime, card: CardReading) -> list[GpuFault]:
        count = card.values.get(("gpu_ecc_uncorrected_total", ""))
        if count is None:
            return []
        before = self._ecc.get(card.gpu, count)
        self._ecc[card.gpu] = count
        if count <= before:  # a driver that was loaded again counts from 0
            return []
        text = f"{count - before:.0f} memory errors that could not be corrected"
        return [GpuFault(self._node, card.gpu, at, None, "ecc", text)]

    def _slowdown(self, at: datetime, card: CardReading) -> list[GpuFault]:
        bits = int(card.values.get(("gpu_clock_limit_bits", ""), 0)) & sum(_SLOWDOWN)
        if bits:
            since, seen = self._slow_since.get(card.gpu, (at, 0))
            self._slow_since[card.gpu] = (since, seen | bits)
            return []
        if card.gpu not in self._slow_since:
            return []
        since, seen = self._slow_since.pop(card.gpu)
        why = ", ".join(text for bit, text in _SLOWDOWN.items() if seen & bit)
        return [GpuFault(self._node, card.gpu, since, at, "throttle", f"clocks held down: {why}")]
