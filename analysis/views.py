"""Every view there is: the one list that dashboard, API, CLI and reports take their numbers from.

A view is a function `(reader, scope, **options) -> View`; those that need the SLO definitions also
take `slos=`. `compute` is the one way to call one: it checks the name and the options, hands over
the definitions and stamps the result. Modules are imported when a view is first asked for, so that
a command that needs none stays quick.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from analysis.measure import Measure, View
from analysis.sharing import Sharing, unshared
from store.errors import InputError
from store.nearest import nearest_hint

if TYPE_CHECKING:
    import polars as pl

    from analysis.cost_rules import CostRules
    from analysis.signal_coverage import Adapters, SignalSource
    from analysis.slo_model import Slo
    from store.clock import Clock
    from store.queries.scope import Scope
    from store.reader import Reader


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """Where a view is computed and what it takes.

    Attributes:
        question: what it answers, for documentation and the API.
        place: "module:function".
        options: names of the text options it understands.
        needs_slos: whether it is handed the SLO definitions as `slos=`.
        needs_scope: False for views about the store itself, which ignore the time range.
        needs_now: whether it is handed the time as `now=`.
        needs_adapters: whether it is handed what engines can tell as `adapters=`.
        needs_names: whether it is handed what tenants are to be called as `named=`.
        needs_costs: whether it is handed prices and cards as `costs=`.
        needs_sharing: whether it is handed what keeps the work of several views as `sharing=`.
        is_told: whether people change it from pages: what they did must be there at once.
    """

    question: str
    place: str
    options: tuple[str, ...] = ()
    needs_slos: bool = False
    needs_scope: bool = True
    needs_now: bool = False
    needs_adapters: bool = False
    needs_names: bool = False
    needs_costs: bool = False
    needs_sharing: bool = False
    is_told: bool = False

    def function(self) -> Callable[..., View]:
        """The function behind the view, imported on first use."""
        module, name = self.place.split(":")
        found: Callable[..., View] = getattr(importlib.import_module(module), name)
        return found


_WORKLOAD = "analysis.workload.views"

VIEWS: Mapping[str, ViewSpec] = {
    "fleet": ViewSpec(
        "Is the fleet healthy now, and if not, where do I look?",
        "analysis.fleet:fleet",
        needs_slos=True,
        needs_sharing=True,
    ),
    "fleet_models": ViewSpec(
        "Which workload of the fleet suffers?",
        "analysis.fleet_models:fleet_models",
        needs_slos=True,
        needs_sharing=True,
    ),
    "first_steps": ViewSpec(
        "What is left to do before the pages can say anything?",
        "analysis.first_steps:first_steps",
        needs_slos=True,
        needs_scope=False,
    ),
    "top": ViewSpec(
        "How does the fleet stand now, at a glance?",
        "analysis.fleet_top:top",
        needs_slos=True,
        needs_now=True,
    ),
    "why": ViewSpec(
        "What is wrong, since when, and how do we know?",
        "analysis.verdict_view:why",
        needs_slos=True,
    ),
    "slo_list": ViewSpec(
        "Which objectives are met, and how much may still go wrong?",
        "analysis.slo_views:slo_list",
        options=("over",),
        needs_slos=True,
    ),
    "slo_detail": ViewSpec(
        "How much may still go wrong, who spent it, when is it gone?",
        "analysis.slo_views:slo_detail",
        options=("slo", "over"),
        needs_slos=True,
    ),
    "latency": ViewSpec(
        "How long do requests take, and who is slower?",
        "analysis.anatomy:latency",
        options=("quantity", "by"),
        needs_slos=True,
    ),
    "latency_phases": ViewSpec(
        "Where does the time go: queue, prefill or decode?",
        "analysis.anatomy_phases:latency_phases",
    ),
    "latency_tail": ViewSpec(
        "What makes the slowest requests slow?", "analysis.anatomy_phases:latency_tail"
    ),
    "latency_drivers": ViewSpec(
        "What does latency depend on?", "analysis.anatomy_drivers:latency_drivers"
    ),
    "latency_stragglers": ViewSpec(
        "Which instance is slower than its peers?", "analysis.anatomy_stragglers:latency_stragglers"
    ),
    "latency_requests": ViewSpec(
        "Which requests were slow?",
        "analysis.anatomy_requests:latency_requests",
        options=("sort", "page", "status", "over"),
    ),
    "latency_request": ViewSpec(
        "Where did the time of one request go?",
        "analysis.anatomy_requests:latency_request",
        options=("request",),
    ),
    "fairness": ViewSpec(
        "Does every tenant get its share?",
        "analysis.fairness:fairness",
        options=(
            "input_weight",
            "output_weight",
            "cached_weight",
            "window",
            "weights",
            "batch_tokens",
            "shown",
            "slo",
        ),
        needs_slos=True,
        needs_names=True,
        needs_sharing=True,
    ),
    "fairness_interference": ViewSpec(
        "Who suffers while others are served?",
        "analysis.fairness_interference:fairness_interference",
        options=("input_weight", "output_weight", "cached_weight", "window", "shown"),
        needs_names=True,
        needs_sharing=True,
    ),
    "cost": ViewSpec(
        "What does the fleet cost, and how much of it is idle?",
        "analysis.cost:cost",
        needs_slos=True,
        needs_costs=True,
    ),
    "cold_starts": ViewSpec(
        "How long until a replica serves; which step is slow?",
        "analysis.cold_start:cold_starts",
    ),
    "predictors": ViewSpec("Can I trust what is predicted?", "analysis.predictors_view:predictors"),
    "predictors_inputs": ViewSpec(
        "Do requests look as they did when the models learnt?",
        "analysis.predictors_inputs:predictors_inputs",
    ),
    "predictors_models": ViewSpec(
        "Which models answer, and how good were they on rows they never saw?",
        "analysis.predictors_models:predictors_models",
        needs_scope=False,
        is_told=True,
    ),
    "predictors_forecast": ViewSpec(
        "What was forecast, and what came true?",
        "analysis.predictors_forecast:predictors_forecast",
        options=("quantity", "key", "horizon"),
    ),
    "candidate_course": ViewSpec(
        "What would a candidate have had, and what had the policy that decides?",
        "analysis.candidate_course:candidate_course",
        options=("candidate",),
    ),
    "predictors_backtest": ViewSpec(
        "How did each predictor do on rolling origins of our own rows?",
        "analysis.predictors_backtest:predictors_backtest",
        options=("predictor",),
    ),
    "degradation_now": ViewSpec(
        "Which instance is slowed down by its neighbours?",
        "analysis.degradation_view:degradation_now",
    ),
    "degradation": ViewSpec(
        "Which instance is slower than usual, and why?",
        "analysis.degradation:degradation",
        options=("incident",),
    ),
    "controller": ViewSpec(
        "What did the controller do, why, what would it do, and what is not as it should be?",
        "analysis.controller_view:controller",
        options=("pool",),
        needs_now=True,
        is_told=True,
    ),
    "controller_decision": ViewSpec(
        "What was seen, wanted, limited and done in one decision?",
        "analysis.controller_view:controller_decision",
        options=("decision",),
        needs_scope=False,
        is_told=True,
    ),
    "happenings": ViewSpec(
        "What happened: freezes, changes of replicas, deployments, outages, alerts?",
        "analysis.happenings:happenings",
        needs_sharing=True,
        is_told=True,
    ),
    "alerts": ViewSpec(
        "What is wrong, who was told, what is silenced?",
        "analysis.alerts.view:alerts",
        options=("alert",),
        needs_now=True,
        is_told=True,
    ),
    "gpus": ViewSpec("What do the cards do, and which has a fault?", "analysis.gpus:gpus"),
    "workload_arrivals": ViewSpec("What is arriving, and when?", f"{_WORKLOAD}:workload_arrivals"),
    "workload_burstiness": ViewSpec("How bursty is it?", f"{_WORKLOAD}:workload_burstiness"),
    "workload_lengths": ViewSpec("How long are the requests?", f"{_WORKLOAD}:workload_lengths"),
    "workload_clients": ViewSpec("From whom does it come?", f"{_WORKLOAD}:workload_clients"),
    "workload_sessions": ViewSpec("In which sessions?", f"{_WORKLOAD}:workload_sessions"),
    "workload_prefix": ViewSpec("How much could be cached?", f"{_WORKLOAD}:workload_prefix"),
    "workload_failures": ViewSpec("What fails, and where?", f"{_WORKLOAD}:workload_failures"),
    "workload_findings": ViewSpec(
        "What is worth knowing first?",
        "analysis.findings:workload_findings",
        needs_sharing=True,
    ),
    "workload_compare": ViewSpec(
        "What differs from another body of requests?",
        "analysis.workload.compare:workload_compare",
        options=("against",),
    ),
    "replays": ViewSpec(
        "Which comparisons of policies were run?",
        "analysis.replay_view:replays",
        needs_scope=False,
        is_told=True,
    ),
    "replay": ViewSpec(
        "What would another policy have given?",
        "analysis.replay_view:replay",
        options=("replay", "a", "b", "startup", "case", "against"),
        needs_scope=False,
        is_told=True,
    ),
    "reports": ViewSpec(
        "What do people who never open the dashboard get, and what became of the last ones?",
        "analysis.reports_view:reports",
        needs_scope=False,
        needs_now=True,
        is_told=True,
    ),
    "trust": ViewSpec(
        "Which signals can be trusted now, and what is wrong with the others?",
        "analysis.trust:trust",
        needs_now=True,
    ),
    "gateways": ViewSpec(
        "Do gateways report, and do they keep tenants as even as they promise?",
        "analysis.gateways:gateways",
        needs_scope=False,
        needs_now=True,
    ),
    "signal_coverage": ViewSpec(
        "Which signal does each connected engine tell, and how?",
        "analysis.signal_coverage:signal_coverage",
        needs_scope=False,
        needs_now=True,
        needs_adapters=True,
    ),
    "jobs": ViewSpec(
        "Do the server's own jobs run?",
        "analysis.jobs_view:jobs",
        needs_scope=False,
        needs_now=True,
    ),
    "server": ViewSpec(
        "How quick is the server itself?",
        "analysis.server_view:server",
        needs_scope=False,
        needs_now=True,
    ),
    "admin": ViewSpec(
        "Is the data complete, and can I trust these pages?",
        "analysis.admin_view:admin",
        needs_scope=False,
        needs_now=True,
    ),
}


def compute(
    name: str,
    reader: Reader,
    scope: Scope,
    *,
    slos: Sequence[Slo] = (),
    clock: Clock,
    options: Mapping[str, str] | None = None,
    known: Mapping[str, Measure] | None = None,
    known_frames: Mapping[str, pl.DataFrame] | None = None,
    adapters: Adapters | None = None,
    named: Callable[[str], str] | None = None,
    costs: CostRules | None = None,
    sharing: Sharing = unshared,
) -> View:
    """Compute one view.

    Args:
        name: a key of `VIEWS`.
        reader: the store.
        scope: what is asked about.
        slos: the definitions in force; used by the views that need them.
        clock: stamps `computed_at`.
        options: text options by name, as they come from a URL; empty values are ignored.
        known: numbers that only the running process knows (the writer's lag); they take the place
            of the view's measures of the same name.
        known_frames: the same for tables, such as how sources of discovery stand.
        adapters: what releases of engines can tell; nothing is known about any when None.
        named: what a tenant is called in the answer, for views that are handed it; None is its
            name.
        costs: prices and cards, for views that are handed them; None knows none.
        sharing: keeps what several views of this scope need; by default each does its own work.

    Raises:
        InputError: unknown view or option, or an option's value the view refuses.
        QueryTimeout: a query passed its time limit.
    """
    spec = view_spec(name)
    given = _known_options(name, spec, options or {})
    now = clock.now()
    handed: dict[str, Any] = {"slos": tuple(slos)} if spec.needs_slos else {}
    if spec.needs_now:
        handed["now"] = now
    if spec.needs_names and named is not None:
        handed["named"] = named
    if spec.needs_costs:
        handed["costs"] = costs
    if spec.needs_sharing:
        handed["sharing"] = sharing
    if spec.needs_adapters:
        handed["adapters"] = adapters or _no_adapter
    view = spec.function()(reader, scope, **handed, **given)
    measures = {**view.measures, **{k: v for k, v in (known or {}).items() if k in view.measures}}
    told = {k: v for k, v in (known_frames or {}).items() if k in view.frames}
    return replace(view, measures=measures, frames={**view.frames, **told}, computed_at=now)


def _known_options(name: str, spec: ViewSpec, options: Mapping[str, str]) -> dict[str, str]:
    given = {key: value for key, value in options.items() if value}
    unknown = sorted(set(given) - set(spec.options))
    if unknown:
        raise InputError(
            f"the view {name} has no option '{unknown[0]}'",
            hint=f"its options: {', '.join(spec.options) or 'none'}",
        )
    return given


def _no_adapter(engine: str, version: str | None) -> Mapping[str, SignalSource]:
    return {}


def view_spec(name: str) -> ViewSpec:
    """The entry of `VIEWS` for a name that somebody typed.

    Raises:
        InputError: there is no such view; the hint names the nearest.
    """
    if name in VIEWS:
        return VIEWS[name]
    raise InputError(f"there is no view called '{name}'", hint=nearest_hint(name, VIEWS))
