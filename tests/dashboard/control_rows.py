"""A made-up ledger and a made-up comparison, and desks that write down what they are told."""

from __future__ import annotations

import json
from datetime import timedelta

from analysis import replay_frames
from store import decisions, replays
from store.audit import Change
from store.errors import ControllerError

REPLAY = "20261120-110000-0a1b2c"
PENDING = 41


class FasterError(ControllerError):
    """As the controller raises when somebody was faster."""

    status = 409

    def __init__(self, state):
        super().__init__("somebody changed chat meanwhile", hint="look again, then decide anew")
        self.state = state


def pool_state(name="chat", **changes):
    """One pool as the controller tells of it."""
    return {
        "pool": name, "mode": "dry-run", "mode_by": "ana", "mode_at": "2026-11-20T09:00:00Z",
        "mode_comment": "first week", "is_frozen": False, "frozen_until": None, "frozen_by": "",
        "frozen_at": None, "frozen_comment": "", "foreign": None, "version": 7, "policy": "risk",
        "least": 1, "most": 16, "wanted": 4, "ready": 3, "starting": 1, "draining": 0,
        "desired": 6, "doubt": "", "notes": [],
    } | changes  # fmt: skip


def candidate(number=3, **changes):
    """One candidate as the controller tells of it."""
    return {
        "candidate_id": number, "pool": "chat", "pools": ["chat"], "policy": "keda",
        "parameters": {"target": 8}, "policy_text": "keda(target=8)", "replay_id": REPLAY,
        "is_validated": True, "validity": "validated", "created_at": "2026-11-20T09:00:00Z",
        "created_by": "ana", "state": "shadow", "text": None, "changed_at": "2026-11-20T09:00:05Z",
        "changed_by": "controller", "watched_since": "2026-11-20T09:00:05Z", "steps": 5760,
        "failures": 0, "last_failure": None, "last_at": "2026-11-20T12:00:00Z",
        "differing_ratio": 0.34, "period_seconds": 15.0, "asked_every_seconds": 15.0,
        "is_watched": True, "version": 7,
    } | changes  # fmt: skip


def side(hours, kept=None):
    """What one of both came to."""
    return {
        "replica_hours": hours, "gpu_hours": hours * 4, "cost": None,
        "predicted_attainment_ratio": kept,
    }  # fmt: skip


def beside(row):
    """A candidate beside the policy that decides."""
    if not row["steps"]:
        return {"candidate": row, "text": "it was not asked yet", "empty": "it was not asked yet"}
    course = [
        {"pool": row["pool"], "at": f"2026-11-20T11:{minute:02}:00Z",
         "shadow_replicas": 3 + minute % 2, "live_replicas": 4, "there_replicas": None,
         "requests_per_second": 20.0}
        for minute in range(60)
    ]  # fmt: skip
    sides = {"live": side(96.5, 0.994), "shadow": side(80.25, 0.981), "there": side(96.5)}
    return {
        "candidate": row, "live_policy": "risk", "text": "Over 24.0 h keda would have had less.",
        "empty": "", "start_at": "2026-11-20T11:00:00Z", "end_at": "2026-11-20T11:59:59Z",
        "seconds": 86_400.0, "steps": 5760, **sides, "differing_ratio": 0.34,
        "largest_difference_replicas": -3, "largest_difference_at": "2026-11-20T11:00:00Z",
        "pools": [{"pool": row["pool"], **sides, "profile": "llama", "why": "",
                   "observed_attainment_ratio": 0.99}],
        "model": "a fluid model of the replicas; a model, not what came", "course": course,
        "latest": [],
    }  # fmt: skip


class FakeCandidates:
    """Two candidates, one of them refused; what is told is written down."""

    def __init__(self, control):
        self._control = control
        self.rows = [candidate(), candidate(2, state="refused", text="no such policy: keda2",
                                            watched_since=None, steps=0, differing_ratio=None,
                                            is_watched=False)]  # fmt: skip

    def _row(self, number, expected):
        row = next(row for row in self.rows if row["candidate_id"] == number)
        if expected != row["version"]:
            raise FasterError({"chat": pool_state(version=8)})
        return row

    def listed(self):
        return {"running": self._control.running, "candidates": self.rows}

    def compared(self, candidate_id, hours=None):
        return beside(next(row for row in self.rows if row["candidate_id"] == candidate_id))

    def withdraw(self, candidate_id, by, comment="", expected=None):
        row = self._row(candidate_id, expected)
        self._control.told.append(("withdraw", candidate_id, by, comment))
        return row

    def adopt(self, candidate_id, by, comment, expected=None, override=""):
        row = self._row(candidate_id, expected)
        if not comment:
            raise ControllerError("say why", hint="adopting needs a comment")
        self._control.told.append(("adopt", candidate_id, by, comment, override))
        return row

    def restore_policy(self, pools, by, comment, expected=None):
        found = self._control._named(list(pools), expected)
        self._control.told.append(("restore", tuple(pools), comment))
        return found


