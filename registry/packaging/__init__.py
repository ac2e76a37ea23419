"""What every package format shares: versions are OCI artifacts, published by one set of verbs."""
