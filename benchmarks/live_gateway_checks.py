"""What the demonstration of the gateway promises, looked up in what clients saw and the store has.

Rows of both sides are laid side by side by the trace that each attempt was sent with.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from live_gateway_fleet import CONTEXT_TOKENS, SLOTS, Stage
from live_gateway_witness import TOKENS, Kill

from controller.gateway.queueing.bound import Capacity, bound
from controller.gateway.queueing.registry import make
from servescope.documents import frame_rows

SECOND_TRY_GOAL = 0.9
LONGEST_TOLD_SECONDS = 60.0
GAVE_OUT = ("upstream_reset", "upstream_unreachable", "upstream_silent")


@dataclass
class Check:
    """One promise.

    Attributes:
        is_kept: None where there was nothing to see.
        text: with figures.
    """

    name: str
    is_kept: bool | None
    text: str
    figures: dict[str, Any] = field(default_factory=dict)


def client_rows(out: Path) -> pl.DataFrame:
    """Attempts as the load saw them."""
    return pl.read_parquet(out).sort("number", "attempt")


def store_rows(stage: Stage) -> pl.DataFrame:
    """Attempts as the gateway told them."""
    rows = stage.sql(
        "SELECT trace_id::VARCHAR AS trace_id, attempt, status::VARCHAR AS status, tenant,"
        " instance, finish_reason, ttft_seconds, queue_seconds, retry_after_seconds, arrived_at"
        " FROM requests WHERE source = 'live' LIMIT 100000"
    )
    rows = rows.with_columns(pl.col("trace_id").str.replace_all("-", ""))
    return rows.sort("trace_id", "attempt")


def fair(stage: Stage, longest_prompt: int, longest: int, since: str) -> list[Check]:
    """(a) tenants that waited together are no farther apart than the line promises."""
    held = Capacity(longest_prompt, 2 * SLOTS * min(longest, CONTEXT_TOKENS))
    limit = bound(make("vtc"), held)
    view = stage.view("fairness", source="live", batch_tokens=str(held.held_tokens),
                      **{"from": since})  # fmt: skip
    told = {name: one["value"] for name, one in view["measures"].items()}
    gap, of_view = told["gap_max_tokens"], told["gap_bound_tokens"]
    checks = [
        Check(
            "a fair, by the store", None if gap is None else gap <= of_view,
            f"tenants that waited were {_said(gap)} tokens of service apart at most; the page's"
            f" bound is {_said(of_view)}, that of the line {_said(limit)}",
            {"gap_tokens": gap, "bound_tokens": of_view, "line_bound_tokens": limit,
             "measures": told, "sentences": view["sentences"],
             "tenants": frame_rows(view, "tenants")},
        )
    ]  # fmt: skip
    return [*checks, metered(stage)]


def metered(stage: Stage) -> Check:
    """The same by the gateway's own meter."""
    told = stage.status()["fairness"]
    apart, limit = told["greatest_gap_service"], told["bound_service"]
    if apart is None or limit is None:
        why = told["why_no_bound"] or "no two tenants waited at the same time"
        return Check("a fair, by the meter", None, why, told)
    text = f"{_said(apart)} apart at most, bound {_said(limit)}, {told['breaches']} breaches"
    return Check("a fair, by the meter", apart <= limit and not told["breaches"], text, told)


def let_in(rows: pl.DataFrame, kill: Kill) -> list[Check]:
    """(b) who waits as told is let in, and everybody is served at last.

    A promise cannot know that an engine will be killed, nor that long streams come to watch it:
    those whose wait met that are told apart, and the goal is for the others.
    """
    last = rows.group_by("number", maintain_order=True).last()
    refused = rows.filter((pl.col("attempt") == 1) & (pl.col("status") == "refused"))
    second = refused.join(
        rows.filter(pl.col("attempt") == 2).select("number", second="status"), on="number"
    )
    wait = pl.col("retry_after_seconds")
    in_full = second.filter(wait.is_not_null() & (wait < LONGEST_TOLD_SECONDS))
    told_at = pl.col("arrived_at").dt.epoch("ms") / 1000
    is_met = (told_at <= kill.over) & (told_at + wait >= kill.began)
    spared = in_full.filter(~is_met)
    share = _share(spared)
    figures = {
        "refused_first": refused.height, "told_in_full": in_full.height, "spared": spared.height,
        "let_in_on_second": share, "let_in_of_all_told": _share(in_full),
        "let_in_of_all": _share(second),
        "by_reason": [
            {"reason": reason, "count": part.height, "let_in": _share(part)}
            for (reason,), part in spared.group_by("admission_reason", maintain_order=True)
        ],
    }  # fmt: skip
    words = "; ".join(
        f"{one['reason']}: {_percent(one['let_in'])} of {one['count']}"
        for one in figures["by_reason"]
    )
    text = (
        f"{refused.height} requests were refused at first; of {spared.height} whose whole wait was"
        f" told and saw no kill, {_percent(share)} were let in on the second try ({words}); with"
        f" those that the kill met {_percent(_share(in_full))} of {in_full.height}"
    )
    never = last.filter(pl.col("status") == "refused").height
    return [
        Check("b second try", None if share is None else share >= SECOND_TRY_GOAL, text, figures),
        Check("b all at last", never == 0, f"{never} of {last.height} were never let in",
              {"never": never, "requests": last.height}),
    ]  # fmt: skip


