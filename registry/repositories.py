"""Repositories as rows: made by the first push, touched by every write.

Every write begins here: bumping the package's revision takes its row lock, which gives PostgreSQL
the order that SQLite's one writer has by nature.
"""

from auth.audit import note
from auth.errors import NameMoved
from auth.owner_names import name_of
from auth.permissions import Access
from auth.principals import Principal
from auth.projects import HOLD_PROJECT
from registry.errors import ManifestUnknown
from storage.database import Transaction
from storage.errors import Conflict
from storage.names import RepositoryName

CONTAINER = "container"

TOUCH_PACKAGE = """
update packages set revision = revision + 1, deleted_at = null where repository = $1
returning id, name
"""
NAME_PACKAGE = """
update packages set name = $2
where id = $1 and not exists (select 1 from package_versions v where v.package_id = $1)
  and not exists (select 1 from packages o join packages p on p.id = $1
    where o.owner_id = p.owner_id and o.format = p.format and o.name = $2)
"""
INSERT_PACKAGE = """
insert into packages (owner_id, format, name, repository, own_visibility, visibility, created_by,
  created_at, project_id)
values ($1, $2, $3, $4, $5, coalesce((select r.visibility from projects r where r.id = $8), $5),
  $6, $7, $8) on conflict do nothing
"""
FIND_MOVED = """
select p.repository from aliases x join packages p on p.id = x.package_id where x.repository = $1
"""
LOCK_PACKAGE = """
update packages set revision = revision + 1 where id = $1 and deleted_at is null returning id
"""
INSERT_EVENT = """
insert into events (kind, account_id, token_id, owner_id, package_id, subject, detail, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""


async def touch(
    tx: Transaction, who: Principal, access: Access, at: int, package: str | None = None
) -> int:
    """Return the id of the repository pushed to, making it if this is its first push.

    One made with a token of a project is linked to it from the start. `package` is the true name
    of a format's package; None is a push that does not know it, like that of a blob. Raises
    NameMoved where it was renamed since the push was authorized, Conflict where the repository is
    that of a package with another name.
    """
    name = str(access.repository)
    row = await tx.fetch_one(TOUCH_PACKAGE, name)
    if row is None:
        if access.project_id is not None:
            await tx.execute(HOLD_PROJECT, access.project_id)
        await tx.execute(
            INSERT_PACKAGE,
            access.owner_id,
            *names_of(access.repository, package),
            name,
            int(access.default_visibility),
            who.account_id or None,
            at,
            access.project_id,
        )
        row = await tx.fetch_one(TOUCH_PACKAGE, name)
        moved = await tx.fetch_one(FIND_MOVED, name)
        if moved is not None:
            raise NameMoved.to(moved["repository"], name)
        owner = await name_of(tx, access.owner_id)
        if owner != access.repository.owner:
            raise NameMoved.to(str(RepositoryName(owner, access.repository.rest)), name)
    if row is None:
        raise RuntimeError(f"repository {name} was neither found nor made")
    if package not in (None, row["name"]) and not await tx.execute(
        NAME_PACKAGE, row["id"], package
    ):
        raise Conflict(f"{name} is the repository of {row['name']!r}, not of {package!r}")
    repository_id: int = row["id"]
    return repository_id


def names_of(repository: RepositoryName, package: str | None = None) -> tuple[str, str]:
    """Return the format and the name of a new package's row.

    One whose true name is not known has one that no package has, with the format in front: its
    first version says what it is called.
    """
    if not repository.is_format_path:
        return CONTAINER, "/".join(repository.rest)
    return repository.rest[0], "/".join(repository.rest) if package is None else package


async def lock(tx: Transaction, package_id: int) -> None:
    """Take the lock of a repository that exists. Raises ManifestUnknown when it has gone."""
    if await tx.fetch_one(LOCK_PACKAGE, package_id) is None:
        raise ManifestUnknown("this repository was deleted a moment ago")


async def record(
    tx: Transaction,
    kind: str,
    who: Principal,
    access: Access,
    package_id: int,
    subject: str,
    detail: str,
    at: int,
) -> None:
    """Add an event to outbox and audit: `subject` is a digest or tag, `detail` what changed."""
    await tx.execute(
        INSERT_EVENT,
        kind,
        who.account_id or None,
        who.token_id or None,
        access.owner_id,
        package_id,
        subject,
        detail,
        at,
    )
    said = f"{subject} {detail}".rstrip()
    await note(tx, who, kind, access.owner_id, str(access.repository), at, said)
