"""The frame around every page: header, navigation, filters, time, refresh, theme, help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from dashboard.navigation import NAVIGATION, NavItem
from dashboard.scene import Scene
from dashboard.services import DataAge
from dashboard.text import ago, clock_words
from dashboard.theme import attrs
from store.queries.scope import LABELS

RANGES = (
    ("now-15m", "Last 15 minutes"),
    ("now-1h", "Last hour"),
    ("now-6h", "Last 6 hours"),
    ("now-24h", "Last 24 hours"),
    ("now-7d", "Last 7 days"),
    ("now-30d", "Last 30 days"),
)
REFRESH_SECONDS = (5, 10, 30, 60)
DEFAULT_REFRESH_SECONDS = 10

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
        header={"height": {"base": 148, "md": 104}},
        navbar={"width": 208, "breakpoint": "sm", "collapsed": {"mobile": True}},
        padding="md",
        id="shell-frame",
    )
    return dmc.MantineProvider(
        [
            dcc.Location(id="shell-url", refresh="callback-nav"),
            dcc.Interval(id="shell-tick", disabled=True),
            dcc.Store(id="shell-pulse"),
            dcc.Store(id="shell-zoom"),
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
            html.Span(
                [html.Span(className="ss-dot"), "Controller: not built yet, watching only"],
                className="ss-badge",
                title="Nothing here acts on the fleet: the control loop is still to come.",
            ),
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
        html.Div(id="shell-nav", className="ss-nav"),
        html.Div(f"servescope {version}", className="ss-version"),
    ]


def navigation(scene: Scene) -> list[Any]:
    """The entries of the navigation; what is still to come says with what it comes."""
    here = scene.address.path[:1]
    made: list[Any] = []
    for group, items in NAVIGATION:
        made.append(html.P(group, className="ss-nav-group"))
        made.append(html.Ul([html.Li(_nav_item(item, here, scene)) for item in items]))
    return made


def _nav_item(item: NavItem, here: Sequence[str], scene: Scene) -> Any:
    icon = html.Span(className=f"ss-ico ss-ico-{item.icon}", **attrs({"aria-hidden": "true"}))
    if item.path is None:
        words = [html.Span(item.title), html.Small(item.comes_with)]
        return html.Span([icon, html.Span(words)], className="ss-nav-item is-coming")
    active = tuple(here) == item.path[:1]
    current: dict[str, Any] = {"aria-current": "page"} if active else {}
    href = scene.link(*item.path)
    return html.A(
        [icon, html.Span(item.title)],
        href=href,
        className=f"ss-nav-item{' is-active' if active else ''}",
        **current,
    )


def menu(
    label: str, value: str, inside: Sequence[Any], *, side: str = "left", key: str = ""
) -> html.Details:
    """A button that opens a list: a native disclosure, so it works without a script."""
    words = [html.Span(f"{label} ", className="ss-dim")] if label else []
    summary = html.Summary(
        [*words, html.Span(value, className="ss-menu-value")], className="ss-chip"
    )
    return html.Details(
        [summary, html.Div(list(inside), className=f"ss-pop ss-pop-{side}")],
        className="ss-menu",
        id=f"shell-menu-{key or label}",
    )


def filters(scene: Scene, values: Mapping[str, Sequence[str]]) -> list[Any]:
    """Source and label filters as lists of links."""
    made = [_source_menu(scene)]
    for name in LABELS:
        chosen = scene.address.values(name)
        known = list(dict.fromkeys([*chosen, *values.get(name, ())]))
        if known:
            made.append(_label_menu(scene, name, chosen, known))
    return made


def _source_menu(scene: Scene) -> html.Details:
    chosen = [source.name for source in scene.sources]
    links = []
    for source in scene.catalog:
        note = (
            f"{source.request_count:,} requests" if source.kind == "trace" else "the running fleet"
        )
        on = source.name in chosen
        href = _source_href(scene, source.name, chosen)
        links.append(_choice(source.name, href, on=on, note=note))
    value = ", ".join(chosen) if chosen else "choose"
    return menu("source", value, links or [html.P("No source yet.")])


def _source_href(scene: Scene, name: str, chosen: Sequence[str]) -> str:
    """Add a source of the same clock, drop a chosen one, else switch to it."""
    by_name = {source.name: source for source in scene.catalog}
    if name in chosen and len(chosen) > 1:
        return scene.here(source=",".join(c for c in chosen if c != name))
    same = [c for c in chosen if _clock(by_name[c]) == _clock(by_name[name])]
    if same and name not in chosen:
        return scene.here(source=",".join([*same, name]))
    # Another clock: a range of the old one would mean nothing there, nor would its labels.
    cleared = dict.fromkeys((*LABELS, "from_", "to"))
    return scene.address.changed(source=name, **cleared).href(scene.prefix)


def _clock(source: Any) -> tuple[str, str]:
    return source.kind, source.clock


def _label_menu(
    scene: Scene, name: str, chosen: Sequence[str], known: Sequence[str]
) -> html.Details:
    links = [_choice("all", scene.here(**{name: None}), on=not chosen)]
    links += [
        _choice(value, scene.address.toggled(name, value).href(scene.prefix), on=value in chosen)
        for value in known
    ]
    return menu(name, ", ".join(chosen) or "all", links)


def _choice(text: str, href: str, *, on: bool, note: str = "") -> html.A:
    parts: list[Any] = [
        html.Span("✓" if on else "", className="ss-tick"),
        html.Span(text, className="ss-choice-text"),
    ]
    if note:
        parts.append(html.Small(note))
    current: dict[str, Any] = {"aria-current": "true"} if on else {}
    return html.A(parts, href=href, className="ss-choice", **current)


def time_controls(scene: Scene) -> list[Any]:
    """Time range with its zone, and the refresh interval."""
    return [_time_menu(scene), _refresh_menu(scene)]


def _time_menu(scene: Scene) -> html.Details:
    inside: list[Any] = []
    start, end = scene.address.params.get("from"), scene.address.params.get("to", "now")
    if not scene.is_live:
        inside.append(_choice("Whole trace", scene.here(from_=None, to=None), on=start is None))
    for token, words in RANGES:
        text = words
        inside.append(
            _choice(text, scene.here(from_=token, to=None), on=start == token and end == "now")
        )
    inside.append(_range_form(scene))
    inside.append(_zone_choices(scene))
    return menu("", range_words(scene), inside, side="right", key="time")


def _range_form(scene: Scene) -> html.Form:
    """Any range, typed: `now-24h` or an ISO time. The other parameters ride along hidden."""
    scope = scene.scope
    shown = (
        {"from": f"{scope.start:%Y-%m-%dT%H:%M:%SZ}", "to": f"{scope.end:%Y-%m-%dT%H:%M:%SZ}"}
        if scope
        else {}
    )
    fields: list[Any] = []
    for name in ("from", "to"):
        value = scene.address.params.get(name) or shown.get(name, "")
        fields.append(
            html.Label(
                [
                    name,
                    dcc.Input(
                        name=name, value=value, type="text", id=f"shell-{name}", autoComplete="off"
                    ),
                ]
            )
        )
    return html.Form(
        [*fields, html.Button("Show", className="ss-button is-small", type="submit")],
        action=scene.here(from_=None, to=None),
        className="ss-range-form",
    )


def _zone_choices(scene: Scene) -> html.Div:
    if scene.clock != "utc":
        return html.Div(
            f"Times are the trace's own: {clock_words(scene.clock, scene.zone)}.",
            className="ss-zone ss-dim",
        )
    return html.Div(
        [
            _choice("UTC", scene.here(tz=None), on=scene.zone.key == "UTC"),
            html.A(
                [
                    html.Span("✓" if scene.zone.key != "UTC" else "", className="ss-tick"),
                    "Zone of this browser",
                ],
                href=scene.here(tz="browser"),
                className="ss-choice",
            ),
        ],
        className="ss-zone",
    )


def range_words(scene: Scene) -> str:
    """The range in words: a preset's name, a day of the trace, or both ends."""
    start, end = scene.address.params.get("from"), scene.address.params.get("to", "now")
    if scene.scope is None:
        return "range not understood"
    if scene.is_live:
        name = dict(RANGES).get(start or "now-6h") if end == "now" else None
        return f"{name} · {scene.zone.key}" if name else _both_ends(scene)
    return f"trace time, {_trace_days(scene)}"


