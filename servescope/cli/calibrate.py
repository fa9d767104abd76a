"""What `calibrate` and `profiles` do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.output import Output, Progress

if TYPE_CHECKING:
    from controller.calibration.calibrate import Calibration, Wish
    from controller.calibration.judge import Judged
    from controller.profile import Profile

_WAYS = (
    "on later rows", "E2E median", "p99", "bias", "p90 of all", "TTFT median", "p99",
    "TPOT median", "p99", "attainment",
)  # fmt: skip
_PROFILES = ("profile", "origin", "GPUs", "E2E error", "rows", "verdict", "source", "licence")


@dataclass(frozen=True, slots=True)
class CalibrateWish:
    """The options of the command, in their order."""

    params: Mapping[str, str]
    pool: str | None
    out: Path | None
    name: str | None
    fit_share: float
    replicas: int | None
    ttft: float | None
    tpot: float | None
    given: Mapping[str, int | bool | None]
    bound: float
    bound_points: float
    gpus: int
    gpu_type: str
    price: float | None


def run_calibrate(
    wish: CalibrateWish, store: Path | None, config_file: Path | None, *, as_json: bool, plain: bool
) -> None:
    """Fit, judge, print and write."""
    from controller.calibration.calibrate import calibrate
    from controller.calibration.recorded import recorded
    from controller.profiles import slug
    from servescope.calibrating import gathered, profiles_folder

    out = Output(as_json=as_json, plain=plain)
    with access.opened(configured(store, config_file)) as way:
        found = gathered(way, wish.params, wish.pool)
    rows = recorded(found.requests, found.block_tokens)
    progress = Progress(out, "fitting")
    told = calibrate(rows, _wish(wish, found.engines), found.gauges, progress)
    progress.done()
    path = wish.out or profiles_folder() / f"{slug(told.profile.name)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told.profile.save(path)
    out.document("calibrate", document(told, path))
    _say(out, told)
    out.line(f"written to {path}")


def _wish(wish: CalibrateWish, engines: str) -> Wish:
    from controller.calibration.calibrate import Wish
    from controller.observation import Objective

    source = wish.params.get("source", "live")
    subject = wish.name or " ".join(
        part for part in (wish.params.get("model"), wish.pool, source) if part
    )
    objective = None
    if wish.ttft is not None or wish.tpot is not None:
        objective = Objective(wish.ttft, wish.tpot)
    where = f"{source} ({engines})" if engines else source
    return Wish(
        name=subject, source=where, fit_ratio=wish.fit_share, replicas=wish.replicas,
        objective=objective, bound_ratio=wish.bound, bound_points=wish.bound_points,
        given=wish.given, gpus=wish.gpus, gpu_type=wish.gpu_type, price_per_hour=wish.price,
    )  # fmt: skip


def document(told: Calibration, path: Path | None) -> dict[str, Any]:
    """The whole answer."""
    return {
        "profile": asdict(told.profile),
        "file": path,
        "is_validated": told.profile.error is not None and told.profile.error.is_validated,
        "rows_fitted": told.rows_fitted,
        "rows_judged": told.rows_judged,
        "simulations": told.fit.simulations,
        "objective": asdict(told.objective),
        "limits": dict(told.limits.origins or {}),
        "judged": [_judged(one) for one in (told.judged, *told.rivals)],
        "on_fitted_rows": _judged(told.on_fitted),
        "batching_tried": [
            {"is_chunked": chunked, "token_budget": budget, "loss": loss}
            for chunked, budget, loss in told.fit.tried
        ],
    }


def _judged(one: Judged) -> dict[str, Any]:
    return {**asdict(one), "attainment_points": one.attainment_points}


def _say(out: Output, told: Calibration) -> None:
    profile, error = told.profile, told.profile.error
    out.line(
        f"Fitted to {told.rows_fitted:,} requests with {told.fit.simulations} simulations, judged"
        f" on the {told.rows_judged:,} after them."
    )
    for text in (_step(profile), _batch(told)):
        out.line(text)
    out.line()
    simulator = replace(told.on_fitted, name="(simulator, rows it was fitted to)")
    out.table(_WAYS, [_row(one) for one in (told.judged, *told.rivals, simulator)])
    out.line()
    good = [
        f"{name} <= {limit:g} s"
        for name, limit in (
            ("TTFT", told.objective.ttft_seconds), ("TPOT", told.objective.tpot_seconds)
        )
        if limit is not None
    ]  # fmt: skip
    out.line(
        f"Attainment of {' and '.join(good)}: {told.judged.recorded_attainment:.1%} recorded; the"
        " column is what was told less that, in points."
    )
    for note in profile.notes:
        out.line(f"note: {note}")
    if error is not None:
        out.line(error.sentence())


def _step(profile: Profile) -> str:
    step = profile.step
    parts = [
        (step.fixed_seconds, "a step"), (step.decoding_seconds, "if anything decodes"),
        (step.sequence_seconds, "a sequence"),
        (step.sequence_squared_seconds, "a sequence squared"),
        (step.prompt_token_seconds * 1000, "1,000 prompt tokens"),
        (step.prompt_token_squared_seconds * 1e6, "their square"),
        (step.cached_token_seconds * 1000, "1,000 cached tokens"),
        (profile.request_seconds, "a request"),
    ]  # fmt: skip
    told = [f"{what} {_milliseconds(seconds)}" for seconds, what in parts if seconds > 5e-6]
    return f"Milliseconds: {', '.join(told)}."


def _milliseconds(seconds: float) -> str:
    """Three digits that matter."""
    value = seconds * 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _batch(told: Calibration) -> str:
    profile, origins = told.profile, told.limits.origins or {}
    way = "prompts share steps" if profile.is_chunked else "decoding waits for prompts"
    return (
        f"A batch: {profile.sequences} sequences ({origins.get('sequences')}),"
        f" {profile.cache_tokens:,} tokens of cache ({origins.get('cache_tokens')}),"
        f" {profile.token_budget:,} tokens a step ({origins.get('token_budget')}), {way}"
        f" ({origins.get('is_chunked')})."
    )


def _row(one: Judged) -> list[Any]:
    e2e, ttft, tpot = (one.misses.get(name) for name in ("e2e", "ttft", "tpot"))
    cells: list[Any] = [one.name]
    cells += (
        [None] * 4
        if e2e is None
        else [_percent(e2e.median_ratio), _percent(e2e.p99_ratio), f"{e2e.bias_ratio:+.1%}",
              f"{e2e.quantile_ratio(0.9):+.1%}"]
    )  # fmt: skip
    for miss in (ttft, tpot):
        cells += (
            [None, None]
            if miss is None
            else [_percent(miss.median_ratio), _percent(miss.p99_ratio)]
        )
    points = one.attainment_points
    return [*cells, None if points is None else f"{points:+.1f}"]


def _percent(value: float) -> str:
    return f"{value:.1%}"


def run_list(*, as_json: bool) -> None:
    """Print shipped profiles and those of the data folder."""
    from controller.profiles import read, shipped
    from servescope.calibrating import profiles_folder

    out = Output(as_json=as_json)
    known = [
        *(("shipped", name, one) for name, one in shipped().items()),
        *(("own", name, one) for name, one in read(profiles_folder()).items()),
    ]
    out.document(
        "profiles",
        {"profiles": [{"origin": o, "file": n, **_with_verdict(p)} for o, n, p in known]},
    )
    out.table(_PROFILES, [_listed(*one) for one in known])
    if not any(origin == "own" for origin, _, _ in known):
        out.line()
        out.line("None of your own yet: `servescope calibrate` fits one to recorded requests.")


def _listed(origin: str, name: str, profile: Profile) -> list[Any]:
    error = profile.error
    gpus = f"{profile.gpus} x {profile.gpu_type}" if profile.gpu_type else None
    verdict = None if error is None else "validated" if error.is_validated else "not validated"
    return [
        name, origin, gpus, None if error is None else f"{error.median_ratio:.1%}",
        None if error is None else error.rows, verdict, profile.source, profile.licence or None,
    ]  # fmt: skip


def run_show(name: str, *, as_json: bool) -> None:
    """Print one profile."""
    from controller.profiles import find
    from servescope.calibrating import profiles_folder

    out = Output(as_json=as_json)
    profile = find(name, profiles_folder())
    out.document("profile", _with_verdict(profile))
    out.line(profile.name)
    out.line(_step(profile))
    out.line(
        f"A batch: {profile.sequences} sequences, {profile.cache_tokens:,} tokens of cache,"
        f" {profile.token_budget:,} tokens a step;"
        f" {'prompts share steps' if profile.is_chunked else 'decoding waits for prompts'}."
    )
    out.line(f"Source: {profile.source or 'unknown'}{_licensed(profile)}.")
    for note in profile.notes:
        out.line(f"note: {note}")
    out.line(profile.error.sentence() if profile.error else "not validated: never compared")


def _licensed(profile: Profile) -> str:
    return f", {profile.licence}" if profile.licence else ""


def _with_verdict(profile: Profile) -> dict[str, Any]:
    verdict = profile.error is not None and profile.error.is_validated
    return {**asdict(profile), "is_validated": verdict}
