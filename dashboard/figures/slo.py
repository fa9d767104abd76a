"""Figures of objectives: budget, burn, events, who spent it, thresholds."""

from __future__ import annotations

import polars as pl

from dashboard.figures.base import (
    Look,
    Picture,
    axis,
    from_first_known,
    label,
    layout,
    level,
    line,
    log_axis,
    numbers,
    soft,
    time_axis,
    times,
)
from dashboard.theme import BLUE, GREY, PURPLE, VERMILION
from store.units import percent_text

# Source: Google SRE Workbook, chapter 5, multi-window multi-burn-rate alerts.
ALERT_LINES = (14.4, 6.0, 3.0, 1.0)
_TICKS = [0.01, 0.1, 0.3, *sorted(ALERT_LINES), 50, 100, 1000]
_TICK_WORDS = [f"{tick:g}\N{MULTIPLICATION SIGN}" for tick in _TICKS]


def budget(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Error budget left over the SLO's own window; below zero is overspent, never clamped.

    Args:
        frame: `at`, `budget_left_ratio` (1 = untouched, negative = overspent).
        look: zone and clock.
    """
    # The objective's window may begin long before its first request.
    frame = from_first_known(frame, ["budget_left_ratio"])
    left = numbers(frame, "budget_left_ratio")
    known = [v for v in left if v is not None]
    if not known:
        return "The budget is not known: no event of this objective lies in its window."
    trace = line(
        times(frame, "at", look), left, "budget left", 0, fill="tozeroy", fillcolor=soft(BLUE, 0.12)
    )
    shape, _ = level(0, "", VERMILION)
    y = axis(
        "budget left", tickformat=".0%", range=[min(0.0, min(known) * 1.08), max(1.02, max(known))]
    )
    made = layout(time_axis(look), y) | {"shapes": [shape], "annotations": [label(0, "exhausted")]}
    now = known[-1]
    words = f"overspent by {percent_text(-now)}" if now < 0 else f"{percent_text(now)} left"
    return Picture(
        {"data": [trace], "layout": made}, f"Error budget over the window: {words} at its end."
    )


def burn(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Burn rate over four windows on a logarithmic axis, with the alert thresholds.

    Args:
        frame: `at`, `burn_5m`, `burn_1h`, `burn_6h`, `burn_3d`; 1 spends the budget exactly.
        look: zone and clock.
    """
    names = [c for c in ("burn_5m", "burn_1h", "burn_6h", "burn_3d") if c in frame.columns]
    frame = from_first_known(frame, names)
    at = times(frame, "at", look)
    traces, words = [], []
    for index, name in enumerate(names):
        # A logarithmic axis has no zero: no burn is drawn as a gap and said so on the axis.
        values = [v if v is not None and v > 0 else None for v in numbers(frame, name)]
        title = (
            name.removeprefix("burn_").replace("m", " min").replace("h", " h").replace("d", " d")
        )
        known = [v for v in values if v is not None]
        if known:
            traces.append(line(at, values, title, index))
        words.append(f"{title} at most {max(known):.3g}" if known else f"{title} none")
    if not traces:
        return "Nothing burns: no bad event in this range, or too few events to tell."
    y = axis(
        "\N{MULTIPLICATION SIGN} sustainable (log; gap = none)",
        "log",
        tickvals=_TICKS,
        ticktext=_TICK_WORDS,
    )
    del y["dtick"]
    made = layout(time_axis(look), y, legend=True)
    made["shapes"] = [level(v, "", VERMILION if v > 3 else GREY)[0] for v in ALERT_LINES]
    return Picture({"data": traces, "layout": made}, f"Burn rate by window: {', '.join(words)}.")


def events(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Good, bad and undetermined attempts per bin: counts add up, so they may be stacked.

    Args:
        frame: `at`, `good`, `bad`, `undetermined`.
        look: zone and clock.
    """
    at = times(frame, "at", look)
    traces = []
    styles = (("good", BLUE, ""), ("bad", VERMILION, "/"), ("undetermined", PURPLE, "."))
    for name, colour, pattern in styles:
        marker = {"color": colour, "pattern": {"shape": pattern, "solidity": 0.4}}
        traces.append(
            {"type": "bar", "x": at, "y": numbers(frame, name), "name": name, "marker": marker}
        )
    made = layout(time_axis(look), axis("requests", from_zero=True), legend=True, barmode="stack")
    total = {name: frame.get_column(name).sum() or 0 for name, _, _ in styles}
    words = ", ".join(f"{value:,} {name}" for name, value in total.items())
    return Picture({"data": traces, "layout": made}, f"Events in this range: {words}.")


def spent_by(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Share of the bad events beside the share of the traffic, the worst first.

    Args:
        frame: `dimension`, `value`, `bad`, `attempted`, `bad_share_ratio`, `traffic_share_ratio`,
            `over_representation` (bad share ÷ traffic share).
        look: unused, kept for the common signature.
    """
    frame = (
        frame.filter(pl.col("bad") > 0).sort("bad_share_ratio", descending=True).head(10).reverse()
    )
    if frame.is_empty():
        return "Nothing was spent: no bad event in this range."
    names = [f"{row['dimension']}: {row['value']}"[:38] for row in frame.iter_rows(named=True)]
    bad = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": numbers(frame, "bad_share_ratio"),
        "name": "share of bad events",
        "marker": {"color": VERMILION},
        "customdata": frame.select("bad", "attempted", "over_representation").rows(),
        "hovertemplate": "%{x:.1%} of bad: %{customdata[0]:,} of %{customdata[1]:,} attempts, "
        "%{customdata[2]:.2f}\N{MULTIPLICATION SIGN} its traffic share<extra></extra>",
    }
    traffic = {
        "type": "scatter",
        "mode": "markers",
        "y": names,
        "x": numbers(frame, "traffic_share_ratio"),
        "name": "share of traffic",
        "marker": {"symbol": "line-ns-open", "size": 16, "color": GREY, "line": {"width": 3}},
        "hovertemplate": "%{x:.1%} of traffic<extra></extra>",
    }
    y = axis("", "category", showgrid=False)
    made = layout(axis("share", tickformat=".0%", range=[0, 1.02]), y, legend=True)
    worst = frame.row(-1, named=True)
    share = percent_text(worst["bad_share_ratio"])
    words = f"{worst['dimension']} {worst['value']} holds {share} of the bad events"
    return Picture({"data": [bad, traffic], "layout": made}, f"Who spent the budget: {words}.")


def thresholds(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Attainment as a function of the threshold.

    Args:
        frame: `threshold_seconds`, `attainment_ratio`.
        look: unused, kept for the common signature.
    """
    frame = frame.filter(pl.col("threshold_seconds") > 0)
    if frame.is_empty():
        return (
            "This objective has no threshold to vary, or no request carries the time it is about."
        )
    trace = line(numbers(frame, "threshold_seconds"), numbers(frame, "attainment_ratio"))
    trace["hovertemplate"] = "at %{x:.3g} s: %{y:.2%} met<extra></extra>"
    made = layout(
        log_axis("threshold (s)", trace["x"]),
        axis("attainment", tickformat=".0%", range=[0, 1.02]),
    )
    pairs = zip(trace["x"], trace["y"], strict=True)
    reach = [at for at, met in pairs if at is not None and met is not None and met >= 0.99]
    words = f"99 % would be met at {min(reach):.3g} s" if reach else "none here reaches 99 %"
    return Picture({"data": [trace], "layout": made}, f"Attainment by threshold: {words}.")
