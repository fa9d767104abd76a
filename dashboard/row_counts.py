"""How many rows are shown, and where the others are."""

from __future__ import annotations

SHORTER = "a shorter range shows the others"
QUERY = "`servescope query` shows the others"


def rows_told(drawn: int, held: int, total: int | None = None, others: str = SHORTER) -> str:
    """What is said below a table that does not show all rows; "" where it does.

    Args:
        drawn: rows on the page, the first ones.
        held: rows of the view: what its CSV and its API give.
        total: rows that there are in all; None where the view has them all.
        others: where those are that the view has not.
    """
    total = max(total or 0, held)
    if drawn >= total:
        return ""
    if held >= total:
        return f"{drawn:,} of {total:,} rows; the CSV has all."
    where = "so has the CSV" if drawn >= held else f"the CSV has the first {held:,}"
    return f"{drawn:,} of {total:,} rows; {where}, {others}."
