"""What somebody wants replayed, from the command line or the API, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from controller import profiles
from controller.comparison.building import checked_names
from controller.comparison.protocol import Case, Comparison, sizes_of, split
from controller.comparison.sizing import per_second
from controller.guards import FleetRules
from controller.observation import Objective
from controller.profile import Profile
from controller.simulator.workload import Workload
from servescope.calibrating import profiles_folder
from servescope.replaying.fleet import LivePools, fleet_of
from servescope.replaying.values import value_of
from store.errors import InputError
from store.nearest import nearest_hint

USUAL_POLICIES = ("risk", "kubernetes-hpa", "knative-kpa", "ray-serve", "queue-length-hpa")
USUAL_PROFILE = "llama2-70b-4-x-h100"
USUAL_OBJECTIVE = "ttft=2,tpot=0.1,attainment=0.99"
MOST_OF_POOL = 200
MOST_REQUESTS = 5_000_000
MOST_SEEDS, MOST_STARTUPS, MOST_POLICIES, MOST_TRIALS = 50, 10, 32, 500
_BOUNDS = {"ttft": "ttft_seconds", "tpot": "tpot_seconds", "attainment": "attainment_ratio"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is replayed and how; docs/replay.md says more.

    Attributes:
        policies: names; documented settings, and tuned ones with `tune`.
        startups: seconds that a replica takes to start; each is compared on its own.
        seeds: how many; medians and ranges are over them.
        scale: times as many requests in the same time.
        profile: of a replica: a name, or a file.
        objective: such as "ttft=2,tpot=0.1,attainment=0.99".
        tune: trials of each policy; 0 tunes nothing.
        least: replicas.
        most: replicas; unset: four times what the busiest minute needs, at least 10.
        initial: replicas at the start; unset: enough for the first five minutes.
        gpus: at most, in all; unset is no bound.
        history: seconds before the judged part that are replayed unjudged.
        curve: seeds of the curve of each main knob; 0 draws none.
        run_limit: seconds after which one replay is ended.
        patience: seconds after which a waiting client gives up; unset never.
        fleet: pools that are replayed together, each with a name; in place of `profile`.
        pools: configured pools in place of a fleet: names, or "all".
        most_per_hour: cost of all pools together; unset is no bound.
        guards: whether the live guards stand behind every policy; unset: with `pools`.
        forecasts: whether policies are handed forecasts of the request rate.
    """

    policies: tuple[str, ...] = USUAL_POLICIES
    startups: tuple[float, ...] = (60.0,)
    seeds: int = 5
    scale: float = 1.0
    profile: str = USUAL_PROFILE
    objective: str = USUAL_OBJECTIVE
    tune: int = 0
    least: int = 1
    most: int | None = None
    initial: int | None = None
    gpus: int | None = None
    history: float = 600.0
    curve: int = 0
    run_limit: float = 300.0
    patience: float | None = None
    fleet: tuple[dict[str, Any], ...] = ()
    pools: tuple[str, ...] = ()
    most_per_hour: float | None = None
    guards: bool | None = None
    forecasts: bool = False

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Asked:
        """From JSON values.

        Raises:
            InputError: an unknown name, or a value of the wrong kind.
        """
        known = [one.name for one in fields(cls)]
        for name in told:
            if name not in known:
                hint = nearest_hint(name, known)
                raise InputError(f"there is no parameter '{name}'", hint=hint)
        try:
            return cls(**{name: value_of(name, value) for name, value in told.items()})
        except (TypeError, ValueError) as error:
            raise InputError(f"a parameter cannot be read: {error}") from error

    def of_pools(self, live: LivePools) -> Asked:
        """The same with configured pools as its fleet; what was asked for otherwise stays."""
        own = () if not live.policy or live.policy in self.policies else (live.policy,)
        is_usual = self.policies == USUAL_POLICIES
        return replace(
            self,
            fleet=live.pools,
            pools=(),
            policies=(*self.policies, *own) if is_usual else self.policies,
            objective=live.objective if self.objective == USUAL_OBJECTIVE else self.objective,
            gpus=live.most_gpus if self.gpus is None else self.gpus,
            most_per_hour=live.most_per_hour if self.most_per_hour is None else self.most_per_hour,
            guards=True if self.guards is None else self.guards,
        )

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def comparison(self, workload: Workload, *, may_import: bool = False) -> Comparison:
        """The protocol for a workload that is scaled already.

        Args:
            workload: what is replayed.
            may_import: whether policies may be loaded from one's own modules.

        Raises:
            InputError: a parameter is out of range.
            ControllerError: parameters that contradict each other.
        """
        _bounded(self, len(workload))
        objective = parse_objective(self.objective)
        checked_names(self.policies, may_import=may_import)
        if self.fleet:
            return self._of_fleet(objective, workload, may_read=may_import)
        profile = profile_named(self.profile, may_read=may_import)
        made = Comparison(
            profile=profile,
            least=self.least,
            most=self._most(profile, objective, workload),
            initial=self.initial,
            **self._shared(objective),
        )
        made.capacity(workload)
        return made

    def _shared(self, objective: Objective) -> dict[str, Any]:
        """What a comparison of one pool and of a fleet have in common."""
        return {
            "policies": self.policies,
            "objective": objective,
            "startups_seconds": self.startups,
            "seeds": tuple(range(self.seeds)),
            "trials": self.tune,
            "curve_seeds": self.curve,
            "run_seconds": self.run_limit,
            "patience_seconds": self.patience,
            "rules": FleetRules({}, self.gpus, self.most_per_hour),
            "has_guards": bool(self.guards),
            "has_forecasts": self.forecasts,
        }

    def _of_fleet(self, objective: Objective, workload: Workload, *, may_read: bool) -> Comparison:
        if self.initial is not None:
            raise InputError(
                "initial is of one pool, and this is a fleet", hint="give initial in each pool"
            )
        sizes, peak = sizes_of(workload), busiest_minute(workload)

        def most_of(profile: Profile, role: str) -> int:
            if self.most is not None:
                return self.most
            each = per_second(profile, role, objective, sizes)
            return max(10, min(4 * math.ceil(peak / max(each, 1e-6)), MOST_OF_POOL))

        usual = {"profile": self.profile, "least": self.least}
        pools = fleet_of(
            self.fleet, lambda name: profile_named(name, may_read=may_read), usual, most_of
        )
        made = Comparison(profile=pools[0].profile, fleet=pools, **self._shared(objective))
        made.capacities(workload)
        return made

    def case(self, name: str, workload: Workload) -> Case:
        """The workload cut into what is tuned on and what is judged."""
        return split(name, workload, 0.5 if self.tune else 0.0, self.history)

    def _most(self, profile: Profile, objective: Objective, workload: Workload) -> int:
        most = self.most
        if most is None:
            probe = Comparison(("risk",), profile, objective)
            peak = busiest_minute(workload) / probe.capacity(workload)
            most = max(10, min(4 * math.ceil(peak), 1000), self.least)
        if self.gpus is None:
            return most
        affordable = self.gpus // profile.gpus
        if affordable < max(self.least, 1):
            raise InputError(
                f"{self.gpus} GPUs are fewer than the {max(self.least, 1) * profile.gpus} that the"
                f" least fleet of {max(self.least, 1)} x {profile.gpus} needs",
                hint="raise --gpus, or lower --least",
            )
        return min(most, affordable)