def _both_ends(scene: Scene) -> str:
    if scene.scope is None:
        return ""
    start, end = scene.scope.start.astimezone(scene.zone), scene.scope.end.astimezone(scene.zone)
    same = start.date() == end.date()
    return f"{start:%-d %b %H:%M} to {end:{'%H:%M' if same else '%-d %b %H:%M'}} · {scene.zone.key}"


def _trace_days(scene: Scene) -> str:
    """Where in its trace a range lies: "day 3 of 121"."""
    firsts = [s.first_at for s in scene.sources if s.first_at]
    lasts = [s.last_at for s in scene.sources if s.last_at]
    if not firsts or not lasts or scene.scope is None:
        return "empty"
    total = (max(lasts) - min(firsts)).days + 1
    first = (scene.scope.start - min(firsts)).days + 1
    last = min(total, (scene.scope.end - min(firsts)).days + 1)
    if total == 1 and scene.clock != "relative":
        return _both_ends(scene)
    days = f"day {first}" if first == last else f"days {first} to {last}"
    return f"{days} of {total}"


def _refresh_menu(scene: Scene) -> html.Details:
    seconds = refresh_seconds(scene)
    links = [_choice("off", scene.here(refresh="off"), on=seconds == 0)]
    links += [
        _choice(f"every {s} s", scene.here(refresh=str(s)), on=seconds == s)
        for s in REFRESH_SECONDS
    ]
    return menu("refresh", f"{seconds} s" if seconds else "off", links, side="right")


