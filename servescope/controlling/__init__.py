"""The control loop inside the server, and what API, command line and dashboard are told of it."""
