"""What every package format shares: its versions are OCI artifacts, published by one set of verbs."""
