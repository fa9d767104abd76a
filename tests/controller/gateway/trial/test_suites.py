"""Working cases, and what lines are for, as clients notice it."""

from __future__ import annotations

import numpy as np
import pytest

from controller.gateway.ask import SloClass
from controller.gateway.gate import Gate, Policies
from controller.gateway.queueing import registry
from controller.gateway.routing.least_outstanding import LeastOutstanding
from controller.gateway.trial import suites
from controller.gateway.trial.measures import Served, accumulated
from controller.gateway.trial.requests import Requests
from controller.gateway.trial.result import TrialResult
from controller.gateway.trial.trial import ReplicaPlan, trial
from controller.profile import Profile, StepTimes

PROFILE = Profile("test", StepTimes(0.01, 1e-4, 0.0, 1e-3), sequences=6, cache_tokens=10_000)


def replayed(name: str, requests: Requests) -> TrialResult:
    """One small replica."""
    policies = Policies(registry.make(name), LeastOutstanding())
    return trial(requests, policies, [ReplicaPlan("one", PROFILE)])


def p99(result: TrialResult, tenant: str) -> float:
    """Of the time to the first token."""
    mine = np.asarray(result.requests.tenant) == tenant
    return float(np.quantile(result.ttft[mine], 0.99))


def test_suites_are_as_the_artifact_configures_them() -> None:
    """Rates, seconds, sizes, weights; every other minute off."""
    requests, seconds = suites.suite("overload")
    assert (len(requests), seconds) == (2_700, 600.0)
    assert requests.tenant.count("client-0") == 900
    assert set(requests.prompt) == set(requests.output) == {256}
    quiet, _ = suites.suite("on-off-less")
    off = np.asarray(quiet.tenant) == "client-0"
    assert ((quiet.arrived[off] % 120) <= 60).all()
    assert suites.suite("overload-weighted")[0].weights["client-3"] == 4.0
    short, _ = suites.suite("poisson-short-long")
    assert set(short.output) == {64, 256}


def test_the_made_trace_has_the_published_shape() -> None:
    """27 clients, 1,500 requests in 600 s, and the same for the same seed."""
    requests, seconds = suites.many_clients(3)
    assert (len(requests), len(set(requests.tenant)), seconds) == (1_500, 27, 600.0)
    assert requests.arrived.max() <= seconds
    assert requests.prompt.max() <= 1021
    assert requests.output.max() <= 977
    np.testing.assert_array_equal(requests.output, suites.many_clients(3)[0].output)


def flood(with_it: bool) -> Requests:
    """One tenant asks now and then, another a thousand times at once."""
    count = 1_000 if with_it else 0
    return Requests.of(
        [*np.arange(1.0, 41.0, 0.5), *[10.0] * count], ["quiet"] * 80 + ["flood"] * count,
        [60] * (80 + count), [20] * (80 + count),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "waits"), [("vtc-deadline", 2), ("vtc", 2), ("vtc-predicted", 2), ("dlpm", 12)]
)
def test_a_tenant_that_floods_does_not_harm_others(name: str, waits: float) -> None:
    """Their p99 grows by two requests, or a quantum; with first come, first served by 250."""
    alone, beside = replayed(name, flood(False)), replayed(name, flood(True))
    one_request = float(np.nanmedian(alone.e2e))
    assert p99(beside, "quiet") <= p99(alone, "quiet") + waits * one_request
    assert p99(replayed("fcfs", flood(True)), "quiet") > 100 * one_request


def test_two_clients_in_overload_are_less_than_1800_apart_with_a_predictor() -> None:
    """A quarter of the suite; first come, first served is a hundred times as far apart."""
    whole, _ = suites.suite("overload")
    early = whole.arrived < 120
    requests = Requests.of(
        whole.arrived[early], np.asarray(whole.tenant)[early], whole.prompt[early],
        whole.output[early], expected=whole.expected[early],
    )  # fmt: skip
    apart = {}
    for name in ("vtc-deadline", "vtc", "fcfs"):
        policies = Policies(registry.make(name), LeastOutstanding())
        result = trial(requests, policies, [ReplicaPlan("one", suites.A10G, seats=19)])
        apart[name] = accumulated(Served.of(result), 110.0)
    assert apart["vtc-deadline"] <= 1_800
    assert apart["vtc-deadline"] < apart["vtc"] < apart["fcfs"] / 3


def test_priorities_go_first_through_the_whole_gate() -> None:
    """The same tenant's urgent requests do not wait for its others."""
    n = 60
    slo = tuple(SloClass("high", priority=1) if one % 3 == 0 else SloClass() for one in range(n))
    requests = Requests.of(np.linspace(0, 1, n), ["a"] * n, [60] * n, [20] * n, slo=slo)
    result = replayed("vtc-deadline", requests)
    high = np.array([one.priority == 1 for one in requests.slo])
    assert np.nanmean(result.ttft[high]) < 0.6 * np.nanmean(result.ttft[~high])


def test_lines_change_while_requests_wait_and_nobody_is_lost() -> None:
    """Through all of them, one after another, in the middle of an overload."""
    names, changed = iter([*registry.LINES, *registry.LINES]), [0.0]

    def watch(gate: Gate, now: float) -> None:
        if now - changed[-1] >= 0.4 and (name := next(names, None)) is not None:
            changed.append(now)
            gate.change(Policies(registry.make(name), gate.policies.way), now)

    dice, n = np.random.default_rng(2), 300
    requests = Requests.of(
        dice.uniform(0, 8, n), dice.choice(["a", "b", "c"], n), dice.integers(1, 200, n),
        dice.integers(1, 60, n),
    )  # fmt: skip
    policies = Policies(registry.make("fcfs"), LeastOutstanding())
    result = trial(requests, policies, [ReplicaPlan("one", PROFILE)], watch=watch)
    assert len(changed) == 2 * len(registry.LINES) + 1
    assert result.is_served.all()
    assert result.counted.started == result.counted.ended == n
