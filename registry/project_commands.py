"""The commands about projects: who sees them, and which source URLs name them."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from auth.audit import OPERATOR
from auth.principals import Visibility
from auth.sources import parse_source
from registry.app import Services
from registry.tables import print_rows
from storage.clock import rfc3339

VISIBILITIES = [member.name.lower() for member in Visibility]


def add_projects(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add the group `project`."""
    project = groups.add_parser("project", help="source repositories").add_subparsers(
        required=True, metavar="ACTION"
    )

    def command(word: str, about: str, run: Any) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = project.add_parser(word, parents=[common], help=about)
        added.set_defaults(command=run)
        added.add_argument("path", metavar="OWNER" if word == "list" else "OWNER/NAME")
        return added

    create = command("create", "make a project", project_create)
    create.add_argument("--visibility", choices=VISIBILITIES, default="private")
    create.add_argument("--source", metavar="URL", help="where its source lives")
    listing = command("list", "list an owner's projects", project_list)
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    visibility = command("visibility", "who may pull its packages", project_visibility)
    visibility.add_argument("visibility", choices=VISIBILITIES)
    command("rename", "give it another name", project_rename).add_argument("name", metavar="NAME")
    source = command("source", "list, add or remove its source URLs", project_source)
    change = source.add_mutually_exclusive_group()
    change.add_argument("--add", metavar="URL", help="images that name it are linked when made")
    change.add_argument("--remove", metavar="URL", help="what it has linked stays linked")
    source.add_argument("--json", action="store_true", help="print one JSON document")


async def project_create(services: Services, options: argparse.Namespace) -> None:
    """Make a project."""
    if options.source is not None:
        parse_source(options.source)  # before there is a project without it
    await services.projects.create(OPERATOR, options.path, Visibility[options.visibility.upper()])
    print(f"project {options.path} made", file=sys.stderr)
    if options.source is not None:
        await services.projects.add_source(OPERATOR, options.path, options.source)


async def project_list(services: Services, options: argparse.Namespace) -> None:
    """List the projects of an owner."""
    owner = await services.accounts.get(options.path, "user", "organization")
    rows: list[Mapping[str, Any]] = []
    after = ""
    while page := await services.projects.list(owner.name, after):
        after = page[-1]["name"].lower()
        rows += [
            {
                "project": f"{row['owner']}/{row['name']}",
                "visibility": Visibility(row["visibility"]).name.lower(),
                "created": rfc3339(row["created_at"]),
            }
            for row in page
        ]
    print_rows(rows, as_json=options.json)


async def project_visibility(services: Services, options: argparse.Namespace) -> None:
    """Open or close a project, and what is linked to it."""
    visibility = Visibility[options.visibility.upper()]
    count = await services.projects.set_visibility(OPERATOR, options.path, visibility)
    packages = "1 package" if count == 1 else f"{count} packages"
    print(f"{options.path} is {options.visibility}, which changed {packages}", file=sys.stderr)


async def project_rename(services: Services, options: argparse.Namespace) -> None:
    """Give a project another name."""
    await services.projects.rename(OPERATOR, options.path, options.name)
    owner = options.path.partition("/")[0]
    print(f"{options.path} is {owner}/{options.name} now", file=sys.stderr)


async def project_source(services: Services, options: argparse.Namespace) -> None:
    """List a project's source URLs, after adding or removing one."""
    if options.add is not None:
        await services.projects.add_source(OPERATOR, options.path, options.add)
    if options.remove is not None:
        await services.projects.remove_source(OPERATOR, options.path, options.remove)
    sources = await services.projects.sources(options.path)
    print_rows([{"source": url} for url in sources], as_json=options.json)
