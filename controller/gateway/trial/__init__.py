"""A simulated trial: the gate that serves, before simulated replicas. Not loaded by the proxy."""
