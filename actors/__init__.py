"""The owners of long-lived state, and how they talk across processes. Knows nothing of HTTP or Prometheus."""
