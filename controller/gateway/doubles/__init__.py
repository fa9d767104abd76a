"""Doubles of both sides of the gateway, for tests: real sockets, made-up words."""
