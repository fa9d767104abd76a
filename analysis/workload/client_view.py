"""The clients view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from analysis.coverage import covered_seconds, covered_span
from analysis.measure import Measure, View
from analysis.workload import clients
from analysis.workload.arrivals import Floats, Stamps
from analysis.workload.loading import Member, NotingReader, empty_view, members
from analysis.workload.schemas import empty_frames
from analysis.workload.words import time_text
from store.queries import workload as queries
from store.queries.scope import Scope
from store.queries.totals import label_totals
from store.units import percent_text

_VIEW = "workload_clients"
_MOST_CLIENTS_SHOWN = 500
_MOST_SESSIONS = 1_000_000
# A million requests put a client's variation within a few percent; ten times as many take ten times
# as long.
_MOST_VARIED = 1_000_000
_LABELS = ("tenant", "route", "source", "model")


def workload_clients(reader: queries.FrameReader, scope: Scope) -> View:
    """Who asks for how much: shares, inequality, and each client's own behaviour.

    A client is a tenant where tenants are known, else a route, else a source of several, else a
    session, else a model. Requests are attempted ones; those of an unknown client are left out of
    the shares and counted in a sentence. The variation of gaps is that of the newest million
    requests when there are more.
    """
    return clients_view(reader, scope)


def clients_view(reader: queries.FrameReader, scope: Scope, *, with_charts: bool = True) -> View:
    """The same; without `with_charts` there are measures alone, for which no request is read."""
    noting = NotingReader(reader)
    sources = members(noting, scope)
    labelled = label_totals(noting, scope)
    if labelled.is_empty():
        return _from_rates(noting, scope, sources)
    dimension = _dimension(noting, scope, labelled)
    totals = labelled if dimension != "session" else queries.session_totals(noting, scope)
    text = noting.last_text
    grouped = _grouped(totals, dimension)
    known = grouped.filter(pl.col("client").is_not_null())
    requests = known["requests"].cast(pl.Float64).to_numpy()
    tokens = known["tokens"].to_numpy()
    measures = _measures(requests, tokens, known.height)
    if not with_charts:
        return View(_VIEW, scope, measures, empty_frames(_VIEW))
    recent, thinned = _recent(scope, labelled)
    covered = covered_seconds(covered_span(noting, scope))
    table = _table(known, queries.client_stamps(noting, recent, dimension), covered)
    frames = {
        "lorenz": clients.lorenz_frame(dimension, requests, tokens),
        "clients": table.head(_MOST_CLIENTS_SHOWN),
    }
    unknown = int(grouped["requests"].sum()) - int(known["requests"].sum())
    sentences = (*_sentences(dimension, measures, unknown), *thinned)
    there = {"clients": table.height}
    sql = dict.fromkeys(frames, text)
    return View(_VIEW, scope, measures, frames, sentences, sql=sql, totals=there)


def _dimension(
    reader: queries.FrameReader, scope: Scope, labelled: pl.DataFrame
) -> queries.Dimension:
    counts = {name: labelled[name].drop_nulls().n_unique() for name in _LABELS}
    if counts["tenant"]:
        return "tenant"
    if counts["route"] > 1:
        return "route"
    if counts["source"] > 1:
        return "source"
    if 0 < queries.session_count(reader, scope)[1] <= _MOST_SESSIONS:
        return "session"
    return "model" if counts["model"] > 1 else "source"


def _grouped(totals: pl.DataFrame, dimension: str) -> pl.DataFrame:
    """client, requests, failed, means and tokens; most requests first. Null = unknown client."""
    summed = pl.col("requests", "failed", "inputs", "input_tokens", "outputs", "output_tokens")
    return (
        totals.group_by(pl.col(dimension).alias("client"))
        .agg(summed.sum(), pl.col("tokens").sum())
        .with_columns(
            _mean("input_tokens", "inputs").alias("input_tokens_mean"),
            _mean("output_tokens", "outputs").alias("output_tokens_mean"),
        )
        .sort("requests", "client", descending=[True, False])
    )


def _mean(total: str, count: str) -> pl.Expr:
    return pl.when(pl.col(count) > 0).then(pl.col(total) / pl.col(count))


def _span(totals: pl.DataFrame) -> float:
    """Seconds from the first to the last request of all."""
    first, last = totals["first_at"].min(), totals["last_at"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return 0.0
    return (last - first).total_seconds()


def _recent(scope: Scope, totals: pl.DataFrame) -> tuple[Scope, tuple[str, ...]]:
    """The part of the scope with about the newest million requests, and what to say of it."""
    requests, last = int(totals["requests"].sum()), totals["last_at"].max()
    if requests <= _MOST_VARIED or not isinstance(last, datetime):
        return scope, ()
    end = queries.aware(last)
    start = end - timedelta(seconds=_span(totals) * _MOST_VARIED / requests)
    words = (
        f"Variation of gaps is that of the requests since {time_text(start)}, about "
        f"{_MOST_VARIED:,} of {requests:,}."
    )
    return replace(scope, start=max(start, scope.start)), (words,)


def _table(
    known: pl.DataFrame,
    stamps: tuple[Stamps, Stamps, pl.DataFrame],
    covered: float | None,
) -> pl.DataFrame:
    """One row a client, as `clients.CLIENTS_SCHEMA`, most requests first."""
    of_request, at_us, names = stamps
    codes, variation = clients.variation_by_client(of_request, at_us)
    varied = (
        pl.DataFrame({"code": codes, "interarrival_cv": variation})
        .with_columns(pl.col("code").cast(names.schema["code"]))
        .join(names, on="code")
        .select("client", pl.col("interarrival_cv").fill_nan(None))
        .unique("client")
    )
    requests = pl.col("requests")
    per_second = requests / pl.lit(covered, pl.Float64)
    return (
        known.join(varied, on="client", how="left", maintain_order="left")
        .select(
            "client",
            requests,
            (requests / requests.sum()).alias("share_ratio"),
            per_second.alias("requests_per_second"),
            "interarrival_cv",
            "input_tokens_mean",
            "output_tokens_mean",
            (pl.col("failed") / requests).alias("failure_ratio"),
        )
        .cast(clients.CLIENTS_SCHEMA)  # type: ignore[arg-type]
    )


def _measures(requests: Floats, tokens: Floats | None, count: int) -> dict[str, Measure]:
    why = "no client is known" if count == 0 else None
    no_tokens = why or "no token counts are known"
    gini_tokens = clients.gini(tokens) if tokens is not None else None
    events = int(requests.sum())
    return {
        "clients": Measure(count, "", n=events),
        "gini_requests": Measure(clients.gini(requests), "", n=events, why=why),
        "gini_tokens": Measure(
            gini_tokens, "", n=events, why=no_tokens if gini_tokens is None else None
        ),
        "top1_share_ratio": Measure(clients.top_share(requests, 1), "ratio", n=events, why=why),
        "top10_share_ratio": Measure(clients.top_share(requests, 10), "ratio", n=events, why=why),
    }


def _sentences(dimension: str, measures: dict[str, Measure], unknown: int) -> tuple[str, ...]:
    count = int(measures["clients"].value or 0)
    lines = []
    by = "" if dimension == "client" else f" (by {dimension})"
    if count == 1:
        lines.append(f"Only one client is known{by}: shares say nothing.")
    elif count:
        lines.append(
            f"{count:,} clients{by}; the largest sends "
            f"{percent_text(measures['top1_share_ratio'].value)} of the requests, the ten largest "
            f"{percent_text(measures['top10_share_ratio'].value)} "
            f"(Gini {measures['gini_requests'].value:.2f})."
        )
    if unknown:
        lines.append(f"{unknown:,} requests name no {dimension}; they are not in the shares.")
    return tuple(lines)


def _from_rates(reader: NotingReader, scope: Scope, sources: Sequence[Member]) -> View:
    rates = queries.client_rates(reader, scope)
    if rates.is_empty():
        return empty_view(_VIEW, reader, scope, sources)
    text = reader.last_text
    table = clients.rate_clients(rates)
    requests = np.asarray(table["requests"].to_numpy(), dtype=np.float64)
    frames = {
        "lorenz": clients.lorenz_frame("client", requests, None),
        "clients": table.head(_MOST_CLIENTS_SHOWN),
    }
    measures = _measures(requests, None, table.height)
    sentences = (*_sentences("client", measures, 0), *_family_words(rates))
    there = {"clients": table.height}
    sql = dict.fromkeys(frames, text)
    return View(_VIEW, scope, measures, frames, sentences, sql=sql, totals=there)


def _family_words(rates: pl.DataFrame) -> tuple[str, ...]:
    """What the windows' own fits say together."""
    mixed = rates["family"].drop_nulls().value_counts(sort=True)
    cv = clients.weighted_variation(rates)
    if mixed.is_empty() or cv is None:
        return ()
    total = int(mixed["count"].sum())
    parts = ", ".join(f"{percent_text(count / total)} {name}" for name, count in mixed.rows())
    return (
        f"Gaps within windows vary by {cv:.3g} of their mean, weighted by rate; windows with "
        f"enough arrivals ({total:,} of {rates.height:,}) are {parts}.",
    )
