"""The frame around every page: header, navigation, filters, time, refresh, theme, help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html

from dashboard.help import help_dialog
from dashboard.navigation import NAVIGATION, NavItem, go_keys
from dashboard.scene import Scene
from dashboard.theme import attrs

HOLDS = "Hold what is there: the controller goes on to decide, and does nothing"
CONTROL_LOOK_MS = 10_000
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
<link rel="icon" type="image/svg+xml" href="__PREFIX__assets/favicon.svg">
{%css%}
<script>
(function () {
  var chosen = null;
  try { chosen = localStorage.getItem("servescope-theme"); } catch (e) {}
  if (chosen !== "light" && chosen !== "dark") {
    chosen = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  }
  document.documentElement.setAttribute("data-theme", chosen);
})();
</script>
</head>
<body>
<a class="ss-skip" href="#main">Skip to the page</a>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def shell(version: str) -> html.Div:
    """The whole frame with empty places; callbacks fill them."""
    stores = ("pulse", "zoom", "sources", "crosshair", "bar", "act", "told")
    return html.Div(
        [
            dcc.Location(id="shell-url", refresh="callback-nav"),
            dcc.Interval(id="shell-tick", disabled=True),
            # Whether somebody froze the fleet is news on a page that stands still, too.
            dcc.Interval(id="shell-control-tick", interval=CONTROL_LOOK_MS, disabled=True),
            *(dcc.Store(id=f"shell-{name}") for name in stores),
            dcc.Store(id="shell-control-shown"),
            dcc.Store(id="shell-alerts-shown"),
            dcc.Store(id="shell-trouble-shown"),
            html.Header(_header(), className="ss-header"),
            html.Nav(_navbar(version), className="ss-navbar", id="shell-navbar"),
            html.Main(
                [
                    html.Div(id="shell-trouble"),
                    html.Div(id="shell-top"),
                    html.Div(id="shell-page", className="ss-page"),
                ],
                id="main",
                className="ss-main",
                tabIndex=-1,
            ),
            help_dialog(version),
            html.Div(
                id="shell-said",
                role="status",
                className="ss-toast",
                **attrs({"aria-live": "polite"}),
            ),
        ],
        className="ss-shell",
    )


def _control() -> html.Div:
    """The badge, and a menu whose frame is never drawn anew: who opened it finds it open."""
    menu = html.Details(
        [
            html.Summary(id="shell-control-word", className="ss-button is-freeze", title=HOLDS),
            html.Div(id="shell-control-inside", className="ss-pop ss-pop-right ss-act"),
        ],
        id="shell-control-menu",
        className="ss-menu",
        hidden=True,
    )
    return html.Div(
        [html.Div(id="shell-control-badge"), menu], id="shell-control", className="ss-control"
    )


def _header() -> list[Any]:
    first = html.Div(
        [
            html.Button(
                "☰",
                id="shell-burger",
                className="ss-icon-button ss-burger",
                type="button",
                **attrs({"aria-label": "Navigation", "aria-controls": "shell-navbar"}),
            ),
            html.Div(id="shell-title", className="ss-title"),
            html.Div(id="shell-age", className="ss-age"),
            html.Div(id="shell-alerts"),
            _control(),
            html.Button(
                "Share",
                id="shell-share",
                className="ss-button",
                type="button",
                title="Copy a link with absolute times",
            ),
            html.Button(
                id="shell-theme",
                className="ss-icon-button",
                type="button",
                **attrs({"aria-label": "Light or dark"}),
            ),
            html.Button(
                "?",
                id="shell-help-open",
                className="ss-icon-button",
                type="button",
                **attrs({"aria-label": "Help and keys"}),
            ),
            html.Div(id="shell-account"),
        ],
        className="ss-header-row",
    )
    second = html.Div(
        [
            html.Div(id="shell-filters", className="ss-filters"),
            html.Div(id="shell-time", className="ss-filters"),
        ],
        className="ss-header-row is-second",
    )
    return [first, second]


def _navbar(version: str) -> list[Any]:
    brand = html.A(
        [html.Span(className="ss-logo", **attrs({"aria-hidden": "true"})), html.Span("servescope")],
        href="",
        id="shell-brand",
        className="ss-brand",
    )
    return [
        brand,
        html.Div([html.Div(id="shell-nav"), html.Div(id="shell-saved")], className="ss-nav"),
        html.Div([f"servescope {version}", html.Span(id="shell-role")], className="ss-version"),
    ]


def navigation(scene: Scene) -> list[Any]:
    """The entries of the navigation; what is still to come says with what it comes."""
    here = scene.address.path[:1]
    made: list[Any] = []
    keys = go_keys()
    for group, items in NAVIGATION:
        made.append(html.P(group, className="ss-nav-group"))
        made.append(html.Ul([html.Li(_nav_item(item, here, scene, keys)) for item in items]))
    return made


def _nav_item(
    item: NavItem, here: Sequence[str], scene: Scene, keys: Mapping[tuple[str, ...], str]
) -> Any:
    icon = html.Span(className=f"ss-ico ss-ico-{item.icon}", **attrs({"aria-hidden": "true"}))
    if item.path is None:
        words = [html.Span(item.title), html.Small(item.comes_with)]
        return html.Span([icon, html.Span(words)], className="ss-nav-item is-coming")
    active = tuple(here) == item.path[:1]
    more = {"aria-current": "page"} if active else {}
    if item.path in keys:
        more |= {"data-go": keys[item.path], "aria-keyshortcuts": f"g {keys[item.path]}"}
    href = scene.link(*item.path)
    return html.A(
        [icon, html.Span(item.title)],
        href=href,
        className=f"ss-nav-item{' is-active' if active else ''}",
        **attrs(more),
    )
