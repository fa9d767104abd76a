"""Virtual token counter: the tenant that was served least goes next, idleness is not saved up."""

from __future__ import annotations

from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT, LineSpec
from controller.gateway.queueing.counter_line import Costs, CounterLine, least_first
from controller.gateway.queueing.fifo import Fifo

SOURCE = "arXiv 2401.00588, algorithm 2; Ying1123/VTC-artifact, vtc_req_queue.py"


def vtc(
    input_weight: float = INPUT_WEIGHT, output_weight: float = OUTPUT_WEIGHT
) -> CounterLine[Fifo]:
    """As in the paper, with its branch for an empty queue, which the artifact leaves out.

    Args:
        input_weight: service of a prompt token.
        output_weight: service of an output token.

    Raises:
        ControllerError: a weight below 0.
    """
    shown = {"input_weight": input_weight, "output_weight": output_weight}
    spec = LineSpec("vtc", "Virtual token counter", SOURCE, shown, is_bounded=True)
    return CounterLine(spec, Costs(input_weight, output_weight), Fifo, least_first)
