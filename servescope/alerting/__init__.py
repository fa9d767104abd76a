"""Alerts of a running server: rules are asked, changes are kept, receivers are told."""
