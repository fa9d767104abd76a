"""What-if: what would another policy or fleet have given?"""

from __future__ import annotations

from dashboard.navigation import Page, Panel
from dashboard.pages import whatif_ask, whatif_result, whatif_runs, whatif_validity

PAGE = Page(
    "What-if",
    "What would another policy or fleet have given?",
    (
        Panel("whatif-ask", None, whatif_ask.body, is_aside=True, is_still=True),
        Panel("whatif-runs", "replays", whatif_runs.body, is_aside=True),
        Panel(
            "whatif-result", "replay", whatif_result.body, whatif_validity.options, is_aside=True
        ),
    ),
)
