"""What is said about an objective whose budget is that of a calendar period."""

from __future__ import annotations

from analysis.reports.periods import moment
from analysis.slo import SloStatus
from analysis.slo_model import short_window


def period_told(status: SloStatus) -> list[str]:
    """From when to when its period is and what its budget is a share of; nothing if it rolls."""
    window, calendar = status.window, status.slo.calendar
    if calendar is None or window.resets_at is None:
        return []
    began, ends = moment(window.start, calendar.zone), moment(window.resets_at, calendar.zone)
    told = f"Its budget is of the calendar {calendar.unit} from {began} to {ends}"
    if status.expected is None or status.budget_left_ratio is None:
        return [f"{told}."]
    may = (1 - status.slo.target_ratio) * status.expected
    allowed = f"{may:,.0f}" if may >= 10 else f"{may:.2g}"
    came = f"{status.tally.attempted:,.0f} requests came"
    if not window.left_seconds:
        return [f"{told}, which is over: {came}, of which {allowed} might be bad."]
    return [
        f"{told}: {came} in {short_window(window.elapsed_seconds)}; if the other"
        f" {short_window(window.left_seconds)} bring as many a second there will be"
        f" {status.expected:,.0f}, of which {allowed} may be bad and"
        f" {status.tally.bad_low:,.0f} have been."
    ]
