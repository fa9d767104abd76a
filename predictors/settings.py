"""Settings of what predicts: how often, how much, and when models are trained again."""

from __future__ import annotations

from dataclasses import dataclass

_ABOVE_ZERO = (
    "ledger_seconds",
    "forecast_seconds",
    "degradation_seconds",
    "most_requests_per_second",
    "retrain_hours",
    "train_limit_seconds",
)
_AT_LEAST_ONE = ("retrain_least_rows", "train_most_rows", "train_threads", "keep_models")


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """Table `[predict]`: what the server predicts on its own.

    Attributes:
        enabled: whether the server predicts on its own at all; the API answers either way.
        ledger_seconds: how often finished live requests are predicted and learnt from.
        most_requests_per_second: finished requests that are predicted, spread evenly; the others
            are learnt from and counted as left out.
        forecast_seconds: how often demand and the time of a start are forecast.
        degradation_seconds: how often the degradation of each instance is estimated.
        retrain: whether models are trained again on their own, in a process of low priority.
        retrain_hours: age of the newest model of a predictor from which it is trained again.
        retrain_least_rows: finished rows of the store below which nothing is trained.
        auto_promote: whether a challenger that answered 500 live requests better than the champion,
            unheard, takes its place.
        train_limit_seconds: a training is stopped after this long.
        train_most_rows: newest rows that a training learns from.
        train_threads: processor threads of a training.
        keep_models: newest models of each predictor whose files are kept, besides the champion.
        retention_days: predictions and forecasts older than this are deleted; None keeps all.
    """

    enabled: bool = True
    ledger_seconds: float = 30.0
    most_requests_per_second: float = 20.0
    forecast_seconds: float = 300.0
    degradation_seconds: float = 30.0
    retrain: bool = True
    retrain_hours: float = 24.0
    retrain_least_rows: int = 2000
    auto_promote: bool = True
    train_limit_seconds: float = 1800.0
    train_most_rows: int = 200_000
    train_threads: int = 1
    keep_models: int = 5
    retention_days: float | None = 90.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        for name in _ABOVE_ZERO:
            if not getattr(self, name) > 0:
                raise ValueError(f"predict.{name} must be above 0")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"predict.{name} must be at least 1")
        if self.retention_days is not None and not self.retention_days > 0:
            raise ValueError("predict.retention_days must be above 0")
