"""One page a file: layout(services) and register(app, services)."""
