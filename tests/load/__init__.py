"""Loads that do not fit: more connections, and slower ones, than a server likes."""
