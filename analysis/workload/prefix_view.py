"""The prefix-reuse view."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.measure import Empty, Measure, View
from analysis.workload import prefixes
from analysis.workload.loading import Member, NotingReader, empty_view, known_or_why, members
from analysis.workload.schemas import empty_frames
from store.queries import totals
from store.queries import workload as queries
from store.queries.scope import Scope
from store.units import percent_text

_VIEW = "workload_prefix"
_NO_BLOCK_SIZE = "the source does not say how many tokens a block holds"


def workload_prefix(reader: queries.FrameReader, scope: Scope) -> View:
    """What a prefix cache could serve, from block hashes: an infinite one, and LRU of every size.

    Requests count in order of arrival. A block is a hit only when all blocks before it are.
    """
    noting = NotingReader(reader)
    sources = members(noting, scope)
    requests, references = queries.prefix_size(noting, scope)
    if references == 0:
        attempted = totals.attempted(noting, scope)
        reason = _no_hashes(attempted) if attempted else None
        return empty_view(_VIEW, noting, scope, sources, reason)
    if references > prefixes.MOST_REFERENCES:
        return _infinite_only(noting, scope, references)
    block_tokens = _block_tokens(sources)
    rows = queries.prefix_rows(noting, scope)
    sql = noting.last_text
    reuse = prefixes.measure(rows, block_tokens)
    blocks, tokens = prefixes.hit_ratios(reuse)
    measures = {
        "infinite_block_hit_ratio": Measure(blocks, "ratio", n=references),
        "infinite_token_hit_ratio": known_or_why(tokens, "ratio", references, _NO_BLOCK_SIZE),
        "unique_blocks": Measure(reuse.unique_blocks, "", n=references),
    }
    sentence = (
        f"A prefix cache without limit serves {percent_text(blocks)} of {references:,} blocks"
        + (f" and {percent_text(tokens)} of the input tokens" if tokens is not None else "")
        + f", over {requests:,} requests; {reuse.unique_blocks:,} blocks are distinct."
    )
    frames = {"lru": prefixes.lru_frame(reuse, block_tokens)}
    return View(_VIEW, scope, measures, frames, (sentence,), sql={"lru": sql})


def _block_tokens(sources: Sequence[Member]) -> int | None:
    """The block size, when all sources that state one agree."""
    sizes = {member.block_tokens for member in sources if member.block_tokens}
    return sizes.pop() if len(sizes) == 1 else None


def _no_hashes(attempted: int) -> Empty:
    return Empty("metric_absent", f"None of the {attempted:,} requests has prefix block hashes.")


def _infinite_only(reader: NotingReader, scope: Scope, references: int) -> View:
    """Beyond what fits in memory: hashes name whole prefixes, so each distinct one misses once."""
    unique = queries.prefix_unique_blocks(reader, scope)
    why = (
        f"{references:,} block references exceed the {prefixes.MOST_REFERENCES:,} of an exact LRU "
        "curve; choose a shorter range"
    )
    measures = {
        "infinite_block_hit_ratio": Measure(1 - unique / references, "ratio", n=references),
        "infinite_token_hit_ratio": Measure(None, "ratio", why=why),
        "unique_blocks": Measure(unique, "", n=references),
    }
    return View(_VIEW, scope, measures, empty_frames(_VIEW), (f"No LRU curve: {why}.",))
