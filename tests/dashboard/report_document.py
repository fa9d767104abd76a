"""A made-up report with everything in it, and a tenant whose name is a formula and a script."""

from datetime import UTC, datetime, timedelta

from analysis.reports.document import (
    Chart,
    Column,
    Covered,
    Document,
    Line,
    Number,
    Section,
    Table,
)  # fmt: skip

START = datetime(2026, 11, 9, tzinfo=UTC)
BAD_NAME = '=cmd|"</script><script>alert(1)</script>'
TIMES = tuple((START + timedelta(hours=6 * k)).isoformat() for k in range(28))
CHART = Chart(
    "course", "Requests a second", "line", "requests/s",
    (Line("all", TIMES, tuple(None if k in (3, 4) else float(k) for k in range(28))),
     Line("chat", TIMES, tuple(1.0 for _ in range(28)))),
    "Requests a second lay between 0 and 27.", 20.0, "limit",
)  # fmt: skip
BARS = Chart("who", "By tenant", "bar", "ratio", (Line("s", (BAD_NAME, "b"), (0.7, 0.3)),), "Two.")
SECTION = Section(
    "slo", "Objectives", ("1 of 2 objectives was met.",),
    (Number("attainment.chat", "chat", 0.973, "ratio", 0.969, 0.977, 14_201, before=0.99),
     Number("ttft", "TTFT p95", None, "s", 0.2, 0.4, 100)),
    (Table("tenants", "Tenants", (Column("tenant", "Tenant"), Column("n", "Requests", "requests")),
           ((BAD_NAME, 1200), (None, None)), 3),),
    (CHART, BARS), notes=("Read with care.",),
)  # fmt: skip
DOCUMENT = Document(
    "weekly", "Weekly report",
    Covered("weekly", "2026-W46", START, START + timedelta(days=7), "Europe/Berlin",
            "week 46 of 2026, 9 Nov to 15 Nov 2026", ("live",), {"model": BAD_NAME}),
    datetime(2026, 11, 16, 8, tzinfo=UTC), "0.1.0", "1 of 2 objectives was met.",
    (f"{BAD_NAME} got most.", "Two.", "Three."), ("Run `servescope why`.",), SECTION.numbers,
    (SECTION, Section("cost", "Cost", empty="No price is known.")), ("Half of it is there.",),
    link="http://127.0.0.1:8787/ui/?from=a&to=b",
)  # fmt: skip