def refresh_seconds(scene: Scene) -> int:
    """The refresh interval in force; 0 is off. Traces do not move, so they start with off."""
    text = scene.address.params.get("refresh", "")
    if text == "off":
        return 0
    if text.isdigit() and int(text) in REFRESH_SECONDS:
        return int(text)
    return DEFAULT_REFRESH_SECONDS if scene.is_live else 0


def age_words(scene: Scene, age: DataAge) -> list[Any]:
    """How old the data is, always in sight."""
    if not scene.is_live:
        return [html.Span(className="ss-dot"), "Trace, not live"]
    if age.newest_at is None:
        words = (
            "no live sample yet" if age.total == 0 else f"no sample yet from {age.total} targets"
        )
        return [html.Span(className="ss-dot"), words]
    seconds = (scene.now - age.newest_at).total_seconds()
    stale = seconds > age.stale_after_seconds
    dot = html.Span(className=f"ss-dot is-{'stale' if stale else 'fresh'}")
    lead = "Stale: newest" if stale else "Newest"
    words = f"{lead} sample {ago(seconds)} · {age.fresh}/{age.total} targets"
    return [dot, words]


def share_search(scene: Scene) -> str:
    """The address of this page with absolute times."""
    if scene.scope is None:
        return scene.address.href(scene.prefix)
    start, end = (
        f"{scene.scope.start:%Y-%m-%dT%H:%M:%S.%fZ}",
        f"{scene.scope.end:%Y-%m-%dT%H:%M:%S.%fZ}",
    )
    sources = ",".join(source.name for source in scene.sources)
    return scene.here(source=sources or None, from_=start, to=end)


def _help(version: str) -> dmc.Modal:
    keys = (
        ("t", "table or chart of the card under the pointer"),
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
                "Everything on a page is in its address: copy it, reload it, send it.",
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


def _terms(title: str, pairs: Sequence[tuple[Any, str]]) -> html.Div:
    rows: list[Any] = []
    for term, text in pairs:
        rows += [html.Dt(term), html.Dd(text)]
    return html.Div([html.H3(title), html.Dl(rows)], className="ss-terms")
