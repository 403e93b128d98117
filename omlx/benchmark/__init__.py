"""Measuring models where they are served: what the admin page and the scripts in `benchmarks/` share, and the runs of the page."""
