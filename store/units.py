"""Numbers to words: milliseconds and percent exist only here, never in a name or a table."""

from __future__ import annotations

import math

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")


def seconds_text(value: float | None) -> str:
    """A duration with three significant digits: "45 ms", "1.25 s", "3 min 20 s", "2.5 d"."""
    if value is None or math.isnan(value):
        return "unknown"
    size = abs(value)
    if size == 0:
        return "0 s"
    if size < 1e-3:
        return f"{value * 1e6:.3g} µs"
    if size < 1:
        return f"{value * 1e3:.3g} ms"
    if size < 120:
        return f"{value:.3g} s"
    if size < 7200:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if size < 172_800:
        return f"{value / 3600:.3g} h"
    return f"{value / 86_400:.3g} d"


def percent_text(ratio: float | None, digits: int = 1) -> str:
    """A ratio 0..1 as percent, never rounded up to 100 % or down to 0 %."""
    if ratio is None or math.isnan(ratio):
        return "unknown"
    text = f"{ratio * 100:.{digits}f}"
    edge = 10.0**-digits
    if float(text) >= 100 and ratio < 1:
        return f"> {100 - edge:.{digits}f} %"
    if float(text) == 0 and ratio > 0:
        return f"< {edge:.{digits}f} %"
    return f"{text} %"


def signed_percent_text(ratio: float | None) -> str:
    """A gain or a loss as percent: "+12 %", "-3 %"; "unknown" when it is."""
    if ratio is None or math.isnan(ratio):
        return "unknown"
    sign = "+" if ratio >= 0 else "\N{MINUS SIGN}"
    digits = 1 if abs(ratio) < 0.0995 else 0
    return f"{sign}{abs(ratio) * 100:.{digits}f} %"


def count_text(value: float | None) -> str:
    """A count with thousands separators."""
    return "unknown" if value is None or math.isnan(value) else f"{value:,.0f}"


def counted(count: float | None, one: str, many: str | None = None) -> str:
    """A count and its word: 1 request, 28,185 requests."""
    word = one if count == 1 else many or f"{one}s"
    return f"{count_text(count)} {word}"


def bytes_text(value: float | None) -> str:
    """A size in binary units."""
    if value is None or math.isnan(value):
        return "unknown"
    size = float(value)
    for unit in _BINARY:
        if abs(size) < 1024 or unit == _BINARY[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