def busiest_minute(workload: Workload) -> float:
    """Requests a second of the busiest minute."""
    _, counts = np.unique(workload.arrived // 60, return_counts=True)
    return float(counts.max(initial=0)) / 60


def _bounded(asked: Asked, requests: int) -> None:
    checks: Sequence[tuple[str, float, float, float]] = (
        ("seeds", asked.seeds, 2, MOST_SEEDS),
        ("startups", len(asked.startups), 1, MOST_STARTUPS),
        ("policies", len(asked.policies), 1, MOST_POLICIES),
        ("tune", asked.tune, 0, MOST_TRIALS),
        ("curve", asked.curve, 0, MOST_SEEDS),
        ("history", asked.history, 0, 7 * 86_400),
        ("run_limit", asked.run_limit, 1, 86_400),
    )
    for name, value, low, high in checks:
        if not (math.isfinite(value) and low <= value <= high):
            many = "the number of " if name in ("startups", "policies") else ""
            raise InputError(f"{many}{name}: {value:g} is outside {low:g} to {high:g}")
    if requests > MOST_REQUESTS:
        raise InputError(
            f"{requests:,} requests are more than the {MOST_REQUESTS:,} of one replay",
            hint="take a shorter range, or a smaller scale",
        )


def scaled(workload: Workload, scale: float) -> Workload:
    """`scale` times as many requests in the same time.

    Raises:
        InputError: out of range.
    """
    if not (math.isfinite(scale) and 0.001 <= scale <= 1000):
        raise InputError(f"a scale of {scale:g} is outside 0.001 to 1,000")
    return workload if scale == 1 else workload.faster(scale)


def parse_objective(text: str) -> Objective:
    """Read "ttft=2,tpot=0.1,attainment=0.99"; a bound that is left out does not hold.

    Raises:
        InputError: anything else.
    """
    given: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            given[_BOUNDS[name.strip()]] = float(value)
        except (KeyError, ValueError):
            raise InputError(
                f"'{part}' is no part of an objective",
                hint="write ttft=2,tpot=0.1,attainment=0.99, in seconds and as a share",
            ) from None
    bounds = {name: given.get(name) for name in ("ttft_seconds", "tpot_seconds")}
    return Objective(**bounds, attainment_ratio=given.get("attainment_ratio", 0.99))


def profile_named(name: str, *, may_read: bool) -> Profile:
    """A profile by its name, or from a file that `servescope calibrate` wrote.

    Args:
        name: of one's own or of a shipped one; or a path.
        may_read: whether it may be a path.

    Raises:
        InputError: a path where none may be given.
        ControllerError: there is none, or the file is no profile.
    """
    if not may_read and (name.endswith(profiles.SUFFIX) or "/" in name):
        raise InputError(
            f"'{name}' is a file; the server takes profiles by name",
            hint=f"put it into {profiles_folder()} and give its name",
        )
    return profiles.find(name, profiles_folder())
