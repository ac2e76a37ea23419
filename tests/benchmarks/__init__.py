"""Benchmarks: Packhouse beside other servers, one client for all; `python -m tests.benchmarks`."""
