"""Scale subresources, against a stand-in that enforces versions, patches and rights."""

import asyncio
import base64
import json
import ssl

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from controller.actuators import kubernetes_access, registry
from controller.actuators.careful import Careful, Patience
from controller.actuators.check import World, check_actuator
from controller.actuators.doubles.scale_api import FakeScaleApi, merged
from controller.actuators.kubernetes_scale import (
    KubernetesPool,
    KubernetesScales,
    KubernetesSettings,
)
from store.clock import WallClock
from store.errors import ControllerError

CHAT = "/apis/apps/v1/namespaces/llm/deployments/chat"
PATIENT = Patience(limit_seconds=30.0, told_back_seconds=0.3, pause_seconds=0.02)
HASTY = Patience(limit_seconds=2.0, told_back_seconds=0.3, pause_seconds=0.02)
TOKEN = "a token"


@pytest.fixture
def api():
    """An API server with one deployment of one replica."""
    with FakeScaleApi(TOKEN) as found:
        found.add(CHAT, 1)
        yield found


@pytest.fixture
async def make(api, tmp_path):
    """Makes actuators of that server, and closes them."""
    all_made = []
    token = tmp_path / "token"
    token.write_text(TOKEN)

    def made(patience=PATIENT, **pool):
        settings = KubernetesSettings(
            {"chat": KubernetesPool("chat", **pool)},
            server=api.url,
            token_file=str(token),
            namespace="llm",
            answer_seconds=20.0,
        )
        all_made.append(Careful(KubernetesScales(settings, WallClock()), WallClock(), patience))
        return all_made[-1]

    yield made
    for one in all_made:
        await one.aclose()


async def test_it_keeps_the_contract(api, make):
    """Every promise, over a real socket."""

    def refuses(on):
        change = api.allowed.discard if on else api.allowed.add
        change(("patch", "deployments/scale"))

    world = World(
        "chat",
        lambda: api._objects[CHAT].replicas,
        settle=lambda: api.settle(CHAT),
        by_others=lambda number: api.change(CHAT, number),
        refuses=refuses,
        hangs=api.web.hang,
        lies=lambda on: setattr(api, "lies", on),
        unreadable=lambda on: setattr(api, "status", 503 if on else 200),
    )
    assert len(await check_actuator(lambda: make(HASTY), world)) == 8


async def test_a_write_carries_the_version_and_the_right_type(api, make):
    """A merge patch, by a named manager; the server would refuse anything else."""
    actuator = make()
    assert (await actuator.apply("chat", 3, "d1")).outcome == "applied"
    patches = [seen for seen in api.seen if seen[0] == "PATCH"]
    assert patches == [
        ("PATCH", f"{CHAT}/scale?fieldManager=servescope", "application/merge-patch+json")
    ]


async def test_status_updates_are_no_conflict(api, make):
    """Pods that become ready change the resourceVersion, but not what is wanted."""
    actuator = make()
    seen = await actuator.read("chat")
    api.settle(CHAT)
    assert (await actuator.apply("chat", 3, "d1", seen.version)).outcome == "applied"


async def test_zero_is_a_number(api, make):
    """Kubernetes leaves zero out of its answers: it is 0, not unknown."""
    actuator = make()
    assert (await actuator.apply("chat", 0, "d1")).outcome == "applied"
    api.settle(CHAT)
    scale = await actuator.read("chat")
    assert (scale.wanted, scale.ready, scale.starting) == (0, 0, 0)


async def test_ready_is_read_where_it_may_be(api, make):
    """Of the object with the right to get it; else it is unknown, and scaling still works."""
    actuator = make()
    await actuator.apply("chat", 4, "d1")
    scale = await actuator.read("chat")
    assert (scale.wanted, scale.ready, scale.starting) == (4, 1, 3)
    api.allowed.discard(("get", "deployments"))
    scale = await actuator.read("chat")
    assert (scale.wanted, scale.ready) == (4, None)
    assert (await actuator.apply("chat", 2, "d2")).outcome == "applied"
    other = make(ready_from="scale")
    assert (await other.read("chat")).ready == 1


@pytest.mark.parametrize(
    ("fault", "outcome", "told"),
    [
        ({"denied": "quota of 2 exceeded"}, "refused", "quota of 2 exceeded"),
        ({"token": "another"}, "refused", "401 Unauthorized"),
        ({"status": 429}, "failed", "429"),
        ({"status": 500}, "failed", "500"),
    ],
)
async def test_what_the_server_says_is_told(api, make, fault, outcome, told):
    """A refusal and a silence are different outcomes, each with the server's own words."""
    for name, value in fault.items():
        setattr(api, name, value)
    actuator = make()
    made = await actuator.apply("chat", 3, "d1")
    assert made.outcome == outcome
    assert told in made.text


async def test_what_is_not_there_is_told(make, api):
    """An object without that name cannot be read."""
    api._objects.clear()
    actuator = make()
    with pytest.raises(ControllerError, match=r'deployments "chat" not found'):
        await actuator.read("chat")


async def test_a_server_that_is_not_there_is_told():
    """Nobody listens: one line with where."""
    settings = {"server": "http://127.0.0.1:1", "pools": {"a": {"name": "a"}}}
    actuator = registry.create("kubernetes", settings, WallClock())
    with pytest.raises(ControllerError, match=r"cannot be read: 127\.0\.0\.1:1"):
        await actuator.read("a")
    assert (await actuator.apply("a", 2, "d")).outcome == "failed"
    await actuator.aclose()


