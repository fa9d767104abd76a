"""What the Roles allow is what the code asks an API server for: no more, no less."""

import asyncio
import re
from pathlib import Path

import yaml

from collector.discovery.doubles import FakeKubernetesApi
from collector.discovery.kubernetes import KubernetesDiscovery, KubernetesPlace
from collector.kube_events import KubernetesStarts
from controller.actuators.doubles.scale_api import FakeScaleApi
from controller.actuators.kubernetes_scale import (
    KubernetesPool,
    KubernetesScales,
    KubernetesSettings,
)
from store.clock import WallClock

ROOT = Path(__file__).parents[2]
PATH = re.compile(r"/apis?(?:/(?P<group>[a-z.0-9]+\.[a-z.0-9]+|apps))?/v1/(?P<rest>[^?]+)")
CHAT = "/apis/apps/v1/namespaces/llm/deployments/chat"


def right(method, path):
    """(verb, group, resource) that a question needs."""
    read = PATH.match(path)
    where, namespace, kind, *more = read["rest"].split("/")
    assert (where, namespace) == ("namespaces", "llm"), "asked beyond its namespace"
    verb = {"GET": "get" if more else "list", "PATCH": "patch"}[method]
    return verb, read["group"] or "", "/".join([kind, *more[1:]])


def allowed(name):
    """(verb, group, resource) that a Role of the manifests gives."""
    text = (ROOT / "deploy" / "kubernetes" / "rbac-llm.yaml").read_text("utf-8")
    (role,) = (one for one in yaml.safe_load_all(text)
               if one["kind"] == "Role" and one["metadata"]["name"] == name)  # fmt: skip
    return {
        (verb, group, resource)
        for rule in role["rules"]
        for verb in rule["verbs"] for group in rule["apiGroups"] for resource in rule["resources"]
    }  # fmt: skip


async def test_seeing_needs_just_its_role(tmp_path):
    """Discovery by pods and by endpoints, and the starts of pods."""
    with FakeKubernetesApi() as api:
        config = str(api.kubeconfig(tmp_path / "kubeconfig"))
        for role in ("pod", "endpointslice"):
            place = KubernetesPlace(role=role, namespace="llm", kubeconfig=config)
            discovery = KubernetesDiscovery(place)
            await discovery.targets()
            assert discovery.problem is None
            await discovery.aclose()
        starts = KubernetesStarts(KubernetesPlace(namespace="llm", kubeconfig=config))
        await asyncio.to_thread(starts.read)
        await asyncio.to_thread(starts.close)
    assert {right("GET", path) for path in api.asked} == allowed("servescope-see")


async def test_scaling_needs_just_its_role():
    """Reading a scale, how many are ready, and changing the number."""
    with FakeScaleApi() as api:
        api.add(CHAT, 1)
        settings = KubernetesSettings({"chat": KubernetesPool("chat")}, api.url, namespace="llm")
        scales = KubernetesScales(settings, WallClock())
        await scales.write("chat", 2, await scales.read("chat"), "decision")
        await scales.aclose()
    assert {right(method, path) for method, path, _ in api.seen} == allowed("servescope-scale")


def test_nothing_else_of_ours_speaks_to_an_api_server():
    """Whoever adds a call adds it to the Roles, and here."""
    known = {
        "collector/discovery/kubernetes.py", "collector/kube_events.py",
        "controller/actuators/kubernetes_scale.py",
    }  # fmt: skip
    speaks = re.compile(r"(?:from|import) kubernetes\b|kubernetes_access|/namespaces/\{")
    found = {
        str(path.relative_to(ROOT))
        for package in ("store", "collector", "analysis", "predictors", "controller", "servescope")
        for path in (ROOT / package).rglob("*.py")
        if "doubles" not in path.parts and speaks.search(path.read_text("utf-8"))
    }
    assert found == known
