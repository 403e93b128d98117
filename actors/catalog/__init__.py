"""The owner of hard state: what is on disk, and which engines are up and why."""
