"""The naive rival: the quantiles of all outcomes, whatever was sampled.

The learnt rivals (ridge, forest, boosted trees, LSTM, TCN) are methods of `model.Degradation`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Self

from predictors.base import Spec
from predictors.baselines import History
from predictors.degradation.model import Degradation, DegradationAhead

CONSTANT = replace(Degradation.spec, name="degradation-constant", keys=())
CONSTANT_AHEAD = replace(DegradationAhead.spec, name="degradation-ahead-constant", keys=())
MOST_ROWS = 100_000


class Constant(History):
    """The same distribution for every row.

    Args:
        spec: of the degradation now, or ahead.
    """

    def __init__(
        self,
        spec: Spec = CONSTANT,
        most_rows: int = MOST_ROWS,
        least_rows: int = 1,
        most_keys: int = 1,
    ) -> None:
        super().__init__(spec, most_rows, least_rows, most_keys)

    @classmethod
    def load(cls, folder: Path, spec: Spec = CONSTANT) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        return super().load(folder, spec)


def constant() -> Constant:
    """The rival of `Degradation`."""
    return Constant()


def constant_ahead() -> Constant:
    """The rival of `DegradationAhead`."""
    return Constant(CONSTANT_AHEAD)


def load_constant_ahead(folder: Path) -> Constant:
    """Read a saved rival of `DegradationAhead`."""
    return Constant.load(folder, CONSTANT_AHEAD)
