"""What decisions rest on: predictors that drift, forecasts that miss, pools that do not follow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from analysis import forecasts_judged
from analysis.alerts.model import Link, Reading
from analysis.alerts.rules import Watch
from store.queries import decisions, forecasts, predictions
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.units import percent_text, seconds_text

_DECIDED_WITHIN_SECONDS = 3600.0
_ACTS = ("active", "approve")
_LIVE = {"source": "live"}


def predictor_drift(watch: Watch) -> Sequence[Reading]:
    """A reading for each predictor that drifted within the window."""
    window = watch.limits["window_seconds"]
    events = predictions.drift(watch.reader, _scope(watch, window))
    found = []
    for (subject,), mine in events.group_by("subject", maintain_order=True):
        name, count = str(subject or "a predictor"), mine.height
        text = f"{name} drifted {count} times within {seconds_text(window)}: {mine['text'][0]}"
        active = count >= watch.limits["least_events"]
        link = Link("predictors", _LIVE, window)
        found.append(Reading({"predictor": name}, active, text, float(count), link))
    return found


def forecast_miss(watch: Watch) -> Sequence[Reading]:
    """A reading for each forecast quantity and key: does its interval still hold outcomes?"""
    limits = watch.limits
    scope = _scope(watch, limits["window_seconds"])
    runs = forecasts.runs(watch.reader, scope)
    if runs is None:
        return []
    said = forecasts.said(watch.reader, scope, runs.judged_from)
    frame = forecasts_judged.judged(forecasts_judged.with_losses(said))
    sums = frame.group_by("quantity", "key").agg(pl.col("outcomes", "inside_90").sum())
    found = []
    for row in sums.sort("quantity", "key").iter_rows(named=True):
        count, inside = row["outcomes"], row["inside_90"]
        ratio = inside / count if count else None
        known = ratio is not None and count >= limits["least_outcomes"]
        active = ratio < limits["inside_ratio"] if known and ratio is not None else None
        share = percent_text(ratio, 0) if ratio is not None else "none"
        key = str(row["key"])
        text = (
            f"{inside:,} of {count:,} outcomes ({share}) of {row['quantity']} of {key or 'all'} lay"
            " inside the 90 % interval of the forecast."
        )
        link = Link(
            "predictors", {**_LIVE, "quantity": row["quantity"], "key": key},
            limits["window_seconds"],
        )  # fmt: skip
        labels = {"quantity": row["quantity"], "key": key}
        found.append(Reading(labels, active, text, ratio, link))
    return found


def controller_held(watch: Watch) -> Sequence[Reading]:
    """A reading for each pool that decides: is it as was decided?"""
    at = watch.now.replace(tzinfo=None)
    frame = decisions.treated(watch.reader, at)
    undone = {row["pool"]: row for row in decisions.unsettled(watch.reader).to_dicts()}
    found = []
    for row in frame.iter_rows(named=True):
        pool, decided_at = row["pool"], row["decided_at"]
        if row["mode"] == "off" or decided_at is None:
            continue
        age = (at - decided_at).total_seconds()
        link = Link("controller", {**_LIVE, "pool": pool})
        if age > _DECIDED_WITHIN_SECONDS:
            text = f"Nothing was decided for pool {pool} for {seconds_text(age)}."
            found.append(Reading({"pool": pool}, True, text, age, link))
            continue
        desired, ready = row["desired"], row["ready"]
        acts = row["mode"] in _ACTS and not row["is_frozen"]
        differs = desired is not None and ready is not None and desired != ready
        text = f"Pool {pool} has {ready} ready replicas where {desired} were decided."
        if pool in undone:
            text += f" {undone[pool]['outcome']}: {undone[pool]['reason']}"
        apart = float(desired - ready) if desired is not None and ready is not None else None
        active = bool(acts and (differs or pool in undone))
        found.append(Reading({"pool": pool}, active, text, apart, link))
    return found


def _scope(watch: Watch, seconds: float) -> Scope:
    return Scope((LIVE_SOURCE_ID,), watch.now - timedelta(seconds=seconds), watch.now)
