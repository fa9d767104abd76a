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
# Properties of any name, by how they begin.
_WILD = ("data-", "aria-")
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
        return _joined([_looked(one) for one in part if one is not None])
    node, kept = _looked(part)
    return Plain([node]) if node is not None and _count(node) >= _LEAST else kept


def _joined(looked: Sequence[tuple[Node | None, Any]]) -> list[Any]:
    """Neighbours that only show something become one component."""
    made: list[Any] = []
    for is_still, group in groupby(looked, key=lambda pair: pair[0] is not None):
        nodes, parts = zip(*group, strict=True)
        if is_still and sum(map(_count, nodes)) >= _LEAST:
            made.append(Plain(list(nodes)))
        else:
            made += parts
    return made


def _looked(part: Any) -> tuple[Node | None, Any]:
    """A part as a node of a tree, and as what stays of it where it cannot be one (then None)."""
    if isinstance(part, str | int | float):
        return part, part
    if isinstance(part, Plain):
        return (part.tree[0] if len(part.tree) == 1 else None), part
    if not isinstance(part, Component):
        return None, part
    props = _props(part)
    children = props.pop("children", None)
    if part._namespace != html.Div._namespace:
        if children is not None:
            part.children = plain(children)
        return None, part
    is_list = isinstance(children, list | tuple)
    looked = [_looked(one) for one in (children if is_list else [children]) if one is not None]
    if "id" not in props and all(node is not None for node, _ in looked):
        return [_TAGS.get(part._type, part._type.lower()), props, *(n for n, _ in looked)], part
    if looked:
        joined = _joined(looked)
        part.children = joined if is_list else joined[0]
    return None, part


def _props(part: Component) -> dict[str, Any]:
    """Properties that were given; Dash's own way tries all that there could be."""
    known = set(part._prop_names)
    return {
        name: value for name, value in vars(part).items() if name in known or name.startswith(_WILD)
    }


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
