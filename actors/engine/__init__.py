"""The owner of one loaded model: its step thread, its text, its streams."""
