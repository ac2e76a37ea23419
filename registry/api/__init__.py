"""The REST API under /api/v1: what the pages and the command line work with."""
