"""Frames in, frames out: what the rows mean. Imports only store."""
