"""Parts of a page that only show something, drawn by the browser as one component.

Dash asks each of its components anew after every step of every callback. A table of 25 rows has 200
of them, and a refresh has some 60 steps: that is what held the browser up, not the drawing. So what
nobody listens to goes to the browser as one tree, which `assets/servescope.js` draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from dash import html
from dash.development.base_component import Component

# A browser's element names: what a class of Dash is called otherwise.
_TAGS = {"ObjectEl": "object", "MapEl": "map"}
# Fewer elements than this are no gain.
_LEAST = 2

Node = Any


class Plain(Component):
    """A tree of elements that nobody listens to.

    Args:
        tree: nodes; text, a number, or [name of the element, its properties, node, node, ...].
    """

    _children_props: list[str] = []  # noqa: RUF012 - Dash reads it off the class
    _base_nodes = ["children"]  # noqa: RUF012
    _namespace = "servescope"
    _type = "Plain"

    def __init__(self, tree: Sequence[Node]) -> None:
        self._prop_names = ["tree"]
        self._valid_wildcard_attributes: list[str] = []
        self.tree = tree
        self.available_properties = ["tree"]
        self.available_wildcard_properties: list[str] = []
        super().__init__(tree=tree)  # type: ignore[no-untyped-call]


def plain(part: Any) -> Any:
    """The same part of a page with as few components as it can have.

    What has an id stays a component, because callbacks may mean it, and so does what is more than
    an element, such as a graph or a field; what stands around those stays as well.

    Args:
        part: a component, text, a list of both, or anything else, which is given back as it is.
    """
    if isinstance(part, list | tuple):
        return _run(list(part))
    if not isinstance(part, Component):
        return part
    node = _node(part)
    if node is not None:
        return Plain([node]) if _count(node) >= _LEAST else part
    children = getattr(part, "children", None)
    if children is not None:
        part.children = plain(children)
    return part


def _run(parts: list[Any]) -> list[Any]:
    """Neighbours that only show something become one component."""
    nodes = [(part, _node(part)) for part in parts if part is not None]
    made: list[Any] = []
    for is_still, group in groupby(nodes, key=lambda pair: pair[1] is not None):
        pairs = list(group)
        if not is_still:
            made += [plain(part) for part, _ in pairs]
        elif sum(_count(node) for _, node in pairs) >= _LEAST:
            made.append(Plain([node for _, node in pairs]))
        else:
            made += [part for part, _ in pairs]
    return made


def _node(part: Any) -> Node | None:
    """A part as a node of a tree; None where something of it has to stay a component."""
    if isinstance(part, str | int | float):
        return part
    if isinstance(part, Plain):
        return part.tree[0] if len(part.tree) == 1 else None
    if not isinstance(part, Component) or part._namespace != html.Div._namespace:
        return None
    props = dict(part.to_plotly_json()["props"])  # type: ignore[no-untyped-call]
    children = props.pop("children", None)
    if "id" in props:
        return None
    inside = children if isinstance(children, list | tuple) else [children]
    nodes = [_node(child) for child in inside if child is not None]
    if any(node is None for node in nodes):
        return None
    return [_TAGS.get(part._type, part._type.lower()), props, *nodes]


def bare(part: Any) -> Any:
    """Components as the dictionaries that Dash would make of them.

    Where an answer holds a component Dash takes a copy of every number of every figure to find the
    others; of dictionaries and lists alone it writes the JSON at once.

    Args:
        part: a component, a list of parts, or anything else, which is given back as it is.
    """
    if isinstance(part, list | tuple):
        return [bare(one) for one in part]
    if not isinstance(part, Component):
        return part
    made: dict[str, Any] = part.to_plotly_json()  # type: ignore[no-untyped-call]
    if "children" in made["props"]:
        made["props"]["children"] = bare(made["props"]["children"])
    return made


def _count(node: Node) -> int:
    """Elements of a node."""
    if not isinstance(node, list):
        return 0
    return 1 + sum(_count(child) for child in node[2:])
