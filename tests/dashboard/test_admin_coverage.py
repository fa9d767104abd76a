"""Admin's matrix of signals: what is told, by how many, and what would only make it long."""

import pytest

from dashboard.pages import admin_coverage
from dashboard.scene import scene_of
from dashboard.url_state import parse


@pytest.fixture
def shown(fake):
    """All words of the matrix."""
    services = fake.services()
    scene = scene_of(services, parse("/ui/admin", "", "/ui/"), "/ui/")
    view = fake.view("signal_coverage", {})
    return " ".join(words(part) for part in admin_coverage.body(view, scene, services))


def words(part):
    """All text of a component."""
    children = getattr(part, "children", part)
    if isinstance(children, str):
        return children
    if isinstance(children, list | tuple):
        return " ".join(words(child) for child in children)
    return "" if children is None else words(children)


def test_the_matrix_says_how_a_signal_comes(shown):
    """Each release has a column; a cell says its state, by how many targets, and from where."""
    assert "vllm 0.32.0" in shown
    assert "exact, 1 of 2" in shown
    assert "vllm:num_requests_running" in shown
    assert "not yet" in shown


def test_what_nobody_tells_is_counted_only(shown):
    """A signal that no connected engine tells has no row of its own."""
    assert "1 more signals are told by none" in shown
    assert "no histogram on its page" not in shown
