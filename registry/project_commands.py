"""The commands about projects: who sees them, and which source URLs name them."""

import argparse
import sys
from typing import Any

from auth.principals import Visibility
from auth.sources import parse_source
from registry.api.projects import (
    OWNED,
    PROJECT,
    SOURCE,
    SOURCES,
    ChangedProject,
    NewProject,
    Project,
    ProjectChange,
    Source,
)
from registry.api_client import Api, split_name
from registry.tables import JSON_HELP, print_rows

VISIBILITIES = [member.name.lower() for member in Visibility]
_FORM = "OWNER/NAME"


def add_projects(groups: Any, asking: argparse.ArgumentParser) -> None:
    """Add the group `project`."""
    project = groups.add_parser("project", help="source repositories").add_subparsers(
        required=True, metavar="ACTION"
    )

    def command(word: str, about: str, ask: Any) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = project.add_parser(word, parents=[asking], help=about)
        added.set_defaults(ask=ask)
        added.add_argument("path", metavar="OWNER" if word == "list" else _FORM)
        return added

    create = command("create", "make a project", project_create)
    create.add_argument("--visibility", choices=VISIBILITIES, default="private")
    create.add_argument("--source", metavar="URL", help="where its source lives")
    listing = command("list", "list an owner's projects", project_list)
    listing.add_argument("--json", action="store_true", help=JSON_HELP)
    visibility = command("visibility", "who may pull its packages", project_visibility)
    visibility.add_argument("visibility", choices=VISIBILITIES)
    command("rename", "give it another name", project_rename).add_argument("name", metavar="NAME")
    source = command("source", "list, add or remove its source URLs", project_source)
    change = source.add_mutually_exclusive_group()
    change.add_argument("--add", metavar="URL", help="images that name it are linked when made")
    change.add_argument("--remove", metavar="URL", help="what it has linked stays linked")
    source.add_argument("--json", action="store_true", help=JSON_HELP)


async def project_create(api: Api, options: argparse.Namespace) -> None:
    """Make a project."""
    owner, name = split_name(options.path, _FORM)
    if options.source is not None:
        parse_source(options.source)  # before there is a project without it
    await api.tell("POST", OWNED, owner, body=NewProject(name, options.visibility))
    print(f"project {options.path} made", file=sys.stderr)
    if options.source is not None:
        await api.tell("PUT", SOURCE, owner, name, options.source)


async def project_list(api: Api, options: argparse.Namespace) -> None:
    """List the projects of an owner."""
    rows = [
        {
            "project": f"{project.owner}/{project.name}",
            "visibility": project.visibility,
            "created": project.created_at,
        }
        for project in await api.all(Project, OWNED, options.path)
    ]
    print_rows(rows, as_json=options.json)


async def project_visibility(api: Api, options: argparse.Namespace) -> None:
    """Open or close a project, and what is linked to it."""
    change = ProjectChange(visibility=options.visibility)
    names = split_name(options.path, _FORM)
    count = (await api.ask(ChangedProject, "PATCH", PROJECT, *names, body=change)).changed_packages
    packages = "1 package" if count == 1 else f"{count} packages"
    print(f"{options.path} is {options.visibility}, which changed {packages}", file=sys.stderr)


async def project_rename(api: Api, options: argparse.Namespace) -> None:
    """Give a project another name."""
    owner, name = split_name(options.path, _FORM)
    await api.tell("PATCH", PROJECT, owner, name, body=ProjectChange(name=options.name))
    print(f"{options.path} is {owner}/{options.name} now", file=sys.stderr)


async def project_source(api: Api, options: argparse.Namespace) -> None:
    """List a project's source URLs, after adding or removing one."""
    names = split_name(options.path, _FORM)
    if options.add is not None:
        await api.tell("PUT", SOURCE, *names, options.add)
    if options.remove is not None:
        await api.tell("DELETE", SOURCE, *names, options.remove)
    sources = await api.all(Source, SOURCES, *names)
    print_rows([{"source": source.url} for source in sources], as_json=options.json)
