"""The manifests: a Kubernetes takes them, pods are confined, and what they name is ours."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from controller.actuators import desired_gauge, keda_external
from controller.settings import ControllerSettings
from servescope import reference
from servescope.config import SECTIONS, load
from servescope.gateway.settings import GatewaySettings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(FOLDER.rglob("*.yaml"))
VERSIONS = ("1.33", "1.37")
OURS = {"keda.sh", "monitoring.coreos.com", "kustomize.config.k8s.io"}
"""Groups that no Kubernetes brings: kubernetes-validate does not know them."""


def objects(path):
    """The objects of a file; values of a chart are none."""
    return [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one and "kind" in one]


EVERY = [(path, one) for path in FILES for one in objects(path)]


def named(pair):
    return f"{pair[0].name}-{pair[1]['kind']}-{pair[1].get('metadata', {}).get('name', '')}"


PODS = [pair for pair in EVERY if pair[1]["kind"] in {"StatefulSet", "DaemonSet", "Deployment"}]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("pair", EVERY, ids=named)
def test_a_kubernetes_takes_it(pair, version):
    """By the schema of that release, unknown fields refused."""
    if pair[1]["apiVersion"].split("/")[0] in OURS:
        pytest.skip("a kind of its own: no schema in Kubernetes")
    validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed: NOT validated"
    )
    assert validate.validate(pair[1], version, strict=True).startswith(version)


def test_kustomize_puts_them_together():
    """All files but the rights in other people's namespaces and the examples."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl here: the kustomization was NOT put together")
    done = subprocess.run(
        [program, "kustomize", FOLDER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = [one for one in yaml.safe_load_all(done.stdout) if one]
    kept = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))["resources"]
    assert len(made) == sum(len(objects(FOLDER / name)) for name in kept)
    assert {path.name for path in FOLDER.glob("*.yaml")} - set(kept) == {
        "kustomization.yaml", "rbac-llm.yaml",
    }  # fmt: skip


@pytest.mark.parametrize("pair", PODS, ids=named)
def test_a_pod_is_restricted(pair):
    """As the Pod Security Standard `restricted` wants it, and its root is read-only."""
    spec = pair[1]["spec"]["template"]["spec"]
    whole = spec["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert whole["runAsUser"] == whole["runAsGroup"] == whole["fsGroup"] == 10001
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert container["resources"]["limits"]["memory"]
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "emptyDir", "secret"}


@pytest.mark.parametrize("pair", PODS, ids=named)
def test_only_the_server_may_ask_the_api_server(pair):
    """Agent and gateway get no token of a service account."""
    spec = pair[1]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is (pair[1]["kind"] == "StatefulSet")


@pytest.mark.parametrize("pair", PODS, ids=named)
def test_its_command_and_settings_exist(pair):
    """What is typed and set is known to the program."""
    (container,) = pair[1]["spec"]["template"]["spec"]["containers"]
    command, *rest = container["args"]
    (found,) = (one for name, one in reference.commands() if name.split()[-1] == command)
    options = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options
    for variable in container["env"]:
        if variable["name"].startswith("SERVESCOPE_"):
            section, _, key = variable["name"].removeprefix("SERVESCOPE_").lower().partition("__")
            assert key in SECTIONS[section].__dataclass_fields__, variable["name"]


@pytest.mark.parametrize(
    ("path", "one"),
    [pair for pair in EVERY if pair[1]["kind"] == "ConfigMap"],
    ids=lambda part: part["metadata"]["name"] if isinstance(part, dict) else "",
)
def test_its_configuration_fits(path, one, tmp_path):
    """The server's own check takes each file; secrets are named by files."""
    for name, text in one["data"].items():
        (tmp_path / name).write_text(text)
        if name != "slo.toml":
            load(tmp_path / name, {}, {"XDG_CONFIG_HOME": str(tmp_path)})
        assert "secret =" not in text
        assert "token =" not in text


@pytest.mark.parametrize("pair", PODS, ids=named)
def test_what_it_mounts_is_there(pair):
    """Volumes for mounts; ConfigMaps in the same file; a place for each file that is configured."""
    path, one = pair
    spec = one["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    claims = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == claims | {volume["name"] for volume in spec["volumes"]}
    maps = {other["metadata"]["name"]: other for other in objects(path)
            if other["kind"] == "ConfigMap"}  # fmt: skip
    (config,) = (v["configMap"]["name"] for v in spec["volumes"] if "configMap" in v)
    for text in maps[config]["data"].values():
        for table in tomllib.loads(text).values():
            for key, value in table.items():
                if key.endswith("_file"):
                    assert str(Path(value).parent) in mounts.values(), value


def test_a_gateway_may_end_its_streams():
    """The grace of its pods is longer than a drain."""
    (one,) = (one for _, one in PODS if one["metadata"]["name"] == "servescope-gateway")
    grace = one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > GatewaySettings().drain_seconds + 5


def example(name):
    (one,) = objects(FOLDER / "examples" / name)
    return one


def commented_pool(name):
    """The pool in the comment of an example, as the controller reads it."""
    lines = (FOLDER / "examples" / name).read_text("utf-8").splitlines()
    text = "\n".join(line[4:] for line in lines if line.startswith("#   "))
    (pool,) = ControllerSettings(pool=tuple(tomllib.loads(text)["controller"]["pool"])).pools()
    return pool


def test_the_scaled_object_asks_for_a_pool_that_there_is():
    """By the address of our Service, the pool by its name, the metric as the scaler gives it."""
    spec, pool = example("keda-scaledobject.yaml")["spec"], commented_pool("keda-scaledobject.yaml")
    (trigger,) = spec["triggers"]
    settings = {key: value for key, value in pool.actuator.items() if key != "kind"}
    keda_external.KedaSettings(pools={pool.name: keda_external.KedaPool()}, **settings)
    host, _, port = trigger["metadata"]["scalerAddress"].partition(":")
    service = next(one for path, one in EVERY
                   if one["kind"] == "Service" and path.name == "server.yaml")  # fmt: skip
    assert host == f"{service['metadata']['name']}.{service['metadata']['namespace']}"
    assert int(port) in {one["port"] for one in service["spec"]["ports"]}
    assert settings["listen"].endswith(f":{port}")
    assert (pool.kind, trigger["type"]) == ("keda_external", "external-push")
    assert trigger["metadata"]["pool"] == pool.name
    assert trigger["metricType"] == "AverageValue"


def test_the_hpa_follows_our_gauge():
    """The metric's name and label are those of the server's page; a target of 1 is that number."""
    (metric,) = example("hpa.yaml")["spec"]["metrics"]
    external, pool = metric["external"], commented_pool("hpa.yaml")
    assert external["metric"]["name"] == desired_gauge.METRIC
    assert external["metric"]["selector"]["matchLabels"] == {"pool": pool.name}
    assert external["target"] == {"type": "AverageValue", "averageValue": "1"}
    assert pool.kind == "desired"
    adapter = yaml.safe_load((FOLDER / "examples" / "prometheus-adapter.yaml").read_text("utf-8"))
    (rule,) = adapter["rules"]["external"]
    assert rule["seriesQuery"].startswith(desired_gauge.METRIC + "{pool")


@pytest.mark.parametrize("name", ["keda-scaledobject.yaml", "hpa.yaml"])
def test_small_changes_are_followed(name):
    """Without a tolerance of 0 the HPA ignores 20 -> 21."""
    spec = example(name)["spec"]
    behaviour = (
        spec.get("behavior") or spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    )
    assert {behaviour[way]["tolerance"] for way in ("scaleUp", "scaleDown")} == {"0"}
