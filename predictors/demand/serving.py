"""How demand is served."""

from __future__ import annotations

from predictors.conformal import ConformalSettings
from predictors.serving import ServingSettings

# Six answers share an origin and much of their error, and raw coverage is near what is asked:
# slow steps keep what the model knows, fast ones would chase single origins. Errors are ratios
# from 0.05/s on; below that a client hardly asks.
SERVING = ServingSettings(
    conformal=ConformalSettings(rate=0.01, first_rate=0.05, shrink_rows=600, log_floor=0.05),
    memory_rows=2_000,
    least_rows=600,
    margin_ratio=0.03,
)
