"""Where the program begins: Ctrl-C is quiet from here on, while the rest is still being read."""

import gc


def main() -> int:
    """Run the command line; returns its exit status."""
    gc.disable()  # code stays: to look through it for garbage, while it is read, takes long
    try:
        from registry.cli import main as run  # noqa: PLC0415 - a second in which Ctrl-C may come
    except KeyboardInterrupt:
        return 130
    gc.freeze()  # nor is it looked through later, or at the end: a third of a short command's time
    gc.enable()
    return run()
