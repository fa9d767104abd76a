"""Settings of the store."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How the store uses the machine.

    Attributes:
        memory_limit_bytes: DuckDB's own limit; larger work spills to disk.
        spill_limit_bytes: most disk that work larger than memory may take beside the store.
        disk_reserve_bytes: new rows are refused when less than this is free beside the store.
        threads: DuckDB worker threads; None means one a core.
        queue_rows: rows that may wait for the writer; more are refused, never dropped.
        queue_batches: batches that may wait for the writer.
        query_limit_seconds: a page query is stopped after this long.
        concurrent_queries: page queries that run at once; the others wait their turn.
        adhoc_limit_seconds: time limit of ad-hoc SQL.
        adhoc_rows: most rows an ad-hoc query may return.
        sample_retention_days: samples and scrapes older than this are deleted; None keeps all.
        sample_rollup_retention_days: roll-ups of samples older than this are deleted, but never
            sooner than the samples; None keeps all.
        request_retention_days: live requests older than this are deleted; None keeps all.
        replay_retention_days: comparisons by replay older than this are deleted; None keeps all.
        backup_folder: where the server puts backups on its own, best on another disk; empty takes
            none.
        backup_every_hours: from one of them to the next.
        backups_kept: of more than these the oldest are deleted.
        most_replays: of more than these the oldest are deleted; None keeps all.
        lake: where several servers share one store: the URL of a PostgreSQL database; empty keeps
            the store in one file. Needs the extra `lake`.
        lake_data: where a lake's files lie: a folder that all servers see, or
            `s3://bucket/prefix`.
    """

    memory_limit_bytes: int = 1 << 30
    spill_limit_bytes: int = 16 << 30
    disk_reserve_bytes: int = 128 << 20
    threads: int | None = None
    queue_rows: int = 500_000
    queue_batches: int = 1000
    query_limit_seconds: float = 10.0
    concurrent_queries: int = 2
    adhoc_limit_seconds: float = 5.0
    adhoc_rows: int = 10_000
    sample_retention_days: float | None = 30.0
    sample_rollup_retention_days: float | None = 180.0
    request_retention_days: float | None = 90.0
    replay_retention_days: float | None = 180.0
    most_replays: int | None = 500
    backup_folder: str = ""
    backup_every_hours: float = 24.0
    backups_kept: int = 7
    lake: str = field(default="", repr=False)  # its URL may hold a password
    lake_data: str = ""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        if self.memory_limit_bytes < 64 << 20:
            raise ValueError("store.memory_limit_bytes must be at least 67108864 (64 MiB)")
        counts = ("queue_rows", "queue_batches", "concurrent_queries", "adhoc_rows", "backups_kept")
        for name in (*counts, "spill_limit_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"store.{name} must be at least 1")
        if self.most_replays is not None and self.most_replays < 1:
            raise ValueError("store.most_replays must be at least 1, or unset")
        days = self.replay_retention_days
        if days is not None and not days > 0:
            raise ValueError("store.replay_retention_days must be above 0, or unset")
        for name in ("query_limit_seconds", "adhoc_limit_seconds", "backup_every_hours"):
            if getattr(self, name) <= 0:
                raise ValueError(f"store.{name} must be above 0")

    def alone(self) -> StoreSettings:
        """The same for a store that is no lake: of a demonstration, or in memory."""
        return replace(self, lake="", lake_data="")
