"""What is asked of kept comparisons, and the requests that a comparison replays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from store.errors import InputError
from store.queries.first_rows import total
from store.queries.scope import Scope
from store.queries.workload import where
from store.reader import Reader

LISTED = """
WITH now AS (
  SELECT replay_id, arg_max(state, changed_at) AS state, arg_max(text, changed_at) AS text,
         arg_max(seconds, changed_at) AS seconds
  FROM replay_state GROUP BY 1)
SELECT r.replay_id, r.created_at, r.created_by, r.trace, n.state, n.text, n.seconds, r.goal_ratio,
       r.profile ->> '$.name' AS profile, r.validity, r.is_validated, r.fit_error_median_ratio,
       r.fit_error_p99_ratio, r.fit_error_rows, r.profile ->> '$.error' AS fit_error,
       r.asked::VARCHAR AS asked, r.fleet::VARCHAR AS fleet
FROM replay_run AS r JOIN now AS n USING (replay_id)
WHERE $replay IS NULL OR r.replay_id = $replay
ORDER BY r.created_at DESC, r.replay_id LIMIT $most"""
OUTCOMES = (
    "SELECT * EXCLUDE (replay_id) FROM replay_outcome WHERE replay_id = $replay"
    ' ORDER BY "case", startup_seconds, policy, "row", parameters, seed'
)
LANES = (
    "SELECT * EXCLUDE (replay_id) FROM replay_lane WHERE replay_id = $replay"
    ' ORDER BY "case", startup_seconds, policy, "row", at_seconds, pool'
)
LANE = (
    "SELECT * EXCLUDE (replay_id) FROM replay_lane WHERE replay_id = $replay"
    ' AND "case" = $the_case AND startup_seconds = $the_startup_seconds AND policy = $the_policy'
    ' AND "row" = $the_row ORDER BY at_seconds, pool'
)
CANDIDATES = (
    "SELECT candidate_id, pool, policy, parameters::VARCHAR AS parameters, replay_id, created_at,"
    " created_by, state, (SELECT arg_max_null(text, change_id) FROM candidate_change AS t"
    " WHERE t.candidate_id = c.candidate_id) AS text"
    " FROM policy_candidate AS c ORDER BY candidate_id DESC LIMIT $most"
)


def listed(reader: Reader, replay_id: str | None = None, limit: int = 200) -> pl.DataFrame:
    """Comparisons, newest first, with how they stand."""
    return reader.frame(LISTED, replay=replay_id, most=limit)


def listed_count(reader: Reader, held: int, limit: int = 200) -> int:
    """How many comparisons there are, of which `listed` gave `held`."""
    return total(reader, LISTED, held, limit, replay=None)


def missing(reader: Reader, replay_id: str) -> InputError:
    """The error of a comparison that is not there: it never was, or it is gone by retention."""
    named = reader.scalar(
        "SELECT count(*) FROM policy_candidate WHERE replay_id = $replay", replay=replay_id
    )
    if named:
        return InputError(
            f"the replay '{replay_id}' is gone: it was older than is kept, or one too many",
            hint="store.replay_retention_days and store.most_replays say what is kept",
        )
    return InputError(f"there is no replay '{replay_id}'", hint="GET /api/v1/replays has them")


def outcomes(reader: Reader, replay_id: str) -> pl.DataFrame:
    """One row a replay."""
    return reader.frame(OUTCOMES, replay=replay_id)


def lanes(reader: Reader, replay_id: str, most: int) -> pl.DataFrame:
    """Courses of replicas, at most so many rows."""
    return reader.frame(f"{LANES} LIMIT $most", replay=replay_id, most=most)


def lane(reader: Reader, replay_id: str, row: Mapping[str, Any]) -> pl.DataFrame:
    """The course of replicas of one row.

    Args:
        reader: the store.
        replay_id: of the comparison.
        row: with case, startup_seconds, policy and row.
    """
    return reader.frame(
        LANE,
        replay=replay_id,
        **{f"the_{name}": row[name] for name in ("case", "startup_seconds", "policy", "row")},
    )


def lane_count(reader: Reader, replay_id: str) -> int:
    """Rows of all courses."""
    text = "SELECT count(*) FROM replay_lane WHERE replay_id = $replay"
    return int(reader.scalar(text, replay=replay_id))


def candidates(reader: Reader, limit: int = 200) -> pl.DataFrame:
    """Policies that somebody wants watched, newest first; `text` says why one stands as it does."""
    return reader.frame(CANDIDATES, most=limit)


def candidates_count(reader: Reader, held: int, limit: int = 200) -> int:
    """How many candidates there are, of which `candidates` gave `held`."""
    return total(reader, CANDIDATES, held, limit)


def requests(reader: Reader, scope: Scope, most: int) -> pl.DataFrame:
    """Requests by arrival, at most `most` and one.

    Columns: arrived_at, input_tokens, output_tokens, tenant, session_key, block_hashes, status,
    instance, ttft_seconds, tpot_seconds, e2e_seconds.
    """
    condition, params = where(scope)
    return reader.frame(
        f"""SELECT r.arrived_at, r.input_tokens, r.output_tokens, l.tenant, r.session_key,
               p.block_hashes, r.status::VARCHAR AS status, l.instance, r.ttft_seconds,
               r.tpot_seconds, r.e2e_seconds
        FROM request AS r JOIN request_labels AS l USING (labels_id)
        LEFT JOIN request_prefix AS p ON p.source_id = r.source_id
          AND p.arrived_at = r.arrived_at AND p.request_key = r.request_key
        WHERE {condition} ORDER BY r.arrived_at, r.request_key LIMIT $most""",
        most=most + 1,
        **params,
    )


def has_rates_alone(reader: Reader, scope: Scope) -> bool:
    """Whether the sources tell rates of clients, and no request at all."""
    return bool(
        reader.scalar(
            "SELECT (SELECT count(*) FROM client_rate WHERE source_id IN $sources) > 0"
            " AND (SELECT count(*) FROM request WHERE source_id IN $sources) = 0",
            sources=list(scope.source_ids),
        )
    )


def block_tokens(reader: Reader, scope: Scope) -> int | None:
    """Tokens of a block of `block_hashes`; None where the sources do not say, or differ."""
    found = reader.frame(
        "SELECT DISTINCT prefix_block_tokens FROM source WHERE source_id IN $sources"
        " AND prefix_block_tokens IS NOT NULL",
        sources=list(scope.source_ids),
    )
    return int(found.item()) if found.height == 1 else None
