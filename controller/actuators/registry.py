"""Every kind of actuator, and how one is made from settings.

create("kubernetes", {"namespace": "llm", "pools": {"chat": {"name": "chat"}}}, clock)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.actuators import settings
from controller.actuators.base import Actuator
from controller.actuators.careful import Careful, Patience
from controller.actuators.desired_gauge import DesiredGauge, GaugePool, GaugeSettings
from controller.actuators.doubles.memory import MemoryPlatform, MemoryPool, MemorySettings
from controller.actuators.dynamo_virtual import DynamoPool, DynamoSettings, DynamoVirtual
from controller.actuators.keda_external import KedaExternal, KedaPool, KedaSettings
from controller.actuators.kubernetes_scale import (
    KubernetesPool,
    KubernetesScales,
    KubernetesSettings,
)
from controller.actuators.llama_router import LlamaRouter, RouterPool, RouterSettings
from controller.actuators.local_fleet import LocalFleet, LocalPool, LocalSettings
from controller.actuators.platform import Platform
from controller.actuators.ray_serve import RayPool, RayServe, RaySettings
from controller.actuators.settings import SettingText
from controller.actuators.vllm_sleep import VllmPool, VllmSettings, VllmSleep
from controller.actuators.webhook import Webhook, WebhookPool, WebhookSettings
from store.clock import Clock
from store.errors import ControllerError
from store.nearest import nearest_hint

_PATIENCE = ("limit_seconds", "told_back_seconds", "pause_seconds")
MOST_POOLS = 256


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of actuator.

    Attributes:
        about: one line for people.
        settings: dataclass of what is set once; its field `pools` gets the pools.
        pool: dataclass of what is set for each pool.
        make: the platform of these settings.
        patience: how long it is waited for, unless set otherwise.
    """

    about: str
    settings: type[Any]
    pool: type[Any]
    make: Callable[[Any, Clock], Platform]
    patience: Patience = field(default_factory=Patience)


KINDS: Mapping[str, Kind] = {
    "desired": Kind(
        "a gauge and a JSON document that an HPA or KEDA reads",
        GaugeSettings,
        GaugePool,
        DesiredGauge,
    ),
    "keda_external": Kind("a gRPC server that KEDA asks", KedaSettings, KedaPool, KedaExternal),
    "kubernetes": Kind(
        "the scale subresource of any kind of object",
        KubernetesSettings,
        KubernetesPool,
        KubernetesScales,
    ),
    "local_fleet": Kind("engines as processes of this host", LocalSettings, LocalPool, LocalFleet),
    "memory": Kind(
        "numbers in memory, for rehearsals: nothing is started",
        MemorySettings,
        MemoryPool,
        MemoryPlatform,
    ),
    "llama_router": Kind(
        "models of a llama.cpp router, loaded and unloaded",
        RouterSettings,
        RouterPool,
        LlamaRouter,
    ),
    "vllm_sleep": Kind(
        "vLLM instances that are woken and put to sleep",
        VllmSettings,
        VllmPool,
        VllmSleep,
        Patience(limit_seconds=60.0, told_back_seconds=10.0, pause_seconds=0.2),
    ),
    "dynamo_virtual": Kind(
        "numbers of workers in etcd, as Dynamo's planner writes them",
        DynamoSettings,
        DynamoPool,
        DynamoVirtual,
    ),
    "webhook": Kind(
        "a signed POST to a receiver of your own", WebhookSettings, WebhookPool, Webhook
    ),
    "ray_serve": Kind(
        "deployments of Ray Serve, by its external scaling",
        RaySettings,
        RayPool,
        RayServe,
        Patience(limit_seconds=20.0, told_back_seconds=5.0, pause_seconds=0.2),
    ),
}


@dataclass(frozen=True, slots=True)
class KindText:
    """A kind of actuator, for the documentation.

    Attributes:
        kind: its name in a configuration.
        about: one line.
        settings: set once.
        pool: set for each pool.
    """

    kind: str
    about: str
    settings: tuple[SettingText, ...]
    pool: tuple[SettingText, ...]


def create(kind: str, given: Mapping[str, Any], clock: Clock) -> Actuator:
    """An actuator of a kind.

    Args:
        kind: a key of `KINDS`.
        given: its settings; `pools` maps each pool's name to its own.
        clock: the time.

    Raises:
        ControllerError: no such kind, or settings that cannot work; all of them at once.
    """
    found = KINDS.get(kind)
    if found is None:
        hint = nearest_hint(kind, sorted(KINDS), lists_all=True)
        raise ControllerError(f"there is no actuator '{kind}'", hint=hint)
    where = f"actuator {kind}"
    rest = {key: value for key, value in given.items() if key not in (*_PATIENCE, "pools")}
    waits = {key: value for key, value in given.items() if key in _PATIENCE}
    patience = settings.read(Patience, {**_asdict(found.patience), **waits}, where)
    pools = _pools(found, given.get("pools", {}), where)
    return Careful(
        found.make(settings.read(found.settings, {**rest, "pools": pools}, where), clock),
        clock,
        patience,
    )


def describe() -> tuple[KindText, ...]:
    """Every kind and what can be set, by name; for the documentation."""
    return tuple(
        KindText(
            name,
            kind.about,
            tuple(s for s in settings.described(kind.settings) if s.name != "pools")
            + settings.described(Patience, kind.patience),
            settings.described(kind.pool),
        )
        for name, kind in sorted(KINDS.items())
    )


def _pools(kind: Kind, given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not given:
        raise ControllerError(
            "no pools", where=where, hint="name at least one under `pools`, with its settings"
        )
    if len(given) > MOST_POOLS:
        raise ControllerError(f"more than {MOST_POOLS} pools", where=where)
    return {
        str(name): settings.read(kind.pool, one, f"{where}, pool '{name}'")
        for name, one in given.items()
    }


def _asdict(patience: Patience) -> dict[str, float]:
    return {name: getattr(patience, name) for name in _PATIENCE}
