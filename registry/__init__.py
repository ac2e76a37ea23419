"""The OCI core: the distribution API, its services, the server and the command line."""
