"""Settings of scraping."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScrapeSettings:
    """How live targets are scraped.

    Args:
        scrape_interval_seconds: time between two scrapes of one target, 0.1 to 3600.
        scrape_timeout_seconds: how long one scrape may take, above 0.
        most_body_bytes: larger pages are refused, counted after unpacking.
        most_page_samples: pages with more samples are refused.
        most_concurrent_scrapes: scrapes going on at the same time, and as many again of targets
            that did not answer in time before.
        store_every_seconds: results are handed to the store together this often; a commit costs the
            same for one scrape and for fifty.
        most_waiting_scrapes: results kept while the store is slow; beyond it the oldest are dropped
            and counted.
        close_timeout_seconds: how long closing waits for the last results to be stored.
    """

    scrape_interval_seconds: float = 5.0
    scrape_timeout_seconds: float = 4.0
    most_body_bytes: int = 10_000_000
    most_page_samples: int = 200_000
    most_concurrent_scrapes: int = 64
    store_every_seconds: float = 1.0
    most_waiting_scrapes: int = 2_000
    close_timeout_seconds: float = 5.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        if not 0.1 <= self.scrape_interval_seconds <= 3600:
            raise _out_of_range("scrape_interval_seconds", "between 0.1 and 3600")
        for name in (
            "scrape_timeout_seconds",
            "most_body_bytes",
            "most_page_samples",
            "most_concurrent_scrapes",
            "most_waiting_scrapes",
        ):
            if not getattr(self, name) > 0:
                raise _out_of_range(name, "above 0")
        for name in ("store_every_seconds", "close_timeout_seconds"):
            if not getattr(self, name) >= 0:
                raise _out_of_range(name, "0 or more")


def _out_of_range(name: str, must: str) -> ValueError:
    return ValueError(f"collector.{name} must be {must}")