async def test_the_official_client_and_ours_see_each_other(api, make):
    """The stand-in speaks Kubernetes: what the official client changes is a conflict to us."""
    client = pytest.importorskip("kubernetes.client")
    configuration = client.Configuration(host=api.url)
    actuator = make()
    seen = await actuator.read("chat")

    def theirs():
        with client.ApiClient(configuration, "Authorization", f"Bearer {TOKEN}") as connection:
            apps = client.AppsV1Api(connection)
            apps.patch_namespaced_deployment_scale(
                "chat", "llm", {"spec": {"replicas": 5}}, _content_type=merge
            )
            return apps.read_namespaced_deployment_scale("chat", "llm")

    merge = "application/merge-patch+json"
    told = await asyncio.to_thread(theirs)
    assert told.spec.replicas == 5
    made = await actuator.apply("chat", 2, "d1", seen.version)
    assert made.outcome == "conflict"
    assert made.scale.wanted == 5


async def test_a_change_between_our_read_and_our_write_is_seen(api, make):
    """The resourceVersion of the read goes with the write."""
    actuator = make()
    platform = actuator.platform
    read = platform.read

    async def late(pool):
        scale = await read(pool)
        if scale.wanted == 1:
            api.change(CHAT, 7)
        return scale

    platform.read = late
    made = await actuator.apply("chat", 3, "d1")
    assert made.outcome == "conflict"
    assert api._objects[CHAT].replicas == 7


@pytest.mark.parametrize(
    ("pool", "told"),
    [
        ({"name": "../secrets"}, "no name of an object"),
        ({"name": "a", "resource": "deployments"}, "group/version/plural"),
        ({"name": "a", "namespace": "A B"}, "no name of a namespace"),
    ],
)
def test_names_that_cannot_be_are_told(pool, told):
    """They would become a path."""
    with pytest.raises(ControllerError, match=told):
        registry.create("kubernetes", {"pools": {"chat": pool}}, WallClock())


def kubeconfig(tmp_path, user, **cluster):
    """A kubeconfig with one context."""
    file = tmp_path / "config"
    told = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "llm"}}
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://api:6443", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    file.write_text(json.dumps(told))
    return file


def test_a_kubeconfig_is_read(tmp_path):
    """Server, namespace and token; a path in it is relative to the file."""
    found = kubernetes_access.of_kubeconfig(kubeconfig(tmp_path, {"tokenFile": "t"}))
    (tmp_path / "t").write_text("secret\n")
    assert (found.url, found.namespace) == ("https://api:6443", "llm")
    assert found._headers() == {"Authorization": "Bearer secret"}


def in_base64(file):
    """As a kubeconfig carries files."""
    return base64.b64encode(file.read_bytes()).decode()


async def test_a_cluster_with_certificates_is_scaled(certificate, tmp_path):
    """The server's CA and the client's certificate come from the kubeconfig; both are needed."""
    (key, server), (client_key, client) = certificate("server"), certificate("client")
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(server, key)
    trust.verify_mode = ssl.CERT_REQUIRED
    trust.load_verify_locations(client)
    user = {
        "client-certificate-data": in_base64(client),
        "client-key-data": in_base64(client_key),
    }
    api = FakeScaleApi()
    api.web.encrypt(trust)
    with api:
        api.add(CHAT, 1)
        place = {"server": f"https://localhost:{api.web.port}"}
        trusted = {**place, "certificate-authority-data": in_base64(server)}

        def made(user, cluster):
            file = kubeconfig(tmp_path, user, **cluster)
            given = KubernetesSettings({"chat": KubernetesPool("chat")}, kubeconfig=str(file))
            return Careful(KubernetesScales(given, WallClock()), WallClock(), PATIENT)

        known = made(user, trusted)
        assert (await known.apply("chat", 2, "d1")).outcome == "applied"
        unverified = made(user, {**place, "insecure-skip-tls-verify": True})
        assert (await unverified.read("chat")).wanted == 2
        stranger, misled = made({}, trusted), made(user, place)
        for actuator in (stranger, misled):
            with pytest.raises(ControllerError, match="cannot be read"):
                await actuator.read("chat")
        for actuator in (known, unverified, stranger, misled):
            await actuator.aclose()


@pytest.mark.parametrize(
    ("user", "cluster", "told"),
    [
        ({"exec": {"command": "aws"}}, {}, "`exec` are not supported"),
        ({}, {"server": "api:6443"}, "has no server"),
        ({}, {"certificate-authority-data": "%%"}, "no base64"),
        ({}, {"certificate-authority-data": base64.b64encode(b"x").decode()}, "CA cannot be used"),
    ],
)
def test_a_kubeconfig_that_is_not_understood_is_told(tmp_path, user, cluster, told):
    """One line with what and where."""
    with pytest.raises(ControllerError, match=told):
        kubernetes_access.of_kubeconfig(kubeconfig(tmp_path, user, **cluster))
    with pytest.raises(ControllerError, match="among its contexts"):
        kubernetes_access.of_kubeconfig(kubeconfig(tmp_path, {}), "elsewhere")
    with pytest.raises(ControllerError, match="cannot be read"):
        kubernetes_access.of_kubeconfig(tmp_path / "none")


def test_without_a_pod_there_is_no_cluster_of_ours(tmp_path):
    """The environment alone is not enough."""
    assert kubernetes_access.of_pod({}, tmp_path) is None
    assert kubernetes_access.of_pod({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@drawn(JSON, JSON)
def test_a_merge_patch_is_idempotent(target, patch):
    """Applied twice it gives the same as once (RFC 7386)."""
    once = merged(target, patch)
    assert merged(once, patch) == once
