"""The clients view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.measure import Measure, View
from analysis.workload import clients
from analysis.workload.arrivals import MICROSECONDS, Floats
from analysis.workload.loading import Member, NotingReader, empty_view, members
from store.queries import workload as queries
from store.queries.scope import Scope
from store.units import percent_text

_VIEW = "workload_clients"
_MOST_CLIENTS_SHOWN = 500
_MOST_SESSIONS = 1_000_000


def workload_clients(reader: queries.FrameReader, scope: Scope) -> View:
    """Who asks for how much: shares, inequality, and each client's own behaviour.

    A client is a tenant where tenants are known, else a route, else a source of several, else a
    session, else a model. Requests are attempted ones; those of an unknown client are left out of
    the shares and counted in a sentence.
    """
    noting = NotingReader(reader)
    sources = members(noting, scope)
    if not any(member.requests for member in sources):
        return _from_rates(noting, scope, sources)
    dimension = _dimension(noting, scope, sources)
    totals = queries.client_totals(noting, scope, dimension)
    if totals.is_empty():
        return empty_view(_VIEW, noting, scope, sources)
    sql = noting.last_text
    known = totals.filter(pl.col("client").is_not_null())
    stamps, names = queries.client_stamps(noting, scope, dimension)
    table = _table(known, stamps, names, int(totals["requests"].sum()))
    requests = known["requests"].cast(pl.Float64).to_numpy()
    tokens = known["tokens"].to_numpy()
    frames = {
        "lorenz": clients.lorenz_frame(dimension, requests, tokens),
        "clients": table.head(_MOST_CLIENTS_SHOWN),
    }
    measures = _measures(requests, tokens, known.height)
    unknown = int(totals["requests"].sum()) - int(known["requests"].sum())
    sentences = _sentences(dimension, measures, unknown)
    return View(_VIEW, scope, measures, frames, sentences, sql=dict.fromkeys(frames, sql))


def _dimension(
    reader: queries.FrameReader, scope: Scope, sources: Sequence[Member]
) -> queries.Dimension:
    counts = queries.present_dimensions(reader, scope)
    if counts["tenant"]:
        return "tenant"
    if counts["route"] > 1:
        return "route"
    if len(sources) > 1:
        return "source"
    if 0 < queries.session_count(reader, scope) <= _MOST_SESSIONS:
        return "session"
    return "model" if counts["model"] > 1 else "source"


def _table(
    known: pl.DataFrame, stamps: pl.DataFrame, names: pl.DataFrame, attempted: int
) -> pl.DataFrame:
    """One row a client, as `clients.CLIENTS_SCHEMA`, most requests first."""
    at_us = stamps["at_us"].to_numpy()
    span = float(at_us.max() - at_us.min()) / MICROSECONDS if at_us.size else 0.0
    codes, variation = clients.variation_by_client(stamps["code"].to_numpy(), at_us)
    varied = (
        pl.DataFrame({"code": codes, "interarrival_cv": variation})
        .with_columns(pl.col("code").cast(names.schema["code"]))
        .join(names, on="code")
        .select("client", pl.col("interarrival_cv").fill_nan(None))
        .unique("client")
    )
    requests = pl.col("requests")
    return (
        known.join(varied, on="client", how="left", maintain_order="left")
        .select(
            "client",
            requests,
            (requests / attempted).alias("share_ratio"),
            (requests / span if span > 0 else pl.lit(None)).alias("requests_per_second"),
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
    return {
        "clients": Measure(count, "", n=int(requests.sum())),
        "gini_requests": Measure(clients.gini(requests), "", n=count, why=why),
        "gini_tokens": Measure(
            gini_tokens, "", n=count, why=no_tokens if gini_tokens is None else None
        ),
        "top1_share_ratio": Measure(clients.top_share(requests, 1), "ratio", n=count, why=why),
        "top10_share_ratio": Measure(clients.top_share(requests, 10), "ratio", n=count, why=why),
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
    sql = reader.last_text
    table = clients.rate_clients(rates)
    requests = np.asarray(table["requests"].to_numpy(), dtype=np.float64)
    frames = {
        "lorenz": clients.lorenz_frame("client", requests, None),
        "clients": table.head(_MOST_CLIENTS_SHOWN),
    }
    measures = _measures(requests, None, table.height)
    sentences = (*_sentences("client", measures, 0), *_family_words(rates))
    return View(_VIEW, scope, measures, frames, sentences, sql=dict.fromkeys(frames, sql))


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
