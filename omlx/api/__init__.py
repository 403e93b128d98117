"""The HTTP routes, and what they have in common."""