class FakeControl:
    """A controller that refuses whoever has not seen its newest version."""

    def __init__(self):
        self.candidates = FakeCandidates(self)
        self.pools = [pool_state(), pool_state("code", version=3, mode="approve")]
        self.running = True
        self.refused = {}
        self.told = []

    def status(self):
        return {
            "running": self.running,
            "pools": self.pools,
            "pending": [{"decision_id": PENDING}],
            "version": 7,
        }

    def refused_modes(self):
        return self.refused

    def explain(self, decision_id):
        return {
            "flips": [{"text": "would scale up at requests waiting >= 41"}],
            "candidates": [{"replicas": 4, "attainment_ratio": 0.97, "cost": 3.0}],
            "why_not": "",
        }

    def rollback_of(self, decision_id):
        return {"decision_id": decision_id, "pool": "chat", "from_replicas": 6, "to_replicas": 4}

    def _named(self, pools, expected):
        found = [pool for pool in self.pools if not pools or pool["pool"] in pools]
        newest = max(pool["version"] for pool in found)
        if expected != newest:
            raise FasterError({pool["pool"]: pool for pool in found})
        return found

    def _changed(self, pools, expected, told, **changes):
        found = self._named(pools, expected)
        self.told.append(told)
        for pool in found:
            pool.update(changes, version=pool["version"] + 1)
        return found

    def mode(self, pools, mode, by, comment, expected=None, override=""):
        told = ("mode", tuple(pools), mode, by, comment, override)
        return self._changed(pools, expected, told, mode=mode, mode_by=by)

    def freeze(self, pools, seconds, by, comment="", expected=None):
        until = None if seconds is None else "2026-11-20T14:05:00Z"
        told = ("freeze", tuple(pools), seconds, by)
        return self._changed(
            pools, expected, told, is_frozen=True, frozen_until=until, frozen_by=by
        )

    def resume(self, pools, by, comment, expected=None):
        if not comment:
            raise ControllerError("say why", hint="resuming needs a comment")
        told = ("resume", tuple(pools), comment)
        return self._changed(pools, expected, told, is_frozen=False, foreign=None)

    def approve(self, decision_id, by, comment=""):
        if decision_id != PENDING:
            raise FasterError({"decision_id": PENDING, "before_replicas": 4, "final_replicas": 6})
        self.told.append(("approve", decision_id, comment))
        return {"decision_id": decision_id, "pool": "code", "outcome": "applied"}

    def reject(self, decision_id, by, comment=""):
        self.told.append(("reject", decision_id, comment))
        return {"decision_id": decision_id, "pool": "code", "outcome": "rejected"}

    def rollback(self, decision_id, by, comment, expected=None):
        self._named(["chat"], expected)
        self.told.append(("rollback", decision_id, comment))
        return {"pool": "chat", "to_replicas": 4, "outcome": "applied"}


class FakeReplays:
    """A queue of comparisons that only counts."""

    def __init__(self):
        self.asked = []
        self.under_way = None
        self.pools = ("chat", "code")

    def choices(self):
        return {
            "policies": ("risk", "ray-serve", "keda"), "usual": ("risk", "ray-serve"),
            "profiles": ("llama2-70b-4-x-h100", "own"),
            "pools": self.pools, "pools_without_profile": ("batch",),
        }  # fmt: skip

    def progress(self, replay_id):
        return self.under_way

    def submit(self, about, by):
        self.asked.append(about)
        return {"replay_id": REPLAY, "validity": "validated"}

    def cancel(self, replay_id, by):
        return "cancelled"

    def propose(self, replay_id, about, by):
        self.asked.append(about)
        return {"candidate_id": 1, "pool": about["pool"], "policy": about["policy"]}


