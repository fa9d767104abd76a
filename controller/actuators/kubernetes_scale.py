"""The scale subresource of any kind that has one: Deployment, StatefulSet, LeaderWorkerSet, ...

A change is a merge patch of `spec.replicas` that carries the resourceVersion just read, so two
writers never overwrite each other. The version of a scale is its uid and the number it wants, not
its resourceVersion: that one changes whenever a pod becomes ready, and would make a conflict of
every decision taken while replicas start.

Source: Kubernetes API conventions, "scale subresource", autoscaling/v1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from controller.actuators import kubernetes_access
from controller.actuators.base import Scale
from controller.actuators.http import Answer, Http, count, member
from controller.actuators.platform import Conflicted, NoAnswer, Refused
from store.clock import Clock

MERGE_PATCH = "application/merge-patch+json"
MANAGER = "servescope"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_PARTS = re.compile(r"[-a-zA-Z0-9.]+")


@dataclass(frozen=True, slots=True)
class KubernetesPool:
    """One object with a scale subresource.

    Attributes:
        name: name of the object.
        resource: kind of the object as group/version/plural; v1/plural for the core group.
        namespace: namespace of the object; "" for that of the actuator.
        ready_from: "object" reads status.readyReplicas of the object itself (needs the right to get
            it); "scale" takes status.replicas of the scale, which counts pods ready or not.
    """

    name: str
    resource: str = "apps/v1/deployments"
    namespace: str = ""
    ready_from: Literal["object", "scale"] = "object"

    def __post_init__(self) -> None:
        """Refuse names that cannot be, before they become a path.

        Raises:
            ValueError: naming the setting.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name '{self.name}' is no name of an object")
        if self.namespace and not _NAME.fullmatch(self.namespace):
            raise ValueError(f"namespace '{self.namespace}' is no name of a namespace")
        parts = self.resource.split("/")
        if len(parts) not in (2, 3) or not all(_PARTS.fullmatch(part) for part in parts):
            raise ValueError(
                f"resource '{self.resource}' must be group/version/plural, "
                "such as apps/v1/deployments"
            )


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """Scales of a cluster.

    Attributes:
        pools: by name.
        server: URL of the API server; "" finds it: a kubeconfig, or that of the pod we run in.
        token_file: bearer token for `server`, read anew for every question.
        ca_file: certificate that signs that of `server`; "" for those of the system.
        kubeconfig: file; "" for the pod we run in, else the usual one.
        context: entry of the kubeconfig; "" for its current one.
        namespace: namespace of the objects; "" for that of the kubeconfig or the pod.
        answer_seconds: longest wait for one answer.
    """

    pools: Mapping[str, KubernetesPool] = field(default_factory=dict)
    server: str = ""
    token_file: str = ""
    ca_file: str = ""
    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    answer_seconds: float = 5.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        if self.server and not self.server.startswith(("http://", "https://")):
            raise ValueError("server must be a URL")
        if self.server and self.kubeconfig:
            raise ValueError("server and kubeconfig exclude each other")
        if not self.answer_seconds > 0:
            raise ValueError("answer_seconds must be above 0")


class KubernetesScales:
    """Scale subresources as a platform; pods drain by their own preStop and grace period.

    Args:
        settings: of the cluster and its pools.
        clock: not used; every platform gets one.
    """

    def __init__(self, settings: KubernetesSettings, clock: Clock) -> None:
        self._settings = settings
        self._found: tuple[Http, str] | None = None

    @property
    def name(self) -> str:
        """For people and records."""
        objects = [
            f"{pool.resource.rpartition('/')[2]}/{pool.name}"
            for pool in self._settings.pools.values()
        ]
        return "kubernetes " + ", ".join(objects[:3]) + (", ..." if len(objects) > 3 else "")

    @property
    def pools(self) -> tuple[str, ...]:
        """Of the settings."""
        return tuple(self._settings.pools)

    async def read(self, pool: str) -> Scale:
        """The scale, and of the object how many are ready."""
        http, path = self._at(pool)
        told = _good(await http.ask("GET", f"{path}/scale"), f"{path}/scale").json()
        if member(told, "kind") not in (None, "Scale") or not isinstance(
            member(told, "spec"), dict
        ):
            raise NoAnswer(f"{path}/scale is no scale")
        # Go leaves a zero out: no spec.replicas means 0 here, not unknown.
        wanted = count(told["spec"].get("replicas", 0))
        uid = member(told, "metadata", "uid") or ""
        there = count(member(told, "status", "replicas"))
        ready = there
        if self._settings.pools[pool].ready_from == "object":
            ready = await self._ready(http, path)
        missing = None if ready is None or wanted is None else max(0, wanted - ready)
        surplus = None if there is None or wanted is None else max(0, there - wanted)
        return Scale(
            pool,
            wanted,
            ready,
            version=f"{uid}:{wanted}",
            starting=missing,
            draining=surplus,
            lock=str(member(told, "metadata", "resourceVersion") or ""),
        )

    async def write(self, pool: str, replicas: int, seen: Scale, decision_id: str) -> str:
        """Patch the number, unless somebody changed the object since it was read."""
        http, path = self._at(pool)
        patch: dict[str, Any] = {"spec": {"replicas": replicas}}
        if seen.lock:
            patch["metadata"] = {"resourceVersion": seen.lock}
        answer = await http.ask(
            "PATCH",
            f"{path}/scale?fieldManager={MANAGER}",
            body=patch,
            headers={"Content-Type": MERGE_PATCH},
        )
        _good(answer, f"{path}/scale")
        return ""

    async def aclose(self) -> None:
        """Close the connections; safe twice."""
        found, self._found = self._found, None
        if found is not None:
            await found[0].aclose()

    async def _ready(self, http: Http, path: str) -> int | None:
        answer = await http.ask("GET", path)
        if not answer.good:
            return None  # no right to get the object itself: the scale still counts
        status = member(answer.json(), "status")
        return count(status.get("readyReplicas", 0)) if isinstance(status, Mapping) else None

    def _at(self, pool: str) -> tuple[Http, str]:
        """The server, and the path of the pool's object."""
        if self._found is None:
            self._found = self._find()
        http, namespace = self._found
        given = self._settings.pools[pool]
        parts = given.resource.split("/")
        root = "/apis/" + "/".join(parts[:2]) if len(parts) == 3 else f"/api/{parts[0]}"
        where = given.namespace or namespace
        return http, f"{root}/namespaces/{where}/{parts[-1]}/{given.name}"

    def _find(self) -> tuple[Http, str]:
        given = self._settings
        if given.server:
            access = kubernetes_access.given(given.server, given.token_file, given.ca_file)
        else:
            access = kubernetes_access.find(given.kubeconfig, given.context)
        return access.http(given.answer_seconds), given.namespace or access.namespace


def _good(answer: Answer, path: str) -> Answer:
    """The answer, unless it is a refusal, a conflict or none."""
    if answer.good:
        return answer
    told = answer.text
    if answer.headers.get("content-type", "").startswith("application/json"):
        told = str(member(answer.json(), "message") or told)
    why = f"{path}: {answer.status} {told}"
    if answer.status == 409:
        raise Conflicted(why)
    # Too many requests, a server that shuts down, a name that is not there: not a decision.
    if answer.status in (404, 408, 429) or answer.status >= 500:
        raise NoAnswer(why)
    raise Refused(why)
