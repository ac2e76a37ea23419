"""One example line for the help of every command."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

EXAMPLES = {
    "serve": "packhouse serve --config /etc/packhouse/packhouse.yaml",
    "config check": "packhouse config check --config /etc/packhouse/packhouse.yaml",
    "login": "packhouse login https://packages.example.com --user alice",
    "logout": "packhouse logout https://packages.example.com",
    "whoami": "packhouse whoami --url https://packages.example.com",
    "user create": "packhouse user create alice --password-stdin < password.txt",
    "user password": "packhouse user password admin",
    "user disable": "packhouse user disable alice",
    "user enable": "packhouse user enable alice",
    "user link": "packhouse user link alice https://login.example.com 8f3a2c",
    "user unlink": "packhouse user unlink alice https://login.example.com 8f3a2c",
    "user identities": "packhouse user identities alice --json",
    "user show": "packhouse user show alice --url https://packages.example.com",
    "user promote": "packhouse user promote alice",
    "user demote": "packhouse user demote alice",
    "user list": "packhouse user list --json",
    "org create": "packhouse org create acme --owner alice",
    "org list": "packhouse org list --json",
    "org members": "packhouse org members acme",
    "org add": "packhouse org add acme bob",
    "org remove": "packhouse org remove acme bob",
    "team create": "packhouse team create acme/devs",
    "team delete": "packhouse team delete acme/devs",
    "team list": "packhouse team list acme",
    "team show": "packhouse team show acme/devs --json",
    "team add": "packhouse team add acme/devs bob --maintainer",
    "team remove": "packhouse team remove acme/devs bob",
    "project create": "packhouse project create acme/widget --visibility public",
    "project list": "packhouse project list acme",
    "project visibility": "packhouse project visibility acme/widget internal",
    "project rename": "packhouse project rename acme/widget gadget",
    "project source": "packhouse project source acme/widget --add https://git.example.com/acme/widget",
    "owner default-visibility": "packhouse owner default-visibility acme internal",
    "owner rename": "packhouse owner rename acme acme-labs",
    "owner names": "packhouse owner names acme-labs",
    "owner release": "packhouse owner release acme",
    "grant": "packhouse grant acme/widget bob write",
    "grants": "packhouse grants acme/widget --json",
    "token create": "packhouse token create --user bob --scope read --expires 30d",
    "token list": "packhouse token list --user bob",
    "token revoke": "packhouse token revoke 7",
    "key rotate": "packhouse key rotate",
    "key list": "packhouse key list --json",
    "package list": "packhouse package list --json",
    "package show": "packhouse package show acme/app",
    "package versions": "packhouse package versions acme/app",
    "package install": "packhouse package install acme/npm/pad --version 1.0.0",
    "package tag": f"packhouse package tag acme/app stable sha256:{'0' * 64}",
    "package visibility": "packhouse package visibility acme/app public",
    "package history": "packhouse package history acme/app --tag v1",
    "package link": "packhouse package link acme/app acme/widget",
    "package unlink": "packhouse package unlink acme/app",
    "package rename": "packhouse package rename acme/app acme/server",
    "package transfer": "packhouse package transfer acme/app beta",
    "package release": "packhouse package release acme/app",
    "search": "packhouse search nginx --visibility public",
    "package delete": "packhouse package delete acme/app --tag v1",
    "package restore": "packhouse package restore acme/app --deletion 3",
    "package purge": "packhouse package purge acme/app --deletion 3",
    "package deletions": "packhouse package deletions acme/app",
    "audit": "packhouse audit --owner acme --since 2026-11-01 --json",
    "gc": "packhouse gc --dry-run",
    "why": f"packhouse why sha256:{'0' * 64}",
    "fsck": "packhouse fsck --rate 50000000",
    "backup": "packhouse backup /var/backups/packhouse",
    "restore": "packhouse restore /var/backups/packhouse --data /var/lib/packhouse",
    "doctor": "packhouse doctor --config /etc/packhouse/packhouse.yaml",
    "completion": 'eval "$(packhouse completion bash)"',
}
"""By the words of a command; a test holds them complete, and readable by the parser."""


def add_examples(parser: argparse.ArgumentParser) -> None:
    """End the help of every command with its example."""
    for words, command in every_command(parser):
        example = EXAMPLES.get(" ".join(words))
        if example is not None:
            command.formatter_class = argparse.RawDescriptionHelpFormatter
            command.epilog = f"example:\n  {example}"


def every_command(
    parser: argparse.ArgumentParser, words: Sequence[str] = ()
) -> Iterator[tuple[Sequence[str], argparse.ArgumentParser]]:
    """Yield the words and the parser of every command below a parser."""
    inner = [action for action in actions(parser) if isinstance(action.choices, dict)]
    if not inner:
        yield words, parser
    for group in inner:
        for word, child in group.choices.items():
            yield from every_command(child, [*words, word])


def actions(parser: argparse.ArgumentParser) -> Sequence[Any]:
    """Return the options and arguments of a parser, which argparse keeps to itself."""
    return list(parser._actions)