def fill(database, now, *, is_validated=False):
    """Forty steps of two pools with a freeze, a block, a failure and a wish; one comparison."""
    rows = [*_steps(now.replace(tzinfo=None)), *_changes(now.replace(tzinfo=None))]
    told = Change("ana", "controller.mode", "chat", {"mode": "off"}, {"kind": "mode"}, "cli", "go")
    decisions.keep(database.writer, rows, [(now, told)]).result()
    _comparison(database.writer, now, is_validated=is_validated)


def _steps(now):
    made = []
    for number in range(1, 41):
        at = now - timedelta(minutes=41 - number)
        wish = 3 + number // 10
        kind = "up" if number % 10 == 0 else "hold"
        held = kind == "hold" and number > 30
        made.append(
            decisions.DecisionRow(
                number, None, at, "chat", "risk", "dry-run", kind, 3, wish + held, wish, 3, 1, 0,
                "most" if held else "", "forecast", f"{wish * 7} requests/s expected",
                clips=json.dumps([{"guard": "most", "pool": "chat", "before": 9.0, "after": 6.0,
                                   "text": "16 at most"}]),
            )
        )  # fmt: skip
    numbers = json.dumps(
        {"expected": {"attainment_ratio": 0.997, "cost": 12.4},
         "unchanged": {"attainment_ratio": 0.991, "cost": 6.2}}
    )  # fmt: skip
    made.append(
        decisions.DecisionRow(
            PENDING, None, now - timedelta(minutes=1), "code", "risk", "approve", "up", 4, 6, 6, 4,
            0, 0, "", "forecast", "41.3 requests/s expected", numbers=numbers,
            expires_at=now + timedelta(minutes=9),
        )
    )  # fmt: skip
    made.append(
        decisions.DecisionRow(
            42, None, now - timedelta(minutes=30), "old", "risk", "active", "up", 2, 5, 5, 2, 0, 0,
            "", "forecast", "many come",
        )
    )  # fmt: skip
    made.append(
        decisions.ActionRow(42, 1, now - timedelta(minutes=30), "old", "memory", 5, "failed",
                            "quota of 2 GPUs")
    )  # fmt: skip
    made.append(
        decisions.OutcomeRow(10, now - timedelta(minutes=5), "attainment_ratio", 0.99, 0.97)
    )
    return made


def _changes(now):
    at = now - timedelta(minutes=20)
    return [
        decisions.ChangeRow(1, now - timedelta(hours=2), "chat", "mode", "dry-run", None, None,
                            "ana", "first week"),
        decisions.ChangeRow(2, at, "chat", "freeze", None, at + timedelta(minutes=5), None, "bo",
                            "rack 4"),
    ]  # fmt: skip


def _comparison(writer, now, *, is_validated):
    text = "validated: median E2E error 1.2%" if is_validated else "not validated: never compared"
    error = {"median_ratio": 0.012, "p99_ratio": 0.06, "rows": 18} if is_validated else None
    profile = {"name": "llama-2-70b, 4 x h100", "error": error}
    asked = {"policies": ["risk", "ray-serve"], "startups": [60.0], "seeds": 3}
    row = replays.ReplayRow(
        REPLAY, now - timedelta(hours=1), "dashboard", "azure-2023-conv", asked, 0.99, profile,
        text, is_validated, error,
    )  # fmt: skip
    replays.add(writer, row).result()
    found = [_outcome(*one, seed) for one in _WAYS for seed in range(3)]
    lanes = [one for one in found if one["seed"] == 0]
    frames = replay_frames.outcomes(found), replay_frames.lanes(lanes)
    replays.keep(writer, REPLAY, *frames).result()
    replays.stand(writer, REPLAY, now, "done", None, 26.0).result()


_WAYS = (
    ("clairvoyant", "clairvoyant", "knows the future", 9.0, 0.999),
    ("static", "static-peak", "fixed for the peak", 20.0, 1.0),
    ("risk", "default", "servescope, risk", 11.0, 0.995),
    ("ray-serve", "default", "Ray Serve", 10.0, 0.95),
)


def _outcome(policy, row, title, hours, kept, seed):
    return {
        "case": "azure-2023-conv", "startup_seconds": 60.0, "policy": policy, "row": row,
        "title": title, "parameters": "{}", "seed": seed, "state": "done", "reason": None,
        "requests": 19_366, "attainment_ratio": kept - seed / 1000, "gpu_hours": hours + seed / 10,
        "cost": hours * 3, "ttft_p99_seconds": 1.2 + seed / 10, "advice": [],
        "lanes": [(minute * 60.0, 0, int(hours) + minute % 3, int(hours), 1, 0)
                  for minute in range(30)],
    }  # fmt: skip
