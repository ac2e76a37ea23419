"""GitHub's REST API for packages under /api/v3, for the programs that speak it."""
