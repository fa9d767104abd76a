"""What would another policy have given? Comparisons by replay as views, the model's error first."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from analysis import replay_beside, replay_fit, replay_frames, replay_parts
from analysis.measure import Empty, Measure, View
from store.queries import replays as queries
from store.queries.scope import Scope
from store.reader import Reader

_NONE = (
    "Nothing was replayed yet. `servescope replay azure-2023-conv` compares policies on a built-in"
    " trace; POST /api/v1/replays does it here."
)
_ERRORS = {
    "fit_error_median_ratio": ("median_ratio", "ratio"),
    "fit_error_p95_ratio": ("p95_ratio", "ratio"),
    "fit_error_p99_ratio": ("p99_ratio", "ratio"),
    "ttft_error_median_ratio": ("ttft_median_ratio", "ratio"),
    "ttft_error_p95_ratio": ("ttft_p95_ratio", "ratio"),
    "ttft_error_p99_ratio": ("ttft_p99_ratio", "ratio"),
    "tpot_error_median_ratio": ("tpot_median_ratio", "ratio"),
    "tpot_error_p95_ratio": ("tpot_p95_ratio", "ratio"),
    "tpot_error_p99_ratio": ("tpot_p99_ratio", "ratio"),
    "attainment_error_points": ("attainment_points", ""),
}
_FLEET = {
    "number": pl.Int64, "name": pl.String, "role": pl.String, "profile": pl.String,
    "gpus": pl.Int64, "gpu_type": pl.String, "price_per_hour": pl.Float64, "least": pl.Int64,
    "most": pl.Int64, "startup_seconds": pl.Float64, "transfer_seconds": pl.Float64,
    "transfer_token_seconds": pl.Float64, "decided_together_by": pl.String,
}  # fmt: skip
_NEVER = "the profile was never compared with rows of this fleet"


def replays(reader: Reader, scope: Scope) -> View:
    """Comparisons, newest first.

    Measures: replays, open. Frames: `replays` (as `store.queries.replays.listed`), `candidates`.
    """
    found = queries.listed(reader)
    still = found.filter(pl.col("state").is_in(["queued", "running"])).height
    proposed = queries.candidates(reader)
    totals = {
        "replays": queries.listed_count(reader, found.height),
        "candidates": queries.candidates_count(reader, proposed.height),
    }
    measures = {
        "replays": Measure(float(totals["replays"]), ""),
        "open": Measure(float(still), ""),
    }
    frames = {"replays": found, "candidates": proposed}
    empty = Empty("nothing_connected", _NONE) if found.is_empty() else None
    sql = {"replays": queries.LISTED}
    return View("replays", scope, measures, frames, (), empty, sql, totals=totals)


def replay(
    reader: Reader,
    scope: Scope,
    *,
    replay: str = "",
    a: str = "",
    b: str = "",
    startup: str = "",
    case: str = "",
    against: str = "",
) -> View:
    """One comparison: how wrong the model is, what policies came to, and two side by side.

    Options: `replay` (its id; else the newest), `a` and `b` ("policy" or "policy/row"; else the
    fixed fleet and the best), `startup` (seconds) and `case`: what a and b are shown for;
    `against`: another replay that b is taken from, such as one with another profile.

    Measures: the model's error on rows that its fit did not see, request by request
    (fit_error_median_ratio, _p95_ and _p99_, of the end-to-end time; ttft_error_…, tpot_error_…;
    attainment_error_points), is_validated (1 or 0), goal_ratio, policies, ranks_by_cost (1: cards
    differ and have prices, so money is compared and not GPU-hours).
    Frames: `validity`, `fit` (quantiles of all judged rows together, as measured and as simulated,
    see `replay_fit`), `window` (the replayed window as measured and as simulated, where its rows
    carry latencies and say who served whom), `results` (medians with ranges over seeds, see
    `replay_frames.summary`; curves left out), `frontier` (GPU-hours against attainment, curves
    too), `fleet` (its pools, and who decides them together), `pools` (GPU-hours, cost and what
    guards held, by row and pool), `outcomes` (one row a replay); of a and b: `chosen`, `beside`
    (their numbers), `lanes` (courses of replicas, with `side`), `decisions` (where they asked for
    other numbers).

    Raises:
        InputError: no such replay, policy, start-up time or case.
    """
    run = _run(reader, replay)
    if run is None:
        return View("replay", scope, empty=Empty("nothing_connected", _NONE))
    outcomes = queries.outcomes(reader, run["replay_id"])
    fleet = json.loads(run["fleet"]) if run["fleet"] else {}
    by_cost = bool(fleet.get("ranks_by_cost"))
    found = replay_frames.summary(outcomes, run["goal_ratio"], by_cost=by_cost)
    sides = [replay_beside.side("a", found, run["replay_id"], a, startup, case, by_cost=by_cost)]
    rows, owner = _other(reader, against) if against else (found, run["replay_id"])
    same_case = "" if against else case
    sides.append(replay_beside.side("b", rows, owner, b, startup, same_case, by_cost=by_cost))
    frames = {
        "validity": _validity(run),
        "fit": replay_fit.quantiles(_error(run)),
        "window": replay_frames.window(outcomes),
        "results": found.filter(pl.col("row") != "curve"),
        "frontier": _frontier(found),
        "fleet": _fleet(fleet),
        "pools": replay_parts.by_pool(found, fleet),
        "outcomes": outcomes,
        **replay_beside.frames(reader, [one for one in sides if one is not None]),
    }
    said = replay_frames.verdict(found, run["goal_ratio"], by_cost=by_cost)
    sentences = (run["validity"], *said)
    sql = {"outcomes": queries.OUTCOMES, "lanes": queries.LANE}
    measures = _measures(run, found) | {"ranks_by_cost": Measure(float(by_cost), "")}
    return View("replay", scope, measures, frames, sentences, None, sql)


def _run(reader: Reader, replay_id: str) -> dict[str, Any] | None:
    found = queries.listed(reader, replay_id or None, 1)
    if found.is_empty():
        if not replay_id:
            return None
        raise queries.missing(reader, replay_id)
    return found.row(0, named=True)


def _other(reader: Reader, replay_id: str) -> tuple[pl.DataFrame, str]:
    run = _run(reader, replay_id)
    if run is None:
        raise queries.missing(reader, replay_id)
    outcomes = queries.outcomes(reader, replay_id)
    return replay_frames.summary(outcomes, run["goal_ratio"]), replay_id


def _measures(run: dict[str, Any], found: pl.DataFrame) -> dict[str, Measure]:
    error = _error(run)
    errors = {
        name: Measure(error.get(key), unit, n=error.get("rows"), why=_why(error, error.get(key)))
        for name, (key, unit) in _ERRORS.items()
    }
    return {
        **errors,
        "is_validated": Measure(float(run["is_validated"]), "", why=run["validity"]),
        "goal_ratio": Measure(run["goal_ratio"], "ratio"),
        "policies": Measure(float(found["policy"].n_unique()), ""),
    }


def _error(run: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(run["fit_error"] or "null") or {})


def _why(error: dict[str, Any], value: float | None) -> str | None:
    if value is not None:
        return None
    return "this was not compared" if error else _NEVER


def _validity(run: dict[str, Any]) -> pl.DataFrame:
    asked = json.loads(run["asked"])
    rows = [
        ("replay", run["replay_id"]),
        ("state", run["state"] + (f": {run['text']}" if run["text"] else "")),
        ("trace", run["trace"]),
        ("profile", run["profile"]),
        ("validity", run["validity"]),
        *((name, _told(value)) for name, value in sorted(asked.items()) if name != "fleet"),
    ]
    return pl.DataFrame(rows, schema={"what": pl.String, "value": pl.String}, orient="row")


def _told(value: Any) -> str | None:
    if isinstance(value, list):
        return ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return None if value is None else str(value)


def _frontier(found: pl.DataFrame) -> pl.DataFrame:
    numbers = [f"{name}{end}" for name in ("gpu_hours", "cost", "attainment_ratio")
               for end in ("", "_low", "_high")]  # fmt: skip
    return found.filter(pl.col("gpu_hours").is_not_null()).select(
        *replay_frames.ROW_KEY, "title", *numbers, "is_met", "is_on_front"
    )


def _fleet(fleet: dict[str, Any]) -> pl.DataFrame:
    """One row a pool, in the order of the lanes' numbers."""
    decided = ", ".join(name for name, how in fleet.get("decided", {}).items() if how == "together")
    rows = [
        {
            **{name: one.get(name) for name in _FLEET if name in one},
            "number": number,
            "decided_together_by": decided or None,
        }
        for number, one in enumerate(fleet.get("pools", []))
    ]
    return pl.DataFrame(rows, schema=_FLEET)
