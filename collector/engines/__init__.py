"""Engine and exporter adapters as data: their metric name, our signal, factor, aggregation."""
