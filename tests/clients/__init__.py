"""Real clients against a real server: one file for each client."""
