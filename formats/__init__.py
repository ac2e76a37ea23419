"""One thin adapter per package format; each stores its packages as OCI artifacts."""