def broken(kill: Kill, client: pl.DataFrame, store: pl.DataFrame) -> list[Check]:
    """(d) what had begun on the killed engine breaks; the rest goes on or goes elsewhere."""
    lost = store.filter(pl.col("finish_reason").is_in(GAVE_OUT))
    there = lost.filter(pl.col("instance") == kill.engine)
    ends = store.group_by("trace_id", maintain_order=True).last()
    return [
        _begun(kill, client, set(there.drop_nulls("ttft_seconds")["trace_id"])),
        _retried(there, ends),
        _unharmed(kill, ends, lost.height - there.height),
    ]


def _begun(kill: Kill, client: pl.DataFrame, begun: set[str]) -> Check:
    seen = set(client.filter(pl.col("status") == "failed")["trace_id"])
    seen |= {one.trace_id for one in kill.witnesses if one.end != "done"}
    text = (
        f"{len(begun)} streams had begun on '{kill.engine}' when it was killed, and clients saw"
        f" {len(seen)} end in an error: {'the same' if seen == begun else 'others'}"
        f" ({kill.in_flight} were in flight there; away for {kill.away_seconds:.1f} s)"
    )
    figures = {
        "begun": len(begun), "clients_saw": len(seen), "in_flight": kill.in_flight,
        "away_seconds": kill.away_seconds,
    }  # fmt: skip
    is_kept = seen == begun if seen or begun else None
    return Check("d what had begun breaks", is_kept, text, figures)


def _retried(there: pl.DataFrame, ends: pl.DataFrame) -> Check:
    not_begun = there.filter(pl.col("ttft_seconds").is_null())
    again = ends.join(not_begun.select("trace_id"), on="trace_id", how="semi")
    saved = again.filter(pl.col("status") == "ok").height
    return Check(
        "d the rest is retried",
        saved == again.height if again.height else None,
        f"{again.height} had not begun or could not be sent; {saved} of them succeeded elsewhere",
        {"not_begun": again.height, "saved": saved},
    )


def _unharmed(kill: Kill, ends: pl.DataFrame, broke: int) -> Check:
    where = dict(ends.select("trace_id", "instance").iter_rows())
    others = [one for one in kill.witnesses if where.get(one.trace_id) != kill.engine]
    whole = sum(one.is_whole for one in others)
    return Check(
        "d the other is unharmed",
        whole == len(others) > 0 and not broke,
        f"{whole} of {len(others)} numbered streams on the other engine had each of {TOKENS}"
        f" chunks once and in order; {broke} attempts broke there",
        {"whole": whole, "others": len(others), "broke": broke},
    )


def counted(client: pl.DataFrame, store: pl.DataFrame, kill: Kill) -> Check:
    """(e) each attempt that was sent has its row, with the same end."""
    sent = client.filter(pl.col("trace_id").is_not_null() & (pl.col("status") != "aborted"))
    traces = {*sent["trace_id"], *(one.trace_id for one in kill.witnesses)}
    rows = store.filter(pl.col("trace_id").is_in(list(traces)))
    ends = rows.group_by("trace_id", maintain_order=True).last()
    firsts = rows.filter(pl.col("attempt") == 1)
    both = sent.select("trace_id", "status", told="retry_after_seconds").join(
        ends.select("trace_id", kept="status", wait="retry_after_seconds"), on="trace_id"
    )
    differ = both.filter(pl.col("status") != pl.col("kept")).height
    waits = both.filter((pl.col("told") - pl.col("wait")).abs() > 0.002).height
    doubled = firsts.height - ends.height
    is_kept = ends.height == len(traces) and not (differ or waits or doubled)
    refused = sent.filter(pl.col("status") == "refused").height
    text = (
        f"{len(traces)} attempts were sent ({refused} refused), {ends.height} have rows"
        f" ({rows.height} with the gateway's own retries); {differ} tell another end,"
        f" {waits} another Retry-After, {doubled} are there twice"
    )
    figures = {"sent": len(traces), "with_rows": ends.height, "rows": rows.height, "differ": differ}
    return Check("e every attempt has its row", is_kept, text, figures)


def by_tenant(client: pl.DataFrame, ttft_seconds: float) -> list[dict[str, Any]]:
    """(f) what each tenant got: from the last asking, and from the first."""
    of_one = client.group_by("number", maintain_order=True)
    firsts = of_one.first().select("number", first="arrived_at")
    since = (pl.col("arrived_at") - pl.col("first")).dt.total_microseconds() / 1e6
    rows = client.join(firsts, on="number").with_columns(waited=since + pl.col("ttft_seconds"))
    refused = Counter(rows.filter(pl.col("status") == "refused")["tenant"])
    last = rows.group_by("number", maintain_order=True).last()
    found = []
    for (tenant,), part in last.group_by("tenant", maintain_order=True):
        good = part.filter((pl.col("status") == "ok") & (pl.col("waited") <= ttft_seconds)).height
        found.append(
            {"tenant": tenant, "requests": part.height, "refusals": refused[tenant],
             "failed": part.filter(pl.col("status") == "failed").height,
             "attainment": good / part.height,
             **{f"ttft_p{q}": part["ttft_seconds"].quantile(q / 100) for q in (50, 99)},
             **{f"from_first_p{q}": part["waited"].quantile(q / 100) for q in (50, 99)}}
        )  # fmt: skip
    return sorted(found, key=lambda row: str(row["tenant"]))


def _share(second: pl.DataFrame) -> float | None:
    if not second.height:
        return None
    return second.filter(pl.col("second") != "refused").height / second.height


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f} %"


def _said(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}"
