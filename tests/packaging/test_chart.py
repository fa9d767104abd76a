"""The Helm chart: its values, and what it renders to, which are the plain manifests again."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "servescope"
MANIFESTS = ROOT / "deploy" / "kubernetes"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
GO = Path("/usr/share/gocode")
PACKAGES = "golang-go golang-github-masterminds-sprig-dev golang-gopkg-yaml.v3-dev"
WHOLE = {
    "gateway": {"enabled": True},
    "engines": [
        {
            "namespace": "llm",
            "scale": [{"group": "apps", "resource": "deployments", "name": "chat"}],
        }
    ],
    "serviceMonitor": {"enabled": True},
}


@pytest.fixture(scope="module")
def render(tmp_path_factory):
    """Renders the chart with values over the defaults; gives the objects."""
    go, folder = shutil.which("go"), tmp_path_factory.mktemp("chart")
    if go is None or not (GO / "src/github.com/Masterminds/sprig").exists():
        pytest.skip(
            f"no Go with sprig here (apt-get install {PACKAGES}): the chart is NOT rendered"
        )
    settings = {"GO111MODULE": "off", "GOPATH": str(GO), "GOCACHE": str(folder / "cache")}
    program = folder / "render"
    source = Path(__file__).parent / "chart" / "render.go"
    subprocess.run([go, "build", "-o", program, source], env=os.environ | settings, check=True)

    def rendered(values=WHOLE, release="servescope"):
        file = folder / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        done = subprocess.run(
            [program, CHART, release, "servescope", file],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        parts = done.stdout.split("---\n# Source: ")[1:]
        text = "\n---\n".join(part.split("\n", 1)[1] for part in parts if "NOTES" not in part[:9])
        return [one for one in yaml.safe_load_all(text) if one]

    return rendered


def named(one):
    return one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]


def plain(value, key=""):
    """Without what the chart adds or leaves to the user: labels, configuration, the image."""
    if isinstance(value, dict):
        dropped = {"annotations", "imagePullPolicy", "fsGroupChangePolicy", "data"}
        return {
            name: plain(one, name)
            for name, one in value.items()
            if name not in dropped
            and not (key == "metadata" and name == "labels")
            and not (name == "metadata" and isinstance(one, dict) and "labels" in one and key)
            and not name.startswith(("helm.sh/", "app.kubernetes.io/instance"))
        }
    if isinstance(value, list):
        return [plain(one) for one in value if not is_address(one)]
    return "servescope" if key == "image" else value


def is_address(one):
    """The server's address is in the environment here, in the configuration there."""
    return isinstance(one, dict) and str(one.get("name", "")).endswith("__SERVER")


def test_what_it_renders_is_what_the_manifests_say(render):
    """One of each, field by field."""
    files = [*MANIFESTS.glob("*.yaml"), MANIFESTS / "examples" / "servicemonitor.yaml"]
    wanted = {
        named(one): plain(one)
        for path in files
        for one in yaml.safe_load_all(path.read_text("utf-8"))
        if one["kind"] not in {"Namespace", "Kustomization"}
    }
    found = {named(one): plain(one) for one in render()}
    assert found.keys() == wanted.keys()
    for key, one in wanted.items():
        assert found[key] == one, key


@pytest.mark.parametrize(
    "values",
    [
        {}, WHOLE,
        {"agent": {"enabled": False}, "networkPolicy": {"enabled": False}},
        {"image": {"digest": "sha256:" + "0" * 64, "pullSecrets": ["registry"]},
         "server": {"secrets": {"oidc": "oidc"}, "allowedHosts": ["scope.example"],
                    "backupClaim": "backups", "envSecrets": ["lake"],
                    "storage": {"className": "fast"}, "nodeSelector": {"disk": "ssd"},
                    "tolerations": [{"operator": "Exists"}],
                    "affinity": {"nodeAffinity": {}}},
         "agent": {"runtimeClassName": "nvidia", "spoolHostPath": "/var/lib/scope",
                   "server": "https://scope.example", "nodeSelector": {"card": "h200"}},
         "gateway": {"enabled": True, "replicas": 1, "tenantsSecret": "tenants",
                     "tolerations": [{"operator": "Exists"}]},
         "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    ],
    ids=["defaults", "whole", "less", "everything"],
)  # fmt: skip
def test_a_kubernetes_takes_what_it_renders(render, values):
    """Unknown fields refused; and the schema of the values takes what was given."""
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing")
    schema().validate(over(VALUES, values))
    for one in render(values, "release-of-somebody"):
        if one["apiVersion"].split("/")[0] != "monitoring.coreos.com":
            validate.validate(one, "1.37", strict=True)
        assert one["metadata"]["name"].startswith("release-of-somebody")


def over(values, others):
    """As Helm merges values."""
    merged = dict(values)
    for key, value in others.items():
        both = isinstance(value, dict) and isinstance(values.get(key), dict)
        merged[key] = over(values[key], value) if both else value
    return merged


def schema():
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is missing")
    told = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    return jsonschema.Draft7Validator(told)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sever": {}}, {"server": {"replicas": 3}}, {"gateway": {"replicas": 0}},
        {"image": {"digest": "latest"}}, {"engines": [{"scale": []}]},
        {"agent": {"server": "scope.example"}}, {"server": {"secrets": {"oidc": "/etc"}}},
    ],
)  # fmt: skip
def test_the_schema_refuses_what_cannot_work(wrong):
    """Before anything is installed; a word that is not a value is one of them."""
    assert list(schema().iter_errors(VALUES)) == []
    assert list(schema().iter_errors(over(VALUES, wrong)))


def test_every_value_that_a_template_asks_for_is_there():
    """And every value is asked for by a template."""
    text = "".join(path.read_text("utf-8") for path in (CHART / "templates").iterdir())
    asked = set(re.findall(r"\.Values\.([a-zA-Z]+(?:\.[a-zA-Z]+)*)", text))
    there = set()
    for section, inside in VALUES.items():
        there |= {f"{section}.{key}" for key in inside} if isinstance(inside, dict) else {section}
    storage = {"server.storage.size", "server.storage.className"}
    assert asked - storage <= there
    assert there - asked <= {"server.storage"}


def test_its_version_is_that_of_the_project():
    """The chart installs the image of its own release."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert chart["appVersion"] == chart["version"] == project["version"]
