"""The commands about what a package holds: its versions, and how its tags moved."""

import argparse
from typing import Any

from registry.api.installing import INSTALL, Instructions
from registry.api.tags import CHANGES, HISTORY, TagChange
from registry.api.versions import VERSIONS, PackageVersion
from registry.api_client import Api, split_name
from registry.tables import JSON_HELP, print_rows

_FORM = "OWNER/NAME"


def add_versions(package: Any, asking: argparse.ArgumentParser) -> None:
    """Add the actions of `package`."""
    versions = package.add_parser("versions", parents=[asking], help="list its versions")
    history = package.add_parser("history", parents=[asking], help="who moved a tag when")
    for action, ask in ((versions, package_versions), (history, package_history)):
        action.add_argument("repository", metavar=_FORM)
        action.set_defaults(ask=ask)
        action.add_argument("--json", action="store_true", help=JSON_HELP)
    install = package.add_parser("install", parents=[asking], help="say how it is installed")
    install.add_argument("repository", metavar=_FORM)
    install.add_argument("--version", help="a version or tag (default: the newest)")
    install.add_argument("--json", action="store_true", help=JSON_HELP)
    install.set_defaults(ask=package_install)
    versions.add_argument("--deleted", action="store_true", help="those that can be restored")
    history.add_argument("--tag", help="one tag (default: all)")


async def package_versions(api: Api, options: argparse.Namespace) -> None:
    """List the versions of a package, newest first."""
    names = split_name(options.repository, _FORM)
    deleted = options.deleted or None
    rows = [
        {
            "digest": version.digest,
            "tags": ",".join(version.tags),
            "type": version.artifact_type or version.media_type,
            "size": version.size,
            "by": version.pushed_by or "",
            "created": version.created_at,
            "deleted": version.deleted_at or "",
            "version": version.name,
        }
        for version in await api.all(PackageVersion, VERSIONS, *names, deleted=deleted)
    ]
    print_rows(rows, as_json=options.json)


async def package_install(api: Api, options: argparse.Namespace) -> None:
    """Say what to type to install a package, for each client."""
    names = split_name(options.repository, _FORM)
    found = await api.get(list[Instructions], INSTALL, *names, version=options.version)
    rows = [{"client": each.client, "line": line} for each in found for line in each.lines]
    print_rows(rows, as_json=options.json)


async def package_history(api: Api, options: argparse.Namespace) -> None:
    """Say who moved a tag when, newest first."""
    names = split_name(options.repository, _FORM)
    if options.tag:
        changes = await api.all(TagChange, HISTORY, *names, options.tag)
    else:
        changes = await api.all(TagChange, CHANGES, *names)
    rows = [
        {
            "tag": change.tag,
            "digest": change.digest or "deleted",
            "by": change.by or "",
            "at": change.at,
        }
        for change in changes
    ]
    print_rows(rows, as_json=options.json)
