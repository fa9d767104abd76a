"""All policies by name, and how one is made.

`make("knative-kpa", target=12)` gives a policy; `check_mode(policy, mode)` says whether it may run
there; `parameters_of(policy)` is what `make` needs to make the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from controller.by_name import ByName
from controller.policies import dynamo, kubernetes_hpa
from controller.policies.aibrix_apa import AibrixApa
from controller.policies.clairvoyant import SPEC as CLAIRVOYANT_SPEC
from controller.policies.clairvoyant import Clairvoyant
from controller.policies.dynamo import Dynamo
from controller.policies.heteroscale import HeteroScale
from controller.policies.keda import Keda
from controller.policies.knative_kpa import KnativeKpa
from controller.policies.learned import Learned
from controller.policies.melange import Melange
from controller.policies.ray_serve import RayServe
from controller.policies.risk import Risk
from controller.policies.skyserve import SkyServe
from controller.policies.static import Static
from controller.policies.tokenscale import TokenScale
from controller.policies.wva import Wva
from controller.policy import Policy, PolicySpec
from store.errors import ControllerError

Factory = Callable[..., Policy]
# Ours first; then what has to be beaten; then those that users run today.
POLICIES: dict[str, Factory] = {
    "risk": Risk,
    "static": Static,
    "clairvoyant": Clairvoyant,
    "kubernetes-hpa": kubernetes_hpa.kubernetes_hpa,
    "queue-length-hpa": kubernetes_hpa.queue_length_hpa,
    "keda": Keda,
    "knative-kpa": KnativeKpa,
    "ray-serve": RayServe,
    "skyserve": SkyServe,
    "aibrix-apa": AibrixApa,
    "wva": Wva,
    "dynamo": Dynamo,
    "dynamo-throughput": dynamo.throughput_only,
    "dynamo-load": dynamo.load_only,
    "heteroscale": HeteroScale,
    "tokenscale": TokenScale,
    "melange": Melange,
    "learned": Learned,
}
REPLAY = "replay"
# People are not asked for what a replay hands over, nobody for what makes two entries of one class.
_BY_NAME = ByName("policy", POLICIES, unshown=("workload", "network"), closed=("spec",))


def make(name: str, /, **parameters: Any) -> Policy:
    """A policy.

    Args:
        name: one of `POLICIES`.
        parameters: knobs by name; those that are not given are as documented.

    Raises:
        ControllerError: no such policy, no such parameter, or a value out of range.
    """
    if name == "clairvoyant" and "workload" not in parameters:
        parameters["workload"] = None
    return _BY_NAME.make(name, parameters)


def catalogue() -> tuple[PolicySpec, ...]:
    """Every policy's spec, in the order of `POLICIES`."""
    return tuple(
        CLAIRVOYANT_SPEC if name == CLAIRVOYANT_SPEC.name else make(name).spec for name in POLICIES
    )


def defaults(name: str) -> dict[str, Any]:
    """Every parameter of a policy with its default.

    Raises:
        ControllerError: no such policy.
    """
    return {name: _plain(value) for name, value in _BY_NAME.defaults(name).items()}


def parameters_of(policy: Policy) -> dict[str, Any]:
    """Of a policy that `make` gave: what would make it again, as JSON can hold it."""
    if not is_dataclass(policy):
        return {}
    allowed = defaults(policy.spec.name)
    found = {f.name: _plain(getattr(policy, f.name)) for f in fields(policy)}
    if policy.spec.name in ("kubernetes-hpa", "queue-length-hpa"):
        found |= _targets(policy)
    return {name: found[name] for name in allowed if name in found}


def check_mode(policy: Policy, mode: str) -> None:
    """Whether a policy may run in a mode.

    Args:
        policy: any.
        mode: "replay", or one of the controller's.

    Raises:
        ControllerError: it needs the future, or has not shown that it is better than the default.
    """
    if mode == REPLAY:
        return
    if policy.spec.needs_future:
        raise ControllerError(
            f"policy {policy.spec.name} looks at the future: it runs in replay alone",
            hint=f"choose another: {', '.join(n for n in POLICIES if n != policy.spec.name)}",
        )
    gate = getattr(policy, "check_gate", None)
    if gate is not None:
        gate()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    is_missing = not isinstance(value, str | int | float | bool | None)
    return {} if is_missing and callable(value) else value


def _targets(policy: Policy) -> dict[str, Any]:
    """Of a HPA: its metrics as the factory takes them."""
    names = {
        "ongoing": "target_ongoing",
        "requests_waiting": "target_waiting",
        "kv_cache_usage_ratio": "target_kv_cache_usage_ratio",
        "requests_per_second": "target_requests_per_second",
    }
    metrics: tuple[kubernetes_hpa.Metric, ...] = getattr(policy, "metrics", ())
    found = {names[metric.signal]: metric.target for metric in metrics if metric.signal in names}
    return {**dict.fromkeys(names.values()), **found}
