"""Process assembly: CLI, configuration, REST API, server, demo. No domain logic."""
