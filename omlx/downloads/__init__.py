"""Models from elsewhere: fetched into a hidden folder, checked, and shown by one rename."""
