"""A real engine with a tiny random model under real load, for `servescope demo --live`."""
