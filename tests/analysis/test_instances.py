"""What instances are called."""

import pytest

from analysis.instances import instance_name

NAMES = {
    "http://gpu-3:8000/metrics": "gpu-3:8000",
    "remote-write://vllm/gpu-3:8000": "gpu-3:8000",
    "remote-write://a%2Fb/%5B::1%5D:80": "[::1]:80",
    "otlp://llama-8b/pod-1": "pod-1",
    "otlp://llama-8b/": "llama-8b",
    "agent://n1/http://localhost:8000/metrics": "n1:8000",
    "agent://n1/http://127.0.0.1:8001/metrics": "n1:8001",
    "agent://n1/http://[::1]:8002/metrics": "n1:8002",
    "agent://n1/http://gpu-3:8000/metrics": "gpu-3:8000",
    "agent://n1/http://localhost/metrics": "n1",
    "agent://n1": "n1",
}


@pytest.mark.parametrize("url", NAMES)
def test_an_instance_has_its_own_name(url):
    """Two replicas of one job are never one instance."""
    assert instance_name(url) == NAMES[url]
