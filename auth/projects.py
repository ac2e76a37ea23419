"""Projects: the source repositories that packages belong to."""

from auth.accounts import INSERT_MEMBER, PROJECT, UPSERT_GRANT, Accounts
from auth.principals import Role, Visibility
from storage.clock import Clock
from storage.database import Database, Transaction
from storage.errors import Conflict, Invalid, NotFound
from storage.names import parse_owner, parse_project

INSERT_PROJECT = """
insert into projects (owner_id, name, folded_name, visibility, created_at)
values ($1, $2, $3, $4, $5) on conflict (owner_id, folded_name) do nothing returning id
"""
INSERT_ROBOT = """
insert into accounts (kind, name, owner_id, created_at) values ('robot', $1, $2, $3)
on conflict (name) do update set owner_id = excluded.owner_id returning id
"""
FIND_PROJECT = """
select r.id, r.name, r.visibility, r.owner_id from projects r join accounts o on o.id = r.owner_id
where o.name = $1 and r.folded_name = $2 and r.deleted_at is null
"""


class Projects:
    """Makes and finds projects."""

    def __init__(self, database: Database, accounts: Accounts, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock

    async def create(self, path: str, visibility: Visibility) -> int:
        """Make the project `owner/name`. Raises NameInvalid, NotFound, Conflict."""
        owner_name, name = split_path(path)
        owner = await self._accounts.get(owner_name, "user", "organization")
        at = self._clock()
        row = await self._database.write(
            lambda tx: tx.fetch_one(
                INSERT_PROJECT, owner.id, name, name.lower(), int(visibility), at
            )
        )
        if row is None:
            raise Conflict(f"the project {path!r} exists")
        made: int = row["id"]
        return made

    async def get(self, path: str) -> int:
        """Return the id of the project `owner/name`. Raises NameInvalid, NotFound."""
        owner_name, name = split_path(path)
        row = await self._database.fetch_one(FIND_PROJECT, owner_name, name.lower())
        if row is None:
            raise NotFound(f"there is no project {path!r}")
        found: int = row["id"]
        return found

    async def robot(self, path: str) -> tuple[int, int]:
        """Return the account that jobs of a project act as, made on first use, and the project.

        It may write to what is linked to the project, and create what is then linked to it.
        Raises NameInvalid, NotFound.
        """
        project_id = await self.get(path)
        owner_name, name = split_path(path)
        owner = await self._accounts.get(owner_name)
        at = self._clock()

        async def work(tx: Transaction) -> int:
            row = await tx.fetch_one(INSERT_ROBOT, f"{owner_name}+{name.lower()}", owner.id, at)
            if row is None:
                raise RuntimeError("an upsert returned no row")
            robot_id: int = row["id"]
            await tx.execute(INSERT_MEMBER, robot_id, robot_id, Role.ADMIN)
            await tx.execute(UPSERT_GRANT, robot_id, PROJECT, project_id, Role.WRITE, at)
            return robot_id

        return await self._database.write(work), project_id


def split_path(path: str) -> tuple[str, str]:
    """Split `owner/name`. Raises NameInvalid, Invalid."""
    owner, separator, name = path.partition("/")
    if not separator:
        raise Invalid(f"{path!r} is not a project: write OWNER/NAME")
    return parse_owner(owner), parse_project(name)
