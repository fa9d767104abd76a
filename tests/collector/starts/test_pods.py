"""Kubernetes times of a start, from its API (a double over real HTTP) and from plain times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from collector.discovery.doubles import FakeKubernetesApi
from collector.discovery.kubernetes import KubernetesPlace
from collector.kube_events import KubernetesStarts, image_pulls, pod_times
from collector.starts.observation import frame
from collector.starts.pods import ImagePull, PodTimes, observe_pod
from collector.starts.scrapes import Watched, observe_scrapes

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def text(seconds):
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(name="vllm-0", **status):
    conditions = [("PodScheduled", 2), ("Initialized", 3), ("ContainersReady", 90), ("Ready", 91)]
    return {
        "metadata": {
            "namespace": "llm", "name": name, "labels": {"app": "vllm"},
            "creationTimestamp": text(0),
        },
        "spec": {"nodeName": "h100-7"},
        "status": {
            "podIP": "10.0.0.7",
            "startTime": text(2),
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": text(seconds)}
                for kind, seconds in conditions
            ],
            "containerStatuses": [{"state": {"running": {"startedAt": text(40)}}}],
            **status,
        },
    }  # fmt: skip


def event(reason, seconds, message="", name="vllm-0"):
    return {
        "metadata": {"namespace": "llm"},
        "involvedObject": {"kind": "Pod", "namespace": "llm", "name": name},
        "reason": reason,
        "message": message,
        "firstTimestamp": text(seconds),
    }


@pytest.fixture
def cluster(tmp_path):
    with FakeKubernetesApi("secret") as api:
        config = str(api.kubeconfig(tmp_path / "kube"))
        place = KubernetesPlace(namespace="llm", label_selector="app=vllm", kubeconfig=config)
        reader = KubernetesStarts(place, lambda namespace, name, address: f"{address}:8000")
        yield api, reader
        reader.close()
        reader.close()


def test_a_pod_tells_its_start_over_http(cluster):
    """Placement, image, container, readiness: with node, cache state and the target's own name."""
    api, reader = cluster
    api.objects["pod"] = [pod()]
    api.objects["event"] = [event("Pulling", 3), event("Pulled", 33, "Successfully pulled image")]
    found = {item.phase: item for item in reader.read()}
    assert set(found) == {"schedule", "init", "container", "probe", "image", "ready"}
    assert found["image"].ended_at - found["image"].started_at == timedelta(seconds=30)
    assert found["ready"].started_at == at(91)
    assert {item.instance for item in found.values()} == {"10.0.0.7:8000"}
    assert {item.node for item in found.values()} == {"h100-7"}
    assert {item.cache_state for item in found.values()} == {"cold"}
    assert all(item.evidence.startswith("kubernetes: ") for item in found.values())


def test_many_pods_come_in_pages_and_only_the_chosen_ones(cluster):
    """The selector is asked of the server; nothing is lost between pages."""
    api, reader = cluster
    others = pod("router-0")
    others["metadata"]["labels"] = {"app": "router"}
    api.objects["pod"] = [pod(f"vllm-{i}") for i in range(620)] + [others]
    found = [item for item in reader.read() if item.phase == "ready"]
    assert len(found) == 620


def test_an_image_that_was_there_is_a_warm_start():
    """The node says so in the event's text."""
    pulls = image_pulls([event("Pulled", 3, "Container image already present on machine")])
    assert pulls == {("llm", "vllm-0"): (ImagePull(at(3), at(3), was_there=True),)}
    phases = observe_pod(pod_times(pod(), pulls), "a")
    assert {item.cache_state for item in phases} == {"warm"}
    assert "image" not in {item.phase for item in phases}


def test_a_pod_that_is_not_ready_has_no_mark():
    """Conditions that are False have not come."""
    waiting = pod(conditions=[{"type": "Ready", "status": "False", "lastTransitionTime": text(9)}])
    assert {item.phase for item in observe_pod(pod_times(waiting, {}), "a")} == set()


def test_a_container_that_ended_first_is_a_failed_start():
    """Out of memory while loading."""
    crashed = pod(
        conditions=[],
        containerStatuses=[{"state": {"terminated": {"finishedAt": text(50), "exitCode": 137}}}],
    )
    found = observe_pod(pod_times(crashed, {}), "a")
    assert [(item.phase, item.started_at) for item in found] == [("failed", at(50))]


def test_times_of_an_earlier_life_are_left_out():
    """After a container restart the pod keeps its first times; no phase runs backwards."""
    times = PodTimes("llm", "a", initialised_at=at(100), containers_ready_at=at(90))
    assert observe_pod(times, "a") == []


def test_an_api_that_says_nonsense_is_no_fault():
    """Missing parts and odd stamps are unknown."""
    assert pod_times({}, {}) == PodTimes("", "")
    odd = {"metadata": {"creationTimestamp": "soon"}, "status": {"conditions": [{}]}}
    assert pod_times(odd, {}).created_at is None
    assert image_pulls([{}, {"reason": "Pulled", "firstTimestamp": "x"}]) == {}


class TestScrapes:
    def test_a_watched_start_has_its_process_and_first_answer(self):
        """Asked before it answered: the first answer is the moment of being ready."""
        found = observe_scrapes(
            Watched(
                "a", at(0), at(47), at(-60),
                first_token_at=at(52), phase_seconds={"load_weight": 12.5},
            )
        )  # fmt: skip
        phases = {item.phase: item for item in found}
        assert phases["container"].ended_at == at(47)
        assert phases["ready"].started_at == at(47)
        assert phases["weights"].started_at == at(34.5)
        assert phases["first_token"].ended_at == at(52)

    def test_an_engine_found_running_tells_nothing(self):
        """Connected an hour later: its first answer to us was not its first answer."""
        assert observe_scrapes(Watched("a", at(0), at(1800), at(1800))) == []

    def test_refused_scrapes_prove_that_it_was_watched(self):
        """A target added after the process began, but before it answered."""
        seen = Watched("a", at(0), at(47), at(20), refused_before=True)
        assert [item.phase for item in observe_scrapes(seen)] == ["container", "ready"]


def test_rows_fit_the_table():
    """Times leave as naive UTC."""
    rows = frame(observe_pod(pod_times(pod(), {}), "a"))
    assert rows["started_at"].min() == at(0).replace(tzinfo=None)
    assert rows.columns[:4] == ["instance", "model", "node", "phase"]
