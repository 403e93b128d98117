"""What a person runs and sees: the server's HTTP side, its command line and its metrics."""

__version__ = "0.1.0"
