"""Measures oMLX as its clients see it; method and results: README.md beside this file."""
