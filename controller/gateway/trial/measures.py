"""How fair it was, as VTC's artifact measures it, so that numbers can be compared with its.

Service of a request is input + 2 output tokens, spread evenly from its first token to its end.
Demand of a client is the cost of what it asked for in the window.

Source: Ying1123/VTC-artifact, fair_bench/plot/visualize.py. The definitions, run over the
artifact's own logs, give 439 for FCFS under two-client overload, as published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.gateway.trial.requests import Wholes
from controller.gateway.trial.result import TrialResult
from controller.numbers import Floats

WINDOW_SECONDS, TICK_SECONDS, WARM_UP_SECONDS = 60.0, 30.0, 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """n requests that were served, or refused.

    Attributes:
        client: (n,) numbers from 0.
        weight: (k,) of the clients; service is divided by it.
        arrived: (n,) seconds.
        first: (n,) seconds; NaN was refused.
        end: (n,) seconds.
        cost: (n,) input + 2 output tokens.
    """

    client: Wholes
    weight: Floats
    arrived: Floats
    first: Floats
    end: Floats
    cost: Floats

    @classmethod
    def of(cls, result: TrialResult) -> Served:
        """A trial."""
        requests = result.requests
        names, client = np.unique(np.asarray(requests.tenant), return_inverse=True)
        weight = np.array([requests.weights.get(str(name), 1.0) for name in names])
        cost = (requests.prompt + 2 * requests.output).astype(np.float64)
        return cls(
            client.astype(np.int64), weight, requests.arrived, result.first, result.end, cost
        )

    def between(self, start: Floats, end: Floats) -> Floats:
        """(t, k) service over weight of each client in each window."""
        overlap = np.minimum(end[:, None], self.end) - np.maximum(start[:, None], self.first)
        long = np.maximum(self.end - self.first, 1e-9)
        share = np.clip(np.nan_to_num(overlap / long), 0.0, 1.0)
        return self._by_client(share)

    def asked(self, start: Floats, end: Floats) -> Floats:
        """(t, k) cost over weight of what arrived in each window."""
        is_in = (self.arrived >= start[:, None]) & (self.arrived < end[:, None])
        return self._by_client(is_in.astype(np.float64))

    def _by_client(self, share: Floats) -> Floats:
        one_hot = np.zeros((len(self.client), len(self.weight)))
        one_hot[np.arange(len(self.client)), self.client] = 1.0 / self.weight[self.client]
        return np.asarray((share * self.cost) @ one_hot, np.float64)


def accumulated(served: Served, until: float) -> float:
    """The greatest difference between two clients' service since the warm-up, at whole seconds."""
    at = np.arange(WARM_UP_SECONDS + 1, until + 1)
    had = served.between(np.full(len(at), WARM_UP_SECONDS), at)
    return float((had.max(axis=1) - had.min(axis=1)).max())


def windowed(served: Served, until: float) -> Floats:
    """(t,) service a second that clients are apart, in windows of a minute every half.

        sum over clients of min(most service - service, |demand - service|)

    A client that asks for little is not treated unfairly. Windows lie between the warm-up and
    `until`, when the last request arrives.
    """
    half = WINDOW_SECONDS / 2
    at = np.arange(WARM_UP_SECONDS + half, until - half + 1e-9, TICK_SECONDS)
    had = served.between(at - half, at + half) / WINDOW_SECONDS
    asked = served.asked(at - half, at + half) / WINDOW_SECONDS
    most = had.max(axis=1, keepdims=True)
    apart = np.minimum(most - had, np.abs(asked - had)).sum(axis=1)
    return np.asarray(apart, np.float64)
