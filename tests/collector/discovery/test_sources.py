"""Each source of targets: what it reads, and that trouble keeps the last good list."""

import asyncio
import contextlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from collector.checks import check_discovery
from collector.discovery.doubles import FakeKubernetesApi
from collector.discovery.groups import GroupsError, read_yaml
from collector.discovery.kubernetes import KubernetesDiscovery, KubernetesPlace
from collector.discovery.listed import FileDiscovery, StaticDiscovery
from collector.discovery.model import DiscoveredTarget
from collector.discovery.names import DnsDiscovery
from collector.discovery.web import HttpDiscovery
from collector.http_access import Access

GROUPS = [{"targets": ["a:8000", "b:8000"], "labels": {"rack": "7", "spare": True}}]


def write(file, text):
    """Write a file so that it looks changed, whatever the clock's resolution."""
    file.write_text(text, "utf-8")
    stamp = file.stat().st_mtime_ns + 1_000_000 * (1 + len(text))
    os.utime(file, ns=(stamp, stamp))


async def addresses(discovery):
    return [target.address for target in await discovery.targets()]


async def test_a_list_of_settings_stays():
    """What was given comes, every time."""
    discovery = StaticDiscovery((DiscoveredTarget("a:1", {"x": "y"}),))
    assert await check_discovery(discovery) == (DiscoveredTarget("a:1", {"x": "y"}),)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.json", json.dumps(GROUPS)),
        ("t.yml", "- targets: ['a:8000', 'b:8000']\n  labels: {rack: 7, spare: true}\n"),
        ("t.yaml", json.dumps(GROUPS)),
    ],
)
async def test_a_file_lists_targets(tmp_path, name, text):
    """JSON and YAML say the same; each target carries its labels and the file it came from."""
    file = tmp_path / name
    write(file, text)
    first, _ = await check_discovery(FileDiscovery(str(file)))
    assert first.address == "a:8000"
    assert first.labels == {"rack": "7", "spare": "true", "__meta_filepath": str(file)}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "- targets: a:8000",
        "- labels: {}",
        "targets: []",
        "- targets: [1]",
        "- targets: ['a:1']\n  labels: {1x: y}",
        "- targets: ['a:1']\n  labels: {x: [y]}",
        "- targets: ['a:1']\n  lables: {}",
        "- &a {targets: ['a:1']}\n- *a",
        "[" * 100_000,
        "\x00",
    ],
)
async def test_a_malformed_file_keeps_its_previous_targets(tmp_path, text):
    """Half a file, written while we look, must not stop the scraping of a fleet."""
    file = tmp_path / "t.yml"
    write(file, json.dumps(GROUPS))
    discovery = FileDiscovery(str(file))
    assert await addresses(discovery) == ["a:8000", "b:8000"]
    write(file, text)
    assert await addresses(discovery) == ["a:8000", "b:8000"]
    assert str(file) in discovery.problem
    assert "\n" not in discovery.problem
    write(file, "- targets: ['c:8000']")
    assert await addresses(discovery) == ["c:8000"]
    assert discovery.problem is None


async def test_files_by_pattern_come_and_go(tmp_path):
    """Every matching file counts; one that is gone has no targets; none at all is said."""
    discovery = FileDiscovery(str(tmp_path / "*.json"))
    assert await addresses(discovery) == []
    assert "no such file" in discovery.problem
    for name in "ab":
        write(tmp_path / f"{name}.json", json.dumps([{"targets": [f"{name}:1"]}]))
    assert await addresses(discovery) == ["a:1", "b:1"]
    (tmp_path / "a.json").unlink()
    assert await addresses(discovery) == ["b:1"]


@contextlib.contextmanager
def serving(answer):
    """An HTTP server; `answer()` gives status, type and body, and asked headers are kept."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(dict(self.headers))
            status, kind, body = answer()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/targets", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_a_served_list_is_asked_for_as_prometheus_does(tmp_path):
    """The header tells the refresh, the token comes from its file, the labels come along."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    with serving(lambda: (200, "application/json; charset=utf-8", json.dumps(GROUPS).encode())) as (
        url,
        asked,
    ):
        discovery = HttpDiscovery(url, 15.0, Access(bearer_token_file=str(token)))
        first, _ = await check_discovery(discovery)
    assert first.labels["__meta_url"] == url
    assert asked[0]["X-Prometheus-Refresh-Interval-Seconds"] == "15"
    assert asked[0]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "bad",
    [
        (500, "application/json", b"[]"),
        (302, "application/json", b"[]"),
        (200, "text/html", b"<html>"),
        (200, "text/plain", b"[]"),
        (200, "application/json", b"null"),
        (200, "application/json", b"{"),
        (200, "application/json", b'[{"targets": "a:1"}]'),
    ],
)
async def test_an_error_keeps_the_last_served_list(bad):
    """Only 200 with a list in JSON changes anything; an empty list empties it."""
    now = [(200, "application/json", json.dumps(GROUPS).encode())]
    with serving(lambda: now[-1]) as (url, _):
        discovery = HttpDiscovery(url)
        assert await addresses(discovery) == ["a:8000", "b:8000"]
        now.append(bad)
        assert await addresses(discovery) == ["a:8000", "b:8000"]
        assert url in discovery.problem
        now.append((200, "application/json", b"[]"))
        assert await addresses(discovery) == []
        assert discovery.problem is None
        await discovery.aclose()


