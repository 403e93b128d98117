"""The server's Prometheus metrics: what there is, where it is counted, how it is read."""
