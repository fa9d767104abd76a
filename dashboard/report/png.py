"""Charts as PNG, for mail: mail clients show neither SVG nor scripts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from analysis.reports.document import Chart, Document
from analysis.reports.periods import TRACE_TIME, zone_named
from dashboard.report import File
from dashboard.report.scales import instant, round_steps, time_ticks
from dashboard.report.svg import PRINTED, axis_text
from dashboard.report.words import file_stem
from store.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES, DOTS_PER_INCH = (7.2, 2.4), 150
_DASHES = ("-", "--", ":", "-.")


def pictures(document: Document, most: int) -> tuple[File, ...]:
    """The first charts of a report, in its order.

    Args:
        document: what it says.
        most: charts at most.

    Raises:
        InputError: matplotlib is not installed.
    """
    charts = [(section.key, chart) for section in document.sections for chart in section.charts]
    stem = file_stem(document)
    return tuple(
        File(f"{stem}-{key}-{chart.key}.png", "image/png", _drawn(chart, document.covered.zone))
        for key, chart in charts[:most]
    )


def _drawn(chart: Chart, zone: str) -> bytes:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            "pictures for mail need matplotlib", hint="pip install 'servescope[report]'"
        ) from None
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _bars(axes, chart) if chart.kind == "bar" else _lines(axes, chart, zone)
    axes.set_title(chart.title, loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=PRINTED.text)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _lines(axes: Axes, chart: Chart, zone: str) -> None:
    known = [value for line in chart.lines for value in line.y if value is not None]
    known += [] if chart.limit is None else [chart.limit]
    steps = round_steps(min(0.0, *known), max(0.0, *known) or 1.0)
    for place, line in enumerate(chart.lines):
        axes.plot(
            [instant(at).timestamp() for at in line.x],
            [float("nan") if value is None else value for value in line.y],
            _DASHES[place % 4], color=PRINTED.series[place % 4], linewidth=1.4, label=line.name,
        )  # fmt: skip
    if chart.limit is not None:
        axes.axhline(chart.limit, color=PRINTED.limit, linewidth=1, label=chart.limit_label)
    times = sorted({at for line in chart.lines for at in line.x})
    ticks = time_ticks(
        instant(times[0]), instant(times[-1]), zone_named(zone), dated=zone != TRACE_TIME
    )
    axes.set_xticks([tick.at for tick in ticks], [tick.text for tick in ticks])
    _scale(axes.yaxis, axes, steps, chart.unit)
    if len(chart.lines) > 1 or chart.limit is not None:
        axes.legend(fontsize=7, frameon=False, ncols=4, loc="upper right")


def _scale(axis: Any, axes: Axes, steps: list[float], unit: str) -> None:
    axis.set_ticks(steps, [axis_text(step, unit) for step in steps])
    axes.set_ylim(steps[0], steps[-1])
    axes.grid(axis="y", color=PRINTED.grid, linewidth=0.6)
    axes.set_axisbelow(True)


def _bars(axes: Axes, chart: Chart) -> None:
    (line,) = chart.lines
    places = range(len(line.x))
    shown = axes.barh(places, [value or 0.0 for value in line.y], color=PRINTED.series[0])
    axes.set_yticks(list(places), [str(name) for name in line.x])
    axes.bar_label(shown, [axis_text(value or 0.0, chart.unit) for value in line.y], fontsize=8)
    axes.set_xticks([])
    axes.invert_yaxis()
