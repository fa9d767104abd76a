"""Lengths of requests: row by row, or as the roll-up of workloads counted them by the hour.

Both tell how often each number of tokens occurs, so quantiles are exact whichever is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from store.queries.rollup import Split
from store.queries.rollup_sql import Span
from store.queries.scope import Scope
from store.queries.tenant_rows import rolled_sql, rows_sql
from store.queries.workload import FrameReader
from store.queries.workload_split import Use, hours

LengthField = Literal["input_tokens", "output_tokens"]
Tokens = npt.NDArray[np.int32]
LengthPiece = tuple[Tokens, Tokens]
CountedPiece = tuple[npt.NDArray[np.int64], Tokens]


def parts(reader: FrameReader, scope: Scope, use: Use = "auto") -> Split:
    """What of a scope is read from where; its labels are not kept beside lengths."""
    labelled = scope.models or scope.tenants or scope.routes or scope.instances
    return hours(reader, scope, "rows" if labelled else use)


def of_rows(reader: FrameReader, scope: Scope, spans: Sequence[Span]) -> Iterator[LengthPiece]:
    """Input and output tokens of every attempted request, a stretch at a time.

    -1 is not known. The output of a request that did not succeed says nothing about the answer, so
    it counts as not known.
    """
    rows, params = rows_sql(scope, spans, every_attempt=False)
    pieces = reader.batches(
        f"""SELECT coalesce(r.input_tokens, -1) AS input_tokens,
               CASE WHEN r.status = 'ok' THEN coalesce(r.output_tokens, -1) ELSE -1 END
                 AS output_tokens
        FROM {rows}""",
        **params,
    )
    for piece in pieces:
        yield piece["input_tokens"], piece["output_tokens"]


def of_hours(reader: FrameReader, scope: Scope, spans: Sequence[Span]) -> Iterator[CountedPiece]:
    """Lengths, each as 2 x tokens + 1 for an output and + 0 for an input, and requests with it.

    The same length comes once for each hour.
    """
    condition, params = rolled_sql(scope, "hour_at", spans)
    pieces = reader.batches(
        f"""SELECT 2 * tokens::BIGINT + is_output::TINYINT AS length, requests
        FROM rollup_length WHERE {condition}""",
        **params,
    )
    for piece in pieces:
        yield piece["length"], piece["requests"]


def pairs_of_hours(reader: FrameReader, scope: Scope, spans: Sequence[Span]) -> pl.DataFrame:
    """input_octave, output_octave (-1: zero tokens), requests, input_tokens, output_tokens."""
    condition, params = rolled_sql(scope, "hour_at", spans)
    return reader.frame(
        f"""SELECT input_octave, output_octave, sum(requests)::BIGINT AS requests,
               sum(input_tokens)::BIGINT AS input_tokens,
               sum(output_tokens)::BIGINT AS output_tokens
        FROM rollup_length_pair WHERE {condition} GROUP BY input_octave, output_octave""",
        **params,
    )
