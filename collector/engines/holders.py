"""Whose a series is: labels of pods, straight from an exporter or through a Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from collector.engines.adapter import Rule


def also_exported(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels, and the same under the names that such a Prometheus gives them; those win.

    >>> also_exported({"pod": "pod"})
    {'pod': 'pod', 'exported_pod': 'pod'}
    """
    return {**labels, **{f"exported_{theirs}": ours for theirs, ours in labels.items()}}


def holder_rows(family: str, card: Mapping[str, str]) -> tuple[Rule, Rule]:
    """The holder of a card as the exporter tells it, and as a Prometheus in between does.

    Unless it is told to honour labels, Prometheus puts the exporter's own pod into `pod` and the
    holder into `exported_pod`.

    Args:
        family: one that every card and slice shows.
        card: labels of the card.
    """
    told = Rule(
        family,
        "gpu_held",
        labels={**card, "pod": "pod", "namespace": "namespace", "container": "container"},
        across="max",
        reads="label_names",
        label="pod",
        zero_is_unknown=True,
        fallback=True,
        formula="1 for each card and pod",
        note="Needs the exporter's Kubernetes mapping.",
    )
    passed_on = replace(
        told,
        labels={
            **card,
            "exported_pod": "pod",
            "exported_namespace": "namespace",
            "exported_container": "container",
        },
        where=(),
        label="exported_pod",
        fallback=False,
        note="Needs the exporter's Kubernetes mapping. Read from `exported_pod` where a Prometheus "
        "in between has put the exporter's own pod into `pod`.",
    )
    return passed_on, told
