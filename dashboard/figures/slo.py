"""Figures of objectives: budget, burn, events, who spent it, thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dashboard.figures.base import (
    Look,
    Picture,
    Trace,
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
from dashboard.text import when
from dashboard.theme import BLUE, GREY, PURPLE, VERMILION
from store.units import percent_text, seconds_text

# Source: Google SRE Workbook, chapter 5, multi-window multi-burn-rate alerts.
ALERT_LINES = (14.4, 6.0, 3.0, 1.0)
_USUAL_TARGET = 0.99
_FURTHER_TICKS = (0.01, 0.1, 0.3, 50.0, 100.0, 1000.0)


def budget(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Error budget left over the SLO's own window; below zero is overspent, never clamped.

    Args:
        frame: `at`, `budget_left_ratio` (1 = untouched, negative = overspent); `projected_ratio`,
            where it goes at the pace of the last hours, null in the past, may be left out.
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
    ahead, said = _ahead(frame, look)
    made = layout(time_axis(look), y, legend=bool(ahead))
    gone = label(0, "exhausted")
    if ahead:  # the dashed line ends where the word would stand
        gone |= {"x": 0, "xanchor": "left"}
    made |= {"shapes": [shape], "annotations": [gone]}
    now = known[-1]
    words = f"overspent by {percent_text(-now)}" if now < 0 else f"{percent_text(now)} left"
    return Picture(
        {"data": [trace, *ahead], "layout": made},
        f"Error budget over the window: {words} at its end{said}.",
    )


def _ahead(frame: pl.DataFrame, look: Look) -> tuple[list[Trace], str]:
    """Where the budget goes from now on, and what that says; nothing where it does not go."""
    if "projected_ratio" not in frame.columns:
        return [], ""
    course = frame.drop_nulls("projected_ratio")
    if course.height < 2:  # a trace has no time behind its last record
        return [], ""
    style = {"color": VERMILION, "dash": "dash", "width": 2}
    at, values = times(course, "at", look), numbers(course, "projected_ratio")
    trace = line(
        at, values, "at the 6 h pace", 1, line=style, fill="tozeroy",
        fillcolor=soft(VERMILION, 0.12),
    )  # fmt: skip
    rest, until = values[-1] or 0.0, when(course["at"][-1], look.zone, look.clock)
    left = "gone" if rest <= 0 else f"down to {percent_text(rest)}"
    return [trace], f"; at the pace of the last 6 hours {left} by {until}"


def burn(
    frame: pl.DataFrame, look: Look, alert_lines: Sequence[float] = ALERT_LINES
) -> Picture | str:
    """Burn rate over four windows on a logarithmic axis, with the alert thresholds.

    Args:
        frame: `at`, `burn_5m`, `burn_1h`, `burn_6h`, `burn_3d`; 1 spends the budget exactly.
        look: zone and clock.
        alert_lines: the burns from which on the objective's own alerts fire.
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
    ticks = sorted({*_FURTHER_TICKS, *alert_lines})
    y = axis(
        "\N{MULTIPLICATION SIGN} sustainable (log; gap = none)",
        "log",
        tickvals=ticks,
        ticktext=[f"{tick:.3g}\N{MULTIPLICATION SIGN}" for tick in ticks],
    )
    del y["dtick"]
    made = layout(time_axis(look), y, legend=True)
    made["shapes"] = [level(v, "", VERMILION if v > 3 else GREY)[0] for v in alert_lines]
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
    # Hours have a picture of their own: among the others none of 24 would ever be the largest.
    spenders = frame.filter((pl.col("bad") > 0) & (pl.col("dimension") != "hour"))
    frame = spenders.sort("bad_share_ratio", descending=True).head(10).reverse()
    if frame.is_empty():
        return "Nothing was spent: no bad event in this range."
    names = [bar_name(row["dimension"], row["value"]) for row in frame.iter_rows(named=True)]
    bad = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": numbers(frame, "bad_share_ratio"),
        "name": "share of bad events",
        "marker": {"color": VERMILION},
        "text": [f"{bad:,}" for bad in frame["bad"]],
        "textposition": "outside",
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
    # Room for the count behind a bar of 100 %.
    made = layout(axis("share", tickformat=".0%", range=[0, 1.14]), y, legend=True)
    worst = frame.row(-1, named=True)
    share = percent_text(worst["bad_share_ratio"])
    words = f"{worst['dimension']} {worst['value']} holds {share} of the bad events"
    return Picture({"data": [bad, traffic], "layout": made}, f"Who spent the budget: {words}.")


def bar_name(dimension: str, value: str) -> str:
    """What a bar of *Who spent it* is called."""
    return f"{dimension}: {value}"[:38]


