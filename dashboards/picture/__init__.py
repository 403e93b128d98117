"""Draws a dashboard from Prometheus' answers, for where Grafana can't run."""
