"""Shell completion: scripts that shtab writes from the parser of every command."""

import argparse
from collections.abc import Callable
from typing import Any

import shtab

from registry.examples import actions, every_command

SHELLS = ("bash", "zsh", "fish")

_FILES = {"config": shtab.FILE, "data": shtab.DIRECTORY, "directory": shtab.DIRECTORY}
"""What a shell offers for an option or argument, by its name."""


def add_completion(groups: Any, build_parser: Callable[[], argparse.ArgumentParser]) -> None:
    """Add the command."""
    completion = groups.add_parser(
        "completion", help="print a script that completes commands in your shell"
    )
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(run=lambda options: _print_script(build_parser(), options.shell))


def _print_script(parser: argparse.ArgumentParser, shell: str) -> int:
    for _, command in every_command(parser):
        for action in actions(command):
            if action.dest in _FILES and action.nargs != 0:
                action.complete = _FILES[action.dest]
    print(shtab.complete(parser, shell))
    return 0
