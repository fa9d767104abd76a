"""The second look of a panel, when its page is shown beside something else."""

from __future__ import annotations

import logging
from dataclasses import replace

from analysis.measure import View
from analysis.views import VIEWS
from dashboard.comparing import Beside, with_words
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from store.errors import ServescopeError

_log = logging.getLogger(__name__)


def compared(
    panel: Panel, view: View | None, scene: Scene, services: Services
) -> tuple[View | None, Scene]:
    """View and scene with what the page is compared with in them.

    A page without its comparison is better than no page: where that cannot be had, each picture
    says so.

    Args:
        panel: which one.
        view: what it shows.
        scene: the page.
        services: where views come from.
    """
    found = _beside(panel, view, scene, services)
    if view is None or found is None:
        return view, scene
    return with_words(view, found), replace(scene, beside=found)


def _beside(panel: Panel, view: View | None, scene: Scene, services: Services) -> Beside | None:
    comparison = scene.comparison
    if view is None or comparison is None or not panel.is_compared:
        return None
    if not VIEWS[view.name].needs_scope:
        return None
    try:
        other = services.view(view.name, comparison.params, **panel.options(scene.address))
    except ServescopeError as error:
        _log.warning("comparison_failed", extra={"view": view.name, "error": str(error)})
        return None
    return None if other.empty else Beside(comparison, view.frames, other)
