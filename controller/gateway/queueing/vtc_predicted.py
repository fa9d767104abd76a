"""VTC that charges the expected output when a request goes, and corrects it by what comes."""

from __future__ import annotations

from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT, LineSpec
from controller.gateway.queueing.counter_line import Costs, CounterLine, least_first
from controller.gateway.queueing.fifo import Fifo

SOURCE = "arXiv 2401.00588, section 4.4; Ying1123/VTC-artifact, vtc_len_predict_req_queue.py"


def vtc_predicted(
    input_weight: float = INPUT_WEIGHT, output_weight: float = OUTPUT_WEIGHT
) -> CounterLine[Fifo]:
    """A tenant does not get many places before its first tokens are counted.

    Args:
        input_weight: service of a prompt token.
        output_weight: service of an output token.

    Raises:
        ControllerError: a weight below 0.
    """
    shown = {"input_weight": input_weight, "output_weight": output_weight}
    spec = LineSpec("vtc-predicted", "VTC with predicted lengths", SOURCE, shown, is_bounded=True)
    return CounterLine(spec, Costs(input_weight, output_weight, ahead_ratio=1.0), Fifo, least_first)
