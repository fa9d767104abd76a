"""The schema in the words of a lake, which knows no keys, no checks and no enums."""

from __future__ import annotations

import re

STATUS = "CREATE TYPE request_status AS ENUM ('ok', 'failed', 'refused', 'aborted')"
"""Made in every instance that holds a lake, so that queries may name it; columns are text."""
_CHANGES = (
    (re.compile(r"\s*--[^\n]*"), ""),
    (re.compile(r"CREATE TYPE \w+ AS ENUM \([^)]*\);"), ""),
    (re.compile(r"\brequest_status\b"), "VARCHAR"),
    (re.compile(r"\s+CHECK \((?:[^()]|\([^()]*\))*\)"), ""),
    (re.compile(r",\s*(?:PRIMARY KEY|UNIQUE) \([^)]*\)"), ""),
    (re.compile(r"(?: NOT NULL)? PRIMARY KEY\b"), " NOT NULL"),
    (re.compile(r" UNIQUE\b"), ""),
    (re.compile(r"INSERT OR IGNORE INTO"), "INSERT INTO"),
)


def for_lake(sql: str) -> str:
    """A step of the schema as a lake takes it; what its keys refuse is refused by looking."""
    for pattern, words in _CHANGES:
        sql = pattern.sub(words, sql)
    return sql