class FakeDns(asyncio.DatagramProtocol):
    """A name server for a few records over real UDP; None makes it silent, a code refuses."""

    def __init__(self, records):
        self.records = records

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        asked = dns.message.from_wire(data)
        question = asked.question[0]
        told = self.records.get((question.name.to_text(), question.rdtype.name), dns.rcode.NXDOMAIN)
        if told is None:
            return
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.RA
        if isinstance(told, list):
            answer.answer.append(
                dns.rrset.from_text(question.name, 1, "IN", question.rdtype, *told)
            )
        else:
            answer.set_rcode(told)
        self.transport.sendto(answer.to_wire(), peer)


@contextlib.asynccontextmanager
async def resolving(records):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: FakeDns(records), local_addr=("127.0.0.1", 0)
    )
    try:
        yield [("127.0.0.1", transport.get_extra_info("sockname")[1])]
    finally:
        transport.close()


async def test_services_of_a_name_are_targets():
    """SRV tells host and port; a name without records has none; a failing server keeps them."""
    records = {("_m._tcp.x.", "SRV"): ["0 0 8001 b.x.", "0 0 8000 a.x."]}
    async with resolving(records) as servers:
        discovery = DnsDiscovery("_m._tcp.x", "SRV", nameservers=servers)
        first, _ = await check_discovery(discovery)
        assert first.address == "a.x:8000"
        assert first.labels["__meta_dns_name"] == "_m._tcp.x"
        records["_m._tcp.x.", "SRV"] = dns.rcode.SERVFAIL
        assert await addresses(discovery) == ["a.x:8000", "b.x:8001"]
        assert "_m._tcp.x" in discovery.problem
        records["_m._tcp.x.", "SRV"] = dns.rcode.NXDOMAIN
        assert await addresses(discovery) == []


async def test_a_resolver_that_never_answers_keeps_the_targets():
    """It is waited for so long and no longer, and the problem says that the list may be old."""
    records = {("x.y.", "A"): ["10.0.0.7"]}
    async with resolving(records) as servers:
        discovery = DnsDiscovery("x.y", "A", 8000, nameservers=servers, timeout_seconds=1.0)
        assert await addresses(discovery) == ["10.0.0.7:8000"]
        records["x.y.", "A"] = None
        async with asyncio.timeout(30):
            assert await addresses(discovery) == ["10.0.0.7:8000"]
        assert "x.y: " in discovery.problem
        assert "1 targets known last stay" in discovery.problem


@pytest.mark.parametrize(
    ("record", "told", "address"),
    [("A", "10.0.0.7", "10.0.0.7:8000"), ("AAAA", "fd00::7", "[fd00::7]:8000")],
)
async def test_addresses_of_a_name_are_targets(record, told, address):
    """A and AAAA records with the port that was set."""
    async with resolving({("x.y.", record): [told]}) as servers:
        discovery = DnsDiscovery("x.y", record, 8000, nameservers=servers)
        assert [target.address for target in await check_discovery(discovery)] == [address]


def pod(name, ports=((8000, "http"),), labels=None, annotations=None, **status):
    """A pod as the API gives it."""
    declared = [{"containerPort": number, "name": called} for number, called in ports]
    return {
        "metadata": {
            "name": name,
            "namespace": "llm",
            "labels": labels or {},
            "annotations": annotations or {},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "vllm-1", "controller": True}],
        },
        "spec": {"nodeName": "gpu-3", "containers": [{"name": "engine", "ports": declared}]},
        "status": {"podIP": "10.0.0.7", "phase": "Running", **status},
    }


def fleet():
    return [
        pod("plain"),
        pod("marked", annotations={"prometheus.io/scrape": "true", "prometheus.io/port": "9000",
                                   "prometheus.io/path": "/m", "prometheus.io/scheme": "https"}),
        pod("dynamo", labels={"nvidia.com/metrics-enabled": "true"}),
        pod("llmd", ((7000, "grpc"), (8200, "metrics")), {"llm-d.ai/engine-type": "sglang"}),
        pod("never", labels={"llm-d.ai/engine-type": "vllm"},
            annotations={"prometheus.io/scrape": "false"}),
        pod("done", annotations={"prometheus.io/scrape": "true"}, phase="Succeeded"),
        pod("pending", annotations={"prometheus.io/scrape": "true"}, podIP=None),
    ]  # fmt: skip


