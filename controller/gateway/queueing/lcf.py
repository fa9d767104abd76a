"""Least counter first: VTC without the lift, as its artifact has it for comparison."""

from __future__ import annotations

from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT, LineSpec
from controller.gateway.queueing.counter_line import Costs, CounterLine, least_first
from controller.gateway.queueing.fifo import Fifo

SOURCE = "Ying1123/VTC-artifact, slora/server/router/lcf_req_queue.py"


def lcf(
    input_weight: float = INPUT_WEIGHT, output_weight: float = OUTPUT_WEIGHT
) -> CounterLine[Fifo]:
    """Who was idle has as much to catch up as it left unused: newcomers hold everybody up.

    Args:
        input_weight: service of a prompt token.
        output_weight: service of an output token.

    Raises:
        ControllerError: a weight below 0.
    """
    shown = {"input_weight": input_weight, "output_weight": output_weight}
    spec = LineSpec("lcf", "Least counter first", SOURCE, shown)
    return CounterLine(spec, Costs(input_weight, output_weight, lifts=False), Fifo, least_first)
