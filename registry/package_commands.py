"""The commands about packages: what there is, who sees it, and where it belongs."""

import argparse
import sys
from typing import Any

from registry.api.packages import (
    ALIAS,
    ALIASES,
    PACKAGE,
    PACKAGES,
    FreedName,
    Package,
    PackageChange,
)
from registry.api.searching import SEARCH, Found
from registry.api.tags import TAG, TAGS, NewTag, Tag
from registry.api_client import Api, split_name
from registry.deletion_commands import add_deletions
from registry.project_commands import VISIBILITIES
from registry.tables import JSON_HELP, print_document, print_records, print_rows
from registry.version_commands import add_versions
from storage.errors import Invalid

_FORM = "OWNER/NAME"
_KEPT = "the old name answers pulls until 'packhouse package release'"


def add_packages(groups: Any, asking: argparse.ArgumentParser) -> None:
    """Add the group `package`, and `search`."""
    package = groups.add_parser("package", help="packages").add_subparsers(
        required=True, metavar="ACTION"
    )

    def command(word: str, about: str, ask: Any, form: str = _FORM) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = package.add_parser(word, parents=[asking], help=about)
        added.set_defaults(ask=ask)
        added.add_argument("repository", metavar=form)
        return added

    listing = package.add_parser("list", parents=[asking], help="list packages")
    listing.set_defaults(ask=package_list)
    _add_filters(listing)
    listing.add_argument("--project", metavar="OWNER/PROJECT", help="linked to this project")
    listing.add_argument("--deleted", action="store_true", help="those that can be restored")
    listing.add_argument("--json", action="store_true", help=JSON_HELP)
    show = command("show", "show a package and its tags", package_show)
    show.add_argument("--json", action="store_true", help=JSON_HELP)
    visibility = command("visibility", "who may pull it", package_visibility)
    visibility.add_argument("visibility", choices=VISIBILITIES)
    tag = command("tag", "point a tag at a manifest it holds", package_tag)
    tag.add_argument("tag", metavar="TAG")
    tag.add_argument("digest", metavar="DIGEST")
    link = command("link", "link it to a project, or confirm", package_link)
    link.add_argument("project", metavar="OWNER/PROJECT")
    command("unlink", "end its link to a project", package_unlink)
    rename = command("rename", "give it another name", package_rename)
    rename.add_argument("name", metavar="OWNER/NEW")
    transfer = command("transfer", "give it to another owner", package_transfer)
    transfer.add_argument("owner", metavar="NEW-OWNER")
    command("release", "free a name it had before", package_release, "OLD-OWNER/OLD-NAME")
    add_versions(package, asking)
    add_deletions(package, asking)
    search = groups.add_parser("search", parents=[asking], help="find packages by words")
    search.set_defaults(ask=package_search)
    search.add_argument("words", metavar="WORD", nargs="+", help="the last may be a beginning")
    _add_filters(search)
    search.add_argument("--json", action="store_true", help=JSON_HELP)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--owner", metavar="OWNER", help="of this owner")
    parser.add_argument("--format", metavar="FORMAT", help="of this format: container, npm, …")
    parser.add_argument("--visibility", choices=VISIBILITIES, help="seen by these")


async def package_list(api: Api, options: argparse.Namespace) -> None:
    """List the packages that the caller may see: all, for the operator."""
    packages = await api.all(
        Package,
        PACKAGES,
        owner=options.owner,
        project=options.project,
        format=options.format,
        visibility=options.visibility,
        deleted=options.deleted or None,
    )
    print_rows([_package(package) for package in packages], as_json=options.json)


async def package_search(api: Api, options: argparse.Namespace) -> None:
    """Find packages by the words of their names and annotations."""
    found = await api.all(
        Found,
        SEARCH,
        q=" ".join(options.words),
        owner=options.owner,
        format=options.format,
        visibility=options.visibility,
    )
    rows = [
        {
            "repository": one.name,
            "format": one.format,
            "visibility": one.visibility,
            "project": (one.project or "").partition("/")[2],
            "title": one.title,
            "description": one.description,
        }
        for one in found
    ]
    print_rows(rows, as_json=options.json)