async def asking(api, tmp_path, **place):
    config = api.kubeconfig(tmp_path / "kubeconfig")
    return KubernetesDiscovery(KubernetesPlace(kubeconfig=str(config), **place))


async def test_marked_pods_are_targets(tmp_path):
    """Annotations of Prometheus, the labels of Dynamo and of llm-d choose pods and ports."""
    with FakeKubernetesApi("token") as api:
        api.objects["pod"] = fleet()
        found = await check_discovery(await asking(api, tmp_path))
    by_name = {target.labels["__meta_kubernetes_pod_name"]: target for target in found}
    assert {name: target.address for name, target in by_name.items()} == {
        "marked": "10.0.0.7:9000",
        "dynamo": "10.0.0.7:9090",
        "llmd": "10.0.0.7:8200",
    }
    marked = by_name["marked"].labels
    assert (marked["__scheme__"], marked["__metrics_path__"]) == ("https", "/m")
    assert marked["__meta_kubernetes_pod_annotation_prometheus_io_port"] == "9000"
    assert marked["__meta_kubernetes_pod_controller_name"] == "vllm-1"
    assert by_name["llmd"].labels["__meta_kubernetes_pod_label_llm_d_ai_engine_type"] == "sglang"


async def test_every_declared_port_of_every_pod(tmp_path):
    """With `every`, as Prometheus does it, rules choose afterwards; lists come in pages."""
    with FakeKubernetesApi() as api:
        api.objects["pod"] = [pod(f"p{n}", ((8000, "a"), (8001, "b"))) for n in range(600)]
        found = await check_discovery(await asking(api, tmp_path, every=True))
        assert len(found) == 1200
        assert sum("continue" in path for path in api.asked) == 2


async def test_namespace_and_selector_are_asked_for(tmp_path):
    """The API server chooses, so that we need no right to see the rest."""
    with FakeKubernetesApi() as api:
        api.objects["pod"] = [pod("a", labels={"app": "x"}), pod("b", labels={"app": "y"})]
        place = {"namespace": "llm", "label_selector": "app=y", "every": True}
        found = await check_discovery(await asking(api, tmp_path, **place))
    assert [target.labels["__meta_kubernetes_pod_name"] for target in found] == ["b"]
    assert "/api/v1/namespaces/llm/pods" in api.asked[0]


async def test_endpoint_slices_are_targets(tmp_path):
    """Ready endpoints of marked slices, with the service and the pod behind them."""
    with FakeKubernetesApi() as api:
        api.objects["endpointslice"] = [
            {
                "metadata": {
                    "name": "vllm-abc",
                    "namespace": "llm",
                    "labels": {
                        "kubernetes.io/service-name": "vllm",
                        "llm-d.ai/inferenceServing": "true",
                    },
                },
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 8000}],
                "endpoints": [
                    {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "p1"},
                     "nodeName": "gpu-1", "conditions": {"ready": True}},
                    {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
                ],
            }
        ]  # fmt: skip
        found = await check_discovery(await asking(api, tmp_path, role="endpointslice"))
    assert [target.address for target in found] == ["10.0.0.1:8000"]
    assert found[0].labels["__meta_kubernetes_service_name"] == "vllm"
    assert found[0].labels["__meta_kubernetes_pod_name"] == "p1"


async def test_a_failing_api_server_keeps_the_last_list(tmp_path):
    """An upgrade of the control plane must not end the scraping; a wrong token is said."""
    with FakeKubernetesApi("right") as api:
        api.objects["pod"] = fleet()
        discovery = await asking(api, tmp_path)
        assert len(await discovery.targets()) == 3
        for status in (500, 403):
            api.status = status
            assert len(await discovery.targets()) == 3
            assert str(status) in discovery.problem
        api.status, api.token = 200, "another"
        assert len(await discovery.targets()) == 3
        assert "401" in discovery.problem
        await discovery.aclose()


async def test_no_cluster_at_all_is_one_line(tmp_path):
    """A kubeconfig that is not there is said, and nothing is raised."""
    place = KubernetesPlace(kubeconfig=str(tmp_path / "none"))
    discovery = KubernetesDiscovery(place)
    assert await check_discovery(discovery) == ()
    assert "Kubernetes" in discovery.problem


@pytest.mark.parametrize(
    "text", [b"- " * 200_000, b"[" * 200_000, b"\n".join(b" " * n + b"a:" for n in range(1_000))]
)
def test_a_file_of_lists_in_lists_is_refused(text):
    """The library that reads YAML would end the process when its stack does."""
    with pytest.raises(GroupsError, match="deep"):
        read_yaml(text)


async def test_a_pipe_instead_of_a_file_holds_up_nothing(tmp_path):
    """Reading it would wait for somebody who writes."""
    os.mkfifo(tmp_path / "t.json")
    discovery = FileDiscovery(str(tmp_path / "t.json"))
    async with asyncio.timeout(5):
        assert await discovery.targets() == ()
    assert "no regular file" in discovery.problem
