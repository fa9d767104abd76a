"""The labels of a pushed series: what the specification asks of them, and how they are written."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from urllib.parse import quote

from collector.remote_write.proto import v1_pb2

Labels = tuple[tuple[str, str], ...]

NAME = "__name__"
MOST_BYTES = 16_384
SCHEME = "remote-write://"
NO_LABELS = b"\xff"

TOO_LONG = f"its labels are longer than {MOST_BYTES:,} bytes"


def fault(labels: Sequence[tuple[str, str]]) -> str | None:
    """What is wrong with the labels of a series by the specification; None when nothing is."""
    names = [name for name, _ in labels]
    if NAME not in names:
        return f"it has no metric name (label {NAME})"
    if not all(name and value for name, value in labels):
        return "a label has an empty name or an empty value"
    if any(first == second for first, second in itertools.pairwise(names)):
        return "a label name stands there twice"
    if any(first > second for first, second in itertools.pairwise(names)):
        return "its labels are not sorted by name"
    return None


def encoded(labels: Sequence[tuple[str, str]]) -> bytes:
    """The labels as remote-write 1.0 has them on the wire: what a series is known by."""
    series = v1_pb2.TimeSeries(
        labels=[v1_pb2.Label(name=name, value=value) for name, value in labels]
    )
    # A series without labels is no series; its key must not be empty, because nothing is one.
    return bytes(series.SerializeToString()) or NO_LABELS


def target_url(labels: dict[str, str]) -> str | None:
    """The target that a series belongs to, by job and instance; None without both.

    >>> target_url({"job": "vllm", "instance": "gpu-3:8000"})
    'remote-write://vllm/gpu-3:8000'
    """
    job, instance = labels.get("job"), labels.get("instance")
    if not job or not instance:
        return None
    return f"{SCHEME}{quote(job, safe='')}/{quote(instance, safe=':[]')}"
