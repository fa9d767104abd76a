"""Ours: as fair between tenants as VTC with predictions, without its price in latency.

Between tenants it is VTC with predicted lengths, but for three things. Of the expected output three
fifths are charged ahead: predictions that are too long hold a tenant back for nothing, those that
are too short are made good as tokens come. A tenant that comes back keeps a small part of what it
left unused, about half a request: who asks for little gets it at once. And a tenant whose next
request does not fit the room there is lets another pass that had at most `slack_service` more, so
that room is not left empty. Slack and credit are in the bound.

Within a tenant requests go by deadlines that grow with their cost (see `soonest`). VTC lets each
tenant's queue grow until all of its requests wait, so its p99 of the time to the first token is
worse than first come, first served has. What a tenant gets does not depend on the order of its own
requests: most of them wait less, a few long ones a bounded time more.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT, LineSpec
from controller.gateway.queueing.by_tenant import ByTenant
from controller.gateway.queueing.counter_line import Costs, CounterLine
from controller.gateway.queueing.counters import Counters
from controller.gateway.queueing.soonest import Patience, Soonest
from store.errors import ControllerError

SOURCE = "ours; counters as arXiv 2401.00588"
LOOKED_AT, OWN_LOOKED_AT = 16, 4
MOST_SECONDS = 0.05
"""A unit of service; a request of 1,000 tokens is passed for a minute and a half at most."""


def vtc_deadline(
    slack_service: float = 250.0,
    credit_service: float = 300.0,
    ahead_ratio: float = 0.6,
    times_own: float = 60.0,
    longest_seconds: float = 120.0,
    passed_seconds: float = 20.0,
    input_weight: float = INPUT_WEIGHT,
    output_weight: float = OUTPUT_WEIGHT,
) -> CounterLine[Soonest]:
    """See the head of this module.

    Args:
        slack_service: that a tenant may have had more and still go first, if only it fits.
        credit_service: that a tenant which comes back keeps of what it left unused.
        ahead_ratio: of the expected output that is charged when a request goes.
        times_own: how much the fleet may serve while a request is passed by shorter ones of its
            tenant, as a multiple of its own cost; 0 is first come, first served.
        longest_seconds: that it is passed for at most.
        passed_seconds: where a tenant's next request does not fit, those with a deadline so much
            later may go instead.
        input_weight: service of a prompt token.
        output_weight: service of an output token.

    Raises:
        ControllerError: a value out of range.
    """
    shown = {
        "slack_service": slack_service, "credit_service": credit_service,
        "ahead_ratio": ahead_ratio, "times_own": times_own, "longest_seconds": longest_seconds,
        "passed_seconds": passed_seconds, "input_weight": input_weight,
        "output_weight": output_weight,
    }  # fmt: skip
    for name, value in shown.items():
        if not 0 <= value < float("inf"):
            raise ControllerError(f"{name} must be 0 or more, not {value}")
    patience = Patience(times_own, MOST_SECONDS)

    def offer(queue: ByTenant[Soonest], counters: Counters, now: float) -> Iterable[Ask]:
        least = None
        for name in islice(queue.ranking, LOOKED_AT):
            had = counters(name)
            least = had if least is None else least
            if had > least + slack_service:
                return
            yield from queue.of(name).soonest(OWN_LOOKED_AT, passed_seconds)

    return CounterLine(
        LineSpec(
            "vtc-deadline", "VTC with predictions and deadlines", SOURCE, shown, is_bounded=True
        ),
        Costs(input_weight, output_weight, ahead_ratio, credit=credit_service),
        lambda: Soonest(lambda: patience.seconds, longest_seconds),
        offer,
        patience.served,
    )
