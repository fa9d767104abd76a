"""How runs are made, and what counts as quiet."""

from __future__ import annotations

from dataclasses import dataclass

from store.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LabSettings:
    """How runs are made, and what counts as quiet.

    Attributes:
        run_seconds: of one run, three periods to 600 s; its first second is left out.
        period_seconds: between two rows.
        calibrate_seconds: how long a victim works to learn how fast it is.
        settle_seconds: rest between two runs.
        most_background_ratio: of the host's cores, used by others; more is noise.
        most_steal_ticks_per_second: taken by the hypervisor; more is noise.
        most_drift_ratio: by how much runs alone in one block may differ; more is noise.
        most_megabytes: of kept rows.
        least_free_megabytes: of the disk, below which nothing is begun.
    """

    run_seconds: float = 20.0
    period_seconds: float = 1.0
    calibrate_seconds: float = 3.0
    settle_seconds: float = 1.0
    most_background_ratio: float = 0.03
    most_steal_ticks_per_second: float = 1.0
    most_drift_ratio: float = 0.10
    most_megabytes: float = 500.0
    least_free_megabytes: float = 2_000.0

    def __post_init__(self) -> None:
        """Refuse runs without rows.

        Raises:
            ConfigError: naming the setting.
        """
        if not 3 * self.period_seconds <= self.run_seconds <= 600:
            least = 3 * self.period_seconds
            raise ConfigError(f"a run takes {least:g} to 600 seconds", where="run_seconds")