async def package_show(api: Api, options: argparse.Namespace) -> None:
    """Show a package and its tags."""
    names = split_name(options.repository, _FORM)
    package = _package(await api.get(Package, PACKAGE, *names))
    tags = [
        {"tag": tag.name, "digest": tag.digest, "updated": tag.updated_at}
        for tag in await api.all(Tag, TAGS, *names)
    ]
    aliases = await api.all(str, ALIASES, *names)
    if options.json:
        print_document({**package, "tags": tags, "aliases": aliases})
    elif sys.stdout.isatty():
        print_rows([package], as_json=False)
        print()
        print_rows(tags, as_json=False)
        print_rows([{"alias": name} for name in aliases], as_json=False)
    else:
        print_records([package], "package")
        print_records(tags, "tag")
        print_records([{"alias": name} for name in aliases], "alias")


async def package_visibility(api: Api, options: argparse.Namespace) -> None:
    """Open or close a package."""
    await _change(api, options.repository, PackageChange(visibility=options.visibility))
    print(f"{options.repository} is {options.visibility}", file=sys.stderr)


async def package_tag(api: Api, options: argparse.Namespace) -> None:
    """Point a tag at a manifest, as a push of that would."""
    names = split_name(options.repository, _FORM)
    tag = await api.ask(Tag, "PUT", TAG, *names, options.tag, body=NewTag(options.digest))
    print(f"{options.repository}:{tag.name} is {tag.digest}", file=sys.stderr)


async def package_link(api: Api, options: argparse.Namespace) -> None:
    """Link a package to a project of the same owner: its roles, and its visibility."""
    if options.project.partition("/")[0] != options.repository.partition("/")[0]:
        raise Invalid("a package links to a project of its own owner only")
    seen = await _change(api, options.repository, PackageChange(project=options.project))
    print(
        f"{options.repository} is linked to {options.project}, and {seen.visibility}",
        file=sys.stderr,
    )


async def package_unlink(api: Api, options: argparse.Namespace) -> None:
    """End a package's link: its own visibility and grants count again."""
    seen = await _change(api, options.repository, PackageChange(project=None))
    print(f"{options.repository} is linked to no project, and {seen.visibility}", file=sys.stderr)


async def package_rename(api: Api, options: argparse.Namespace) -> None:
    """Give a package another name; pulls of the old one go on."""
    owner, name = split_name(options.name, "OWNER/NEW")
    if owner != options.repository.partition("/")[0]:
        raise Invalid(
            f"{options.name} is another owner's: "
            f"'packhouse package transfer {options.repository} {owner}' first"
        )
    await _change(api, options.repository, PackageChange(name=name))
    print(f"{options.repository} is {options.name} now; {_KEPT}", file=sys.stderr)


async def package_transfer(api: Api, options: argparse.Namespace) -> None:
    """Give a package to another owner; pulls of the old name go on, by the new owner's leave."""
    now = await _change(api, options.repository, PackageChange(owner=options.owner))
    print(f"{options.repository} is {now.name} now; {_KEPT}", file=sys.stderr)


async def package_release(api: Api, options: argparse.Namespace) -> None:
    """Free a name that a package had before: pulls of it end, and others may take it."""
    freed = await api.ask(FreedName, "DELETE", ALIAS, *split_name(options.repository, _FORM))
    print(f"{options.repository} is free; what had that name is {freed.package}", file=sys.stderr)


async def _change(api: Api, repository: str, change: PackageChange) -> Package:
    return await api.ask(Package, "PATCH", PACKAGE, *split_name(repository, _FORM), body=change)


def _package(package: Package) -> dict[str, Any]:
    return {
        "repository": package.name,
        "format": package.format,
        "visibility": package.visibility,
        "project": (package.project or "").partition("/")[2],
        "unconfirmed": package.unconfirmed or "",
        "created": package.created_at,
        "name": package.true_name,
    }