def spent_hours(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Share of the bad events by hour of the day, beside the share of the traffic.

    Args:
        frame: as of `spent_by`; rows of dimension "hour" with values such as "13:00-14:00", UTC.
        look: unused, kept for the common signature.
    """
    hours = frame.filter(pl.col("dimension") == "hour").sort("value")
    if hours.height < 2:
        return "Needs data from at least two hours of the day."
    if not hours["bad"].sum():
        return "Nothing was spent: no bad event in this range."
    at = [int(text[:2]) for text in hours["value"].to_list()]
    bad = {
        "type": "bar",
        "x": at,
        "width": 0.85,  # an hour is as wide among three as among 24
        "y": numbers(hours, "bad_share_ratio"),
        "name": "share of bad events",
        "marker": {"color": VERMILION},
        "customdata": hours.select("bad", "attempted", "over_representation").rows(),
        "hovertemplate": "%{x}:00 UTC  %{y:.1%} of bad: %{customdata[0]:,} of %{customdata[1]:,} "
        "attempts, %{customdata[2]:.2f}\N{MULTIPLICATION SIGN} its traffic share<extra></extra>",
    }
    traffic = {
        "type": "scatter",
        "mode": "markers",
        "x": at,
        "y": numbers(hours, "traffic_share_ratio"),
        "name": "share of traffic",
        "marker": {"symbol": "line-ew-open", "size": 12, "color": GREY, "line": {"width": 3}},
        "hovertemplate": "%{y:.1%} of traffic<extra></extra>",
    }
    x = axis("hour of the day (UTC)", showgrid=False, dtick=3, range=[-0.5, 23.5])
    made = layout(x, axis("share", from_zero=True, tickformat=".0%"), legend=True)
    worst = hours.sort("bad_share_ratio", descending=True).row(0, named=True)
    words = f"{worst['value']} UTC holds {percent_text(worst['bad_share_ratio'])} of the bad events"
    return Picture({"data": [bad, traffic], "layout": made}, f"When it was spent: {words}.")


def thresholds(frame: pl.DataFrame, look: Look, target_ratio: float | None = None) -> Picture | str:
    """Attainment as a function of the threshold, with the objective as it is.

    Args:
        frame: `threshold_seconds`, `attainment_ratio`, `is_objective` (the row of its own one).
        look: unused, kept for the common signature.
        target_ratio: the share that is wanted; drawn as a line.
    """
    frame = frame.filter(pl.col("threshold_seconds") > 0)
    if frame.is_empty():
        return (
            "This objective has no threshold to vary, or no request carries the time it is about."
        )
    trace = line(
        numbers(frame, "threshold_seconds"), numbers(frame, "attainment_ratio"), "attainment"
    )
    trace["hovertemplate"] = "at %{x:.3g} s: %{y:.2%} met<extra></extra>"
    own, said = _own_threshold(frame.filter("is_objective"))
    made = layout(
        log_axis("threshold (s)", trace["x"]),
        axis("attainment", tickformat=".0%", range=[0, 1.06]),
    )
    if target_ratio is not None:
        shape, words = level(target_ratio, f"{percent_text(target_ratio, 2)} wanted", VERMILION)
        made |= {"shapes": [shape], "annotations": [words]}
    met = _reaching(frame, target_ratio or _USUAL_TARGET)
    return Picture(
        {"data": [trace, *own], "layout": made}, f"Attainment by threshold: {said}{met}."
    )


def _own_threshold(own: pl.DataFrame) -> tuple[list[Trace], str]:
    """A mark where the objective is, and what it says: "at 500 ms it is 99.2 %"."""
    if own.is_empty():
        return [], ""
    seconds, met = own.select("threshold_seconds", "attainment_ratio").row(0)
    words = f"{seconds_text(seconds)}: {percent_text(met, 2)}"
    mark = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [seconds],
        "y": [met],
        "name": "the objective",
        "text": [words],
        "textposition": "bottom right" if met > 0.5 else "top left",
        "marker": {"symbol": "diamond", "size": 11, "color": VERMILION},
        "hovertemplate": f"the objective, {words}<extra></extra>",
    }
    return [mark], f"{percent_text(met, 2)} at its own, {seconds_text(seconds)}; "


def _reaching(frame: pl.DataFrame, wanted: float) -> str:
    """From which threshold on a share would be met."""
    reach = frame.filter(pl.col("attainment_ratio") >= wanted)["threshold_seconds"].to_list()
    share = percent_text(wanted, 2)
    return f"{share} would be met at {seconds_text(min(reach))}" if reach else (
        f"none here reaches {share}"
    )  # fmt: skip
