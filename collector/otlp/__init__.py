"""OTLP: what exporters and collectors send, as request rows and canonical samples."""
