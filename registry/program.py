"""Where the program begins: Ctrl-C is quiet from here on, while the rest is still being read."""


def main() -> int:
    """Run the command line; returns its exit status."""
    try:
        from registry.cli import main as run  # noqa: PLC0415 - a second in which Ctrl-C may come
    except KeyboardInterrupt:
        return 130
    return run()
