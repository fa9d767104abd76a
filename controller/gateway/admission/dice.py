"""Dice without a seed: the same number falls the same way in every process."""

from __future__ import annotations

_MASK = (1 << 64) - 1


def share_of(number: int, salt: int = 0) -> float:
    """Evenly in [0, 1), by number. Source: splitmix64 (Steele, Lea, Flood 2014)."""
    mixed = (number + (salt + 1) * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)
