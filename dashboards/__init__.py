"""What Grafana and Prometheus show of a server: dashboards, which are made here, alerts, and a picture without Grafana."""
