"""The workload views, for `analysis.views.VIEWS`."""

from __future__ import annotations

from analysis.workload.arrival_view import workload_arrivals
from analysis.workload.burst_view import workload_burstiness
from analysis.workload.client_view import workload_clients
from analysis.workload.failure_view import workload_failures
from analysis.workload.length_view import workload_lengths
from analysis.workload.prefix_view import workload_prefix
from analysis.workload.session_view import workload_sessions

__all__ = [
    "workload_arrivals",
    "workload_burstiness",
    "workload_clients",
    "workload_failures",
    "workload_lengths",
    "workload_prefix",
    "workload_sessions",
]
