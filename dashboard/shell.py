"""The frame around every page: header, navigation, filters, time, refresh, theme, help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

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
  try { chosen = localStorage.getItem("mantine-color-scheme-value"); } catch (e) {}
  if (chosen !== "light" && chosen !== "dark") {
    chosen = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  }
  document.documentElement.setAttribute("data-mantine-color-scheme", chosen);
})();
</script>
</head>
<body>
<a class="ss-skip" href="#main">Skip to the page</a>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def shell(version: str) -> dmc.MantineProvider:
    """The whole frame with empty places; callbacks fill them."""
    frame = dmc.AppShell(
        [
            dmc.AppShellHeader(_header()),
            dmc.AppShellNavbar(_navbar(version)),
            dmc.AppShellMain(
                [html.Div(id="shell-top"), html.Div(id="shell-page", className="ss-page")],
                id="main",
                tabIndex=-1,
            ),
        ],
        layout="alt",
        # Until assets/frame.js has measured it.
        header={"height": {"base": 230, "xs": 190, "sm": 148, "lg": 104}},
        navbar={"width": 208, "breakpoint": "sm", "collapsed": {"mobile": True}},
        padding="md",
        id="shell-frame",
    )
    return dmc.MantineProvider(
        [
            dcc.Location(id="shell-url", refresh="callback-nav"),
            dcc.Interval(id="shell-tick", disabled=True),
            # Whether somebody froze the fleet is news on a page that stands still, too.
            dcc.Interval(id="shell-control-tick", interval=CONTROL_LOOK_MS, disabled=True),
            dcc.Store(id="shell-pulse"),
            dcc.Store(id="shell-zoom"),
            dcc.Store(id="shell-sources"),
            dcc.Store(id="shell-crosshair"),
            dcc.Store(id="shell-bar"),
            dcc.Store(id="shell-act"),
            dcc.Store(id="shell-told"),
            dcc.Store(id="shell-control-shown"),
            dcc.Store(id="shell-alerts-shown"),
            frame,
            _help(version),
            html.Div(
                id="shell-said",
                role="status",
                className="ss-toast",
                **attrs({"aria-live": "polite"}),
            ),
        ],
        defaultColorScheme="auto",
        theme={"primaryColor": "blue", "fontFamily": "var(--ss-font)"},
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
                **attrs({"aria-label": "Navigation"}),
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
            dmc.ColorSchemeToggle(
                lightIcon=html.Span("☀"),
                darkIcon=html.Span("☾"),
                variant="default",
                id="shell-theme",
                **attrs({"aria-label": "Light or dark"}),
            ),
            html.Button(
                "?",
                id="shell-help-open",
                className="ss-icon-button",
                type="button",
                **attrs({"aria-label": "Help and keys"}),
            ),
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


def _help(version: str) -> dmc.Modal:
    keys = (
        ("t", "table or chart of the card under the pointer, or of the card with the focus"),
        ("/", "filter: open the first filter, then type or use the arrows"),
        (f"g, then {_letters()}", "go to a page of the navigation"),
        ("?", "this help"),
        ("Esc", "close a menu"),
        (
            "drag",
            "zoom into a chart; on a time axis the whole page follows (go back with the browser)",
        ),
        ("double click", "back to the whole chart"),
    )
    words = (
        ("TTFT", "time to first token: from arrival to the first token, queue included"),
        ("TPOT", "time per output token, the first one excluded"),
        ("E2E", "from arrival to the last token"),
        (
            "burn rate",
            "1 spends the budget exactly over its window; 14.4 spends 2 % of 30 days in one hour",
        ),
        (
            "interval",
            "read from a histogram's buckets a quantile is known only to lie between two edges",
        ),
    )
    return dmc.Modal(
        [
            _terms("Keys", [(html.Kbd(key), text) for key, text in keys]),
            _terms("Words", [(html.B(word), text) for word, text in words]),
            html.P(
                "Everything on a page is in its address: copy it, reload it, send it. "
                "No key changes anything but what you see.",
                className="ss-dim",
            ),
            html.P(f"servescope {version}", className="ss-dim"),
        ],
        id="shell-help",
        title="Help",
        opened=False,
        size="lg",
        closeButtonProps={"aria-label": "Close"},
    )


def _letters() -> str:
    """The letters of the pages, with their names."""
    names = {item.path: item.title for _, items in NAVIGATION for item in items}
    return ", ".join(f"{letter} ({names[path]})" for path, letter in go_keys().items())


def _terms(title: str, pairs: Sequence[tuple[Any, str]]) -> html.Div:
    rows: list[Any] = []
    for term, text in pairs:
        rows += [html.Dt(term), html.Dd(text)]
    return html.Div([html.H3(title), html.Dl(rows)], className="ss-terms")
