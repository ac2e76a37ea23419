"""Bytes and rows: blob stores and databases. Knows nothing of HTTP, OCI or people."""
