"""The gateway put together: its settings, its doors at the server, its life as a child."""
