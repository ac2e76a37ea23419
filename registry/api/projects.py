"""Projects: the source repositories that packages belong to, and where their sources live."""

from typing import Annotated

import msgspec

from auth.principals import Visibility
from auth.projects import Projects
from registry.api.owners import VISIBILITIES, Time, VisibilityWord
from registry.rest.names import PROJECT as PROJECT_PATTERN
from registry.rest.needs import ANYBODY, CHANGE_OWNER, CHANGE_PROJECT, READ_PROJECT
from registry.rest.operation import Call, Operation, Page, Paging
from registry.rest.paging import page_by, page_of
from storage.clock import rfc3339
from storage.database import Row

OWNED = "/api/v1/owners/{owner}/projects"
PROJECT = "/api/v1/projects/{owner}/{project}"
SOURCES = PROJECT + "/sources"
SOURCE = SOURCES + "/{source}"

ProjectName = Annotated[
    str, msgspec.Meta(pattern=f"^{PROJECT_PATTERN}$", min_length=1, max_length=100)
]


class NewProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project to be made."""

    name: ProjectName
    visibility: VisibilityWord = "private"


class Project(msgspec.Struct, frozen=True):
    """A project. All packages linked to it have its visibility."""

    owner: str
    name: str
    visibility: VisibilityWord
    created_at: Time


class ChangedProject(Project, frozen=True):
    """A project, and how many of its packages are seen by others than before."""

    changed_packages: int


class ProjectChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be another way; what is absent stays."""

    name: ProjectName | msgspec.UnsetType = msgspec.UNSET
    visibility: VisibilityWord | msgspec.UnsetType = msgspec.UNSET


class Source(msgspec.Struct, frozen=True):
    """Where a project's sources live, as host/path: packages that name it are linked."""

    url: str


class ProjectsApi:
    """The operations."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", OWNED, self.list, "List the projects of an owner that the caller may see",
                ANYBODY, answer=Page[Project], query=Paging,
            ),
            Operation(
                "POST", OWNED, self.create, "Make a project", CHANGE_OWNER,
                answer=Project, body=NewProject, status=201,
            ),
            Operation("GET", PROJECT, self.get, "Show a project", READ_PROJECT, Project),
            Operation(
                "PATCH", PROJECT, self.change,
                "Rename a project, open it or close it, with all packages linked to it",
                CHANGE_PROJECT, answer=ChangedProject, body=ProjectChange,
            ),
            Operation(
                "GET", SOURCES, self.sources, "List where a project's sources live", READ_PROJECT,
                answer=Page[Source], query=Paging,
            ),
            Operation(
                "PUT", SOURCE, self.add_source, "Let packages that name this URL be linked",
                CHANGE_PROJECT, answer=Source,
            ),
            Operation(
                "DELETE", SOURCE, self.remove_source, "Forget a URL; what it has linked stays so",
                CHANGE_PROJECT, status=204,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[Project]:
        """List the projects of an owner by name, without case."""
        paging: Paging = call.query
        owner, after = call.values["owner"], paging.after.lower()
        rows = await self._projects.visible(call.who, owner, after, paging.n + 1)
        return page_of(rows, paging.n, "folded_name", _project)

    async def create(self, call: Call) -> Project:
        """Make a project."""
        new, owner = await call.read(NewProject), call.at.owner
        visibility = Visibility[new.visibility.upper()]
        project_id = await self._projects.create(call.who, f"{owner}/{new.name}", visibility)
        return await self._show(project_id)

    async def get(self, call: Call) -> Project:
        """Show a project."""
        return await self._show(call.at.project_id)

    async def change(self, call: Call) -> ChangedProject:
        """Change a project: all of it, or nothing."""
        change = await call.read(ProjectChange)
        name = None if change.name is msgspec.UNSET else change.name
        visibility = None
        if change.visibility is not msgspec.UNSET:
            visibility = Visibility[change.visibility.upper()]
        count = await self._projects.change(call.who, call.at.path, name, visibility)
        now = await self._show(call.at.project_id)
        return ChangedProject(now.owner, now.name, now.visibility, now.created_at, count)

    async def sources(self, call: Call) -> Page[Source]:
        """List where a project's sources live."""
        paging: Paging = call.query
        urls = await self._projects.sources(call.at.path, paging.after, paging.n + 1)
        return page_by(urls, paging.n, str, Source)

    async def add_source(self, call: Call) -> Source:
        """Let packages that name this URL be linked."""
        return Source(
            await self._projects.add_source(call.who, call.at.path, call.values["source"])
        )

    async def remove_source(self, call: Call) -> None:
        """Forget a URL."""
        await self._projects.remove_source(call.who, call.at.path, call.values["source"])

    async def _show(self, project_id: int | None) -> Project:
        return _project(await self._projects.show(project_id or 0))


def _project(row: Row) -> Project:
    visibility = VISIBILITIES[Visibility(row["visibility"])]
    return Project(row["owner"], row["name"], visibility, rfc3339(row["created_at"]))
