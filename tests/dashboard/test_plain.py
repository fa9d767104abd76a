"""What only shows something reaches the browser as one component that says the same."""

from __future__ import annotations

import json

import orjson
import pytest
from dash import dcc, html
from dash.development.base_component import Component
from hypothesis import given
from hypothesis import strategies as st
from plotly.io.json import to_json_plotly

from dashboard.panels import answer
from dashboard.plain import Plain, bare, plain
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import parse

# A page with more than these is slow in the hand: Dash asks each anew, some 60 times a refresh.
MOST_COMPONENTS = 150

TEXTS = st.text(max_size=8)
LEAVES = st.one_of(TEXTS, st.integers(-5, 5), st.none())


def grown(children):
    """Elements of some kinds around what there is, some with an id."""
    return st.builds(
        lambda kind, inside, name, title: kind(
            inside, title=title, **({"id": name} if name else {})
        ),
        st.sampled_from([html.Div, html.P, html.Span, html.Details]),
        st.lists(children, max_size=4),
        st.sampled_from(["", "", "", "named"]),
        TEXTS,
    )


TREES = st.recursive(LEAVES, grown, max_leaves=12)


def said(part) -> list:
    """Elements, properties and texts in order, however they are packed."""
    if part is None:
        return []
    if isinstance(part, list | tuple):
        return [word for child in part for word in said(child)]
    if isinstance(part, Plain):
        return [word for node in part.tree for word in told(node)]
    if not isinstance(part, Component):
        return [part]
    props = dict(part.to_plotly_json()["props"])
    children = props.pop("children", None)
    return [(part._type.lower(), json.dumps(props, sort_keys=True)), *said(children), "end"]


def told(node) -> list:
    """The same of a node."""
    if not isinstance(node, list):
        return [node]
    words = [word for child in node[2:] for word in told(child)]
    return [(node[0], json.dumps(node[1], sort_keys=True)), *words, "end"]


def components(part) -> int:
    """Components that Dash has to keep."""
    if isinstance(part, list | tuple):
        return sum(components(child) for child in part)
    if not isinstance(part, Component):
        return 0
    return 1 + components(getattr(part, "children", None))


@given(st.lists(TREES, max_size=4))
def test_whatever_is_packed_says_the_same(trees):
    """Every element, property and text is there, in its place."""
    before, count = said(trees), components(trees)
    packed = plain(trees)
    assert said(packed) == before
    assert components(packed) <= count


@given(st.lists(TREES, max_size=4))
def test_bare_parts_reach_the_browser_as_components_do(trees):
    """The same JSON, without a component that Dash would have to look for."""
    as_dash_says = json.loads(to_json_plotly(trees))
    assert json.loads(orjson.dumps(bare(trees))) == as_dash_says


def test_what_callbacks_may_mean_stays_a_component():
    """Ids, graphs and fields; what stands around them stays, what stands beside is packed."""
    field = dcc.Input(name="by")
    body = html.Div(
        [html.P([html.B("a"), "b"]), html.Button("load", id="load"), html.P([html.B("c")]), field]
    )
    made = plain(body)
    assert [type(child) for child in made.children] == [Plain, html.Button, Plain, dcc.Input]
    assert made.children[1].id == "load"


@pytest.mark.parametrize("path", ["/ui/", "/ui/slo", "/ui/controller?decision=20", "/ui/what-if"])
def test_a_page_is_light_in_the_hand(fake, path):
    """A refresh must not hold the browser when somebody wants to stop something."""
    services = fake.services()
    name, _, search = path.partition("?")
    scene = scene_of(services, parse(name, f"?{search}" if search else "", "/ui/"), "/ui/")
    bodies = [
        plain(answer(panel, scene, services, None, beat=False)[0])
        for panel in page_of(scene.address).panels
    ]
    assert components(bodies) <= MOST_COMPONENTS
    # A component left inside would make Dash copy every number of every figure.
    assert orjson.dumps(bare(bodies), option=orjson.OPT_NON_STR_KEYS)
