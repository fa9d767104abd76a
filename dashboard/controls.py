"""What a viewer turns: source and label filters, time range, zone, refresh. All of it is links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html

from dashboard.plain import Plain
from dashboard.range_words import RANGES, preset, range_words
from dashboard.scene import Scene
from dashboard.services import DataAge
from dashboard.text import ago, clock_words, when
from dashboard.url_state import iso_z
from store.queries.scope import LABELS, join_values

REFRESH_SECONDS = (5, 10, 30, 60)
DEFAULT_REFRESH_SECONDS = 10
# From more choices on, a filter can be narrowed by typing.
MANY_CHOICES = 6


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
    return [*made, compare_menu(scene, values)]


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
        return scene.here(source=join_values(c for c in chosen if c != name))
    same = [c for c in chosen if _clock(by_name[c]) == _clock(by_name[name])]
    if same and name not in chosen:
        return scene.here(source=join_values([*same, name]))
    # Another clock: a range of the old one would mean nothing there, nor would its labels.
    cleared = dict.fromkeys((*LABELS, "from_", "to"))
    return scene.address.changed(source=join_values([name]), **cleared).href(scene.prefix)


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
    inside = [_narrow(name), *links] if len(known) > MANY_CHOICES else links
    return menu(name, ", ".join(chosen) or "all", inside)


def _narrow(name: str) -> Plain:
    """A field that leaves the choices which hold what is typed; see assets/keys.js."""
    words = f"narrow the list of {name}s"
    shown = {"type": "search", "placeholder": words, "aria-label": words, "autoComplete": "off"}
    return Plain([["input", {**shown, "className": "ss-narrow", "data-narrow": ""}]])


def compare_menu(scene: Scene, values: Mapping[str, Sequence[str]]) -> html.Details:
    """What the page is shown beside: the period before, another model, another source."""
    now = scene.address.params.get("cmp", "")
    shown = {source.name for source in scene.sources}
    wanted = {"": "nothing", "prev": "the period before"}
    wanted |= {
        f"model:{m}": m for m in values.get("model", ()) if scene.address.values("model") != (m,)
    }
    wanted |= {f"source:{s.name}": s.name for s in scene.catalog if s.name not in shown}
    notes = {"model": "model", "source": "source"}
    links = [
        _choice(words, scene.here(cmp=value or None), on=value == now,
                note=notes.get(value.partition(":")[0], ""))
        for value, words in wanted.items()
    ]  # fmt: skip
    words = scene.comparison.name if scene.comparison else "off"
    return menu("compare", words, links)


def comparison_words(scene: Scene) -> html.P | None:
    """Above a page that is compared: with what, and over which range."""
    if scene.comparison is None:
        return None
    scope = scene.comparison.scope
    kinds = {source.source_id: source.clock for source in scene.catalog}
    clock = kinds.get(scope.source_ids[0], "utc") if scope.source_ids else "utc"
    start, end = (when(at, scene.zone, clock) for at in (scope.start, scope.end))
    words = f" dashed, from {start} to {end}. Tables have its numbers beside ours; of two intervals"
    return html.P(
        [html.Strong(f"Beside {scene.comparison.name}:"),
         f"{words} it is said whether they overlap. ",
         html.A("Stop comparing", href=scene.here(cmp=None))],
        className="ss-note is-compared",
    )  # fmt: skip


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
    of_it = "" if scene.is_live else " of the trace"
    if not scene.is_live:
        whole = "from" not in scene.address.params
        inside.append(_choice("Whole trace", scene.here(from_=None, to=None), on=whole))
    shown = preset(scene)
    for token, words in RANGES:
        href = scene.here(from_=token, to=None)
        inside.append(_choice(f"{words}{of_it}", href, on=token == shown))
    if not scene.is_live:
        inside.append(_trace_end(scene))
    inside.append(_range_form(scene))
    inside.append(_zone_choices(scene))
    return menu("", range_words(scene), inside, side="right", key="time")


def _trace_end(scene: Scene) -> html.P:
    """What "now" means while a trace is shown."""
    lasts = [source.last_at for source in scene.sources if source.last_at]
    words = f"Now is its last record: {scene.when(max(lasts))}." if lasts else "It has no records."
    return html.P(words, className="ss-zone ss-dim")


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
        return [html.Span(className="ss-dot"), "A trace, not live"]
    if age.newest_at is None:
        words = (
            "no live sample yet" if age.total == 0 else f"no sample yet from {age.total} targets"
        )
        return [html.Span(className="ss-dot"), words]
    seconds = (scene.now - age.newest_at).total_seconds()
    stale = seconds > age.stale_after_seconds
    dot = html.Span(className=f"ss-dot is-{'stale' if stale else 'fresh'}")
    lead = "Stale: newest" if stale else "Newest"
    # On a narrow screen the age alone is left.
    return [
        dot,
        html.Span([html.Span(f"{lead} sample ", className="ss-age-more"), ago(seconds),
                   html.Span(f" · {age.fresh}/{age.total} targets", className="ss-age-more")]),
    ]  # fmt: skip


def share_search(scene: Scene) -> str:
    """The address of this page with absolute times."""
    if scene.scope is None:
        return scene.address.href(scene.prefix)
    start, end = iso_z(scene.scope.start), iso_z(scene.scope.end)
    sources = join_values(source.name for source in scene.sources)
    return scene.here(source=sources or None, from_=start, to=end)
