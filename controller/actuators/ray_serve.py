"""Ray Serve's external scaling: a POST sets the target of a deployment, a GET tells how it stands.

The application must be deployed with `external_scaler_enabled: true`, which excludes Ray's own
`autoscaling_config`. Ray drains by itself: a replica that leaves gets no new requests and has
`graceful_shutdown_timeout_s` for the running ones. While an application is being deployed, scaling
answers 404; that is a failure to be tried again, not a refusal.

Source: Ray 2.60, `POST /api/v1/applications/{application}/deployments/{deployment}/scale` (alpha)
and `GET /api/serve/applications/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from controller.actuators.base import Scale
from controller.actuators.http import Answer, Http, bearer, count, member
from controller.actuators.platform import NoAnswer, Refused
from controller.actuators.settings import check_positive, check_url
from store.clock import Clock

_STATE = "/api/serve/applications/"


@dataclass(frozen=True, slots=True)
class RayPool:
    """One deployment.

    Attributes:
        deployment: name of the deployment.
        application: name of the application it belongs to.
    """

    deployment: str
    application: str = "default"


@dataclass(frozen=True, slots=True)
class RaySettings:
    """Deployments of a Ray cluster.

    Attributes:
        pools: by name.
        url: URL of the dashboard, on the head node.
        token_file: bearer token, read anew for every question; "" for none.
        answer_seconds: longest wait for one answer.
    """

    pools: Mapping[str, RayPool] = field(default_factory=dict)
    url: str = "http://127.0.0.1:8265"
    token_file: str = ""
    answer_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        check_url("url", self.url)
        check_positive("answer_seconds", self.answer_seconds)


class RayServe:
    """Deployments of Ray Serve as a platform.

    Args:
        settings: of the cluster.
        clock: not used; every platform gets one.
    """

    def __init__(self, settings: RaySettings, clock: Clock) -> None:
        self._settings = settings
        self._http = Http(
            settings.url, settings.answer_seconds, lambda: bearer(settings.token_file)
        )

    @property
    def name(self) -> str:
        """For people and records."""
        return f"ray serve {self._http.place}"

    @property
    def pools(self) -> tuple[str, ...]:
        """Of the settings."""
        return tuple(self._settings.pools)

    async def read(self, pool: str) -> Scale:
        """Target and replicas of the deployment."""
        given = self._settings.pools[pool]
        answer = _good(await self._http.ask("GET", _STATE))
        application = member(answer.json(), "applications", given.application)
        if application is None:
            raise NoAnswer(f"there is no application '{given.application}'")
        told = member(application, "deployments", given.deployment)
        if told is None:
            status = member(application, "status")
            raise NoAnswer(
                f"application '{given.application}' ({status}) has no '{given.deployment}'"
            )
        wanted = count(member(told, "target_num_replicas"))
        if wanted is None:
            wanted = count(member(told, "deployment_config", "num_replicas"))
        states = [str(member(one, "state")) for one in member(told, "replicas") or ()]
        return Scale(
            pool,
            wanted,
            states.count("RUNNING"),
            # Ray tells no version: the number itself shows a change by others.
            version="" if wanted is None else f"target {wanted}",
            starting=sum(state in ("STARTING", "PENDING_MIGRATION") for state in states),
            draining=states.count("STOPPING"),
        )

    async def write(self, pool: str, replicas: int, seen: Scale, decision_id: str) -> str:
        """Set the target."""
        given = self._settings.pools[pool]
        path = (
            f"/api/v1/applications/{quote(given.application, safe='')}"
            f"/deployments/{quote(given.deployment, safe='')}/scale"
        )
        answer = await self._http.ask("POST", path, body={"target_num_replicas": replicas})
        _good(answer)
        return ""

    async def aclose(self) -> None:
        """Close the connections; safe twice."""
        await self._http.aclose()


def _good(answer: Answer) -> Answer:
    if answer.good:
        return answer
    told: Any = answer.text
    if answer.headers.get("content-type", "").startswith("application/json"):
        told = member(answer.json(), "error") or told
    why = f"{answer.status} {told}"
    # 412: no external scaler, or the deployment is being deleted.
    if answer.status in (400, 401, 403, 412, 422):
        raise Refused(why)
    raise NoAnswer(why)
