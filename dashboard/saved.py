"""Saved views: a name for what an address shows, kept as text files that people may also write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from dash import Dash, Input, Output, html

from dashboard import forms, wishes
from dashboard.plain import plain
from dashboard.rights import refusing
from dashboard.saved_views import SavedDesk, SavedView
from dashboard.scene import Scene, scene_of
from dashboard.services import Services
from dashboard.theme import attrs
from dashboard.url_state import Address, parse
from store.access import Rights
from store.errors import InputError

MOST_SHOWN = 12


def register(app: Dash, services: Services, prefix: str) -> None:
    """The list below the navigation follows the address and what was saved."""

    @app.callback(
        Output("shell-saved", "children"),
        Input("shell-url", "pathname"),
        Input("shell-url", "search"),
        Input("shell-told", "data"),
    )
    def shown(pathname: str, search: str, told: object) -> Any:
        return plain(menu(services, scene_of(services, parse(pathname, search, prefix), prefix)))


def menu(services: Services, scene: Scene) -> list[Any]:
    """Links to the saved views, and the form that saves this one; nothing without a desk."""
    if services.saved is None:
        return []
    found, rights = services.saved.listed(), services.rights()
    made: list[Any] = [html.P("Saved views", className="ss-nav-group")]
    if found:
        made.append(html.Ul([html.Li(_entry(view, scene, rights)) for view in found[:MOST_SHOWN]]))
    if len(found) > MOST_SHOWN:
        made.append(html.P(f"and {len(found) - MOST_SHOWN} more files", className="ss-dim"))
    return [*made, _form(scene, rights)]


def _entry(view: SavedView, scene: Scene, rights: Rights) -> html.Div:
    if view.problem is not None:
        link: Any = html.Span(f"{view.title}: {view.problem}", className="ss-nav-item is-coming")
    else:
        href = Address(view.path, view.params).href(scene.prefix)
        link = html.A(view.title, href=href, className="ss-nav-item")
    if rights.why_not("delete-view"):
        return html.Div(link, className="ss-saved")
    wish = {"act": "delete-view", "name": view.name}
    label = f"Delete the saved view {view.title}"
    return html.Div(
        [
            link,
            forms.button(
                "\N{MULTIPLICATION SIGN}", wish, label=label, is_held=True, look="is-small is-quiet"
            ),
        ],
        className="ss-saved",
    )


def _form(scene: Scene, rights: Rights) -> html.Details:
    wish = {
        "act": "save-view", "path": list(scene.address.path), "params": dict(scene.address.params),
    }  # fmt: skip
    inside = [
        forms.field("title", "Name", "saved", "night shift"),
        forms.button("Save", wish, label="Save this view", needs="title", look="is-small"),
    ]
    return html.Details(
        [
            html.Summary("Save this view", className="ss-nav-item"),
            html.Div(refusing(inside, rights, "saved")),
        ],
        className="ss-act ss-save",
        **attrs({"data-form": "saved"}),
    )


def _desk(services: Services) -> SavedDesk:
    if services.saved is None:
        raise InputError("no views can be saved here")
    return services.saved


def _save(services: Services, wish: wishes.Wish) -> str:
    desk = _desk(services)
    params = {str(name): str(value) for name, value in dict(wish["params"]).items()}
    path = [str(part) for part in wish["path"]]
    made = desk.save(wishes.typed(wish, "title"), path, params)
    return f"Saved as {json.dumps(made.title, ensure_ascii=False)} ({made.name}.toml)."


def _delete(services: Services, wish: wishes.Wish) -> str:
    desk = _desk(services)
    desk.delete(str(wish["name"]))
    return f"{wish['name']}.toml is deleted."


ACTS: Mapping[str, Callable[[Services, wishes.Wish], str]] = {
    "save-view": _save,
    "delete-view": _delete,
}
